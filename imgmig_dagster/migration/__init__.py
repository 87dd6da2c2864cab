"""Rows become items: the pass over a partition, the dry run, and the rule for an item that is already there."""
