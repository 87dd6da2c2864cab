"""Moves image metadata from PostgreSQL to DynamoDB, and proves that nothing was lost or changed."""

__version__ = "0.1.0"
