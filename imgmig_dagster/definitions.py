"""What Dagster loads: the definitions of the stage that STAGE names, which `defs/` builds."""

import dagster as dg

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.garbage import kept_for_good
from imgmig_dagster.stage.config import stage_from_env


@dg.definitions
def defs() -> dg.Definitions:
    """All definitions of the stage. Contacts no service."""
    with kept_for_good():
        return build_definitions(stage_from_env())
