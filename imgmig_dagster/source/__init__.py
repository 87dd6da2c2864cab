"""Reading the source: PostgreSQL, read-only, in short transactions."""
