"""What verifications, censuses and spot checks found, and whether it still counts. Who looks is in `steps`."""
