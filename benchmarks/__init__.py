"""Measurements against the goals that docs/benchmarks.md names; run by `make bench`."""
