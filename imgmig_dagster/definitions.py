"""What Dagster loads: the definitions of the stage that STAGE names."""

from imgmig_dagster.config import stage_from_env
from imgmig_dagster.defs.build import build_definitions

defs = build_definitions(stage_from_env())
