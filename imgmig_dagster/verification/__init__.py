"""What verifications, censuses and spot checks found, and whether it still counts. `steps` looks and writes."""
