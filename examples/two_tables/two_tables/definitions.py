"""What Dagster loads: each folder of `defs` is a table."""

from pathlib import Path

import dagster as dg


@dg.definitions
def defs() -> dg.Definitions:
    """Everything of the project; reaches no service."""
    return dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
