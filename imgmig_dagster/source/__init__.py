"""Reads the source: PostgreSQL, read-only, in short transactions. Begin with `reader`; DynamoDB is in `target`."""
