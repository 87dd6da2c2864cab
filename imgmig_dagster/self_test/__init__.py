"""Checks the checker: plants corruptions in a table of its own, and requires that verification names each of them."""
