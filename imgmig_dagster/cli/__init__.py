"""The command line ``imgmig``: thin, everything it does is a Dagster job or a call of the domain."""

from imgmig_dagster.cli.app import main

__all__ = ["main"]
