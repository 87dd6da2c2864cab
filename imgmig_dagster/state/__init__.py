"""What outlives a run: checkpoints, failure ledger, evidence, reports. Begin with `names` and `opening`."""
