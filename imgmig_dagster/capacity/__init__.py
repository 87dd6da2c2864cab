"""What a migration of any size takes: units, time, money, requests and state, by calculation alone.

- `prices`: what AWS asks for, and `limits`: what DynamoDB allows, each with its source;
- `measured`: what imgmig itself takes, from docs/benchmarks.md;
- `workload`: what is to be migrated, and with what;
- `phases`: how fast migration, verification and census go, and what holds them up;
- `estimate`: all of it together, with what it costs;
- `bulk`: what DynamoDB's own loaders from S3 would take instead.

`imgmig plan` shows it (`cli/capacity.py`), and docs/scale.md is written by it. The dry run of a partition, which looks
at each row, is `steps/dry_run.py`; the size of an item is in `mapping/sizes.py`.
"""
