"""What Dagster loads: the definitions of the stage that STAGE names."""

import dagster as dg

from imgmig_dagster.config import stage_from_env
from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.garbage import kept_for_good


@dg.definitions
def defs() -> dg.Definitions:
    """Everything of the stage; reaches no service."""
    with kept_for_good():
        return build_definitions(stage_from_env())
