"""Builds the definitions of a stage: for Dagster, for the command line and for tests."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import dagster as dg

from imgmig_dagster.defs.assets import partitioned_assets
from imgmig_dagster.defs.due import verify_due_job
from imgmig_dagster.defs.jobs import all_jobs
from imgmig_dagster.defs.repair_assets import repair_assets
from imgmig_dagster.defs.resources import (
    PictureBuckets,
    ProgressListener,
    ReportBucket,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.schedules import all_schedules, verified_once_migrated
from imgmig_dagster.defs.sensors import AlertWebhook, all_sensors
from imgmig_dagster.defs.specs import asset_specs, end_specs
from imgmig_dagster.defs.table import Table
from imgmig_dagster.defs.whole_table import whole_table_assets
from imgmig_dagster.progress import Ended, Listener
from imgmig_dagster.stage.config import load_places
from imgmig_dagster.stage.places import Places
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import stage_tables


def build_definitions(
    stage: Stage,
    listener: Listener = lambda _progress: None,
    end: Callable[[Ended], None] = lambda _ended: None,
    notice: Callable[[str], None] = lambda _line: None,
) -> dg.Definitions:
    """The definitions of a stage. Contacts no service: every stage loads offline.

    Args:
        stage: whose settings apply once a run begins.
        listener: gets the progress of runs in this process.
        end: gets how each partition of these runs ended.
        notice: gets lines about these runs, such as that the stage is paused.

    Raises:
        SettingsError: the partitioning of the stage, or a declaration, is wrong.
    """
    places = load_places(stage)
    tables = [definitions_of(table, places) for table in tables_of(stage)]
    resources = dg.Definitions(resources=resources_of(stage, places, listener, end, notice), executor=EXECUTOR)
    return dg.Definitions.merge(*tables, resources)


def tables_of(stage: Stage) -> Sequence[Table]:
    """The declared tables of a stage, as Dagster knows them; see `stage_tables` for what it raises."""
    return [Table(**vars(table)) for table in stage_tables(stage)]


def definitions_of(table: Table, places: Places) -> dg.Definitions:
    """The definitions of one table; they need the stage's `resources_of`."""
    specs = asset_specs(table)
    with warnings.catch_warnings():
        # Partitioned asset checks are a preview, which is why Dagster's version is pinned.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
            *partitioned_assets(table, specs),
            *repair_assets(table, specs),
            *whole_table_assets(table, specs),
            *end_specs(table, places),
        ]
    return dg.Definitions(
        assets=assets,
        jobs=[*all_jobs(table), verify_due_job(table, specs)],
        schedules=all_schedules(table),
        sensors=[*all_sensors(table, {spec.key for spec in specs.values()}), verified_once_migrated(table)],
    )


def resources_of(
    stage: Stage,
    places: Places,
    listener: Listener = lambda _progress: None,
    end: Callable[[Ended], None] = lambda _ended: None,
    notice: Callable[[str], None] = lambda _line: None,
) -> Mapping[str, Any]:
    """What a stage's tables share; `listener`, `end` and `notice` are as in `build_definitions`."""
    return {
        "source": SourceDatabase(stage=stage.value, database=places.source),
        "target": TargetDynamoDB(
            stage=stage.value, table=places.target_table, region=places.region, endpoint=places.endpoint
        ),
        "pictures": PictureBuckets(stage=stage.value),
        "state": StateDirectory(stage=stage.value, place=places.state),
        "reports": ReportBucket(stage=stage.value, place=places.reports),
        "progress": ProgressListener(listener, end, notice),
        "alerts": AlertWebhook(stage=stage.value),
    }


EXECUTOR = dg.in_process_executor
"""A process per step would import Dagster for each, about four seconds a step."""
