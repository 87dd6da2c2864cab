"""The target, DynamoDB: its requests, retries and pace. Begin with `open_target`; PostgreSQL is in `source`."""
