"""Calculates what a migration of any size takes: capacity units, time, money, requests and state.

- `prices`: AWS's prices, and `limits`: DynamoDB's limits, each with its source;
- `measured`: what imgmig itself takes, from docs/benchmarks.md;
- `workload`: what is to be migrated, and with what;
- `phases`: how fast migration, verification and census are, and what limits them;
- `estimate`: all of it together, with what it costs;
- `bulk`: what DynamoDB's own loaders from S3 would take instead.

`imgmig plan` shows it (`cli/capacity.py`), and docs/scale.md uses its figures. The dry run of a partition, which reads
each row, is in `steps/`; the size of an item is in `mapping/sizes.py`.
"""
