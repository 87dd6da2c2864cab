"""What Dagster loads: the definitions of the stage that STAGE names."""

import dagster as dg

from imgmig_dagster.config import stage_from_env
from imgmig_dagster.defs.build import build_definitions


@dg.definitions
def defs() -> dg.Definitions:
    """Everything of the stage; reaches no service."""
    return build_definitions(stage_from_env())
