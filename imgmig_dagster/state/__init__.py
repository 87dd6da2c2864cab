"""What outlives a run: checkpoints, the failure ledger, evidence, reports."""
