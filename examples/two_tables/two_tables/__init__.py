"""A Dagster project with two tables."""
