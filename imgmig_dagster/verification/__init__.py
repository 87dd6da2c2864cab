"""What verifications, censuses and spot checks found. `steps` looks and writes, `rules` decides whether it counts."""
