"""One factory for what Dagster loads, what the command line runs and what tests execute."""

import warnings
from collections.abc import Callable

import dagster as dg

from imgmig_dagster.config import load_partitioning, load_places
from imgmig_dagster.defs.assets import partitioned_assets
from imgmig_dagster.defs.due import verify_due_job
from imgmig_dagster.defs.jobs import all_jobs
from imgmig_dagster.defs.partitions import partitions_of
from imgmig_dagster.defs.repair import repair_assets
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
from imgmig_dagster.defs.specs import asset_specs, table_specs
from imgmig_dagster.defs.whole_table import whole_table_assets
from imgmig_dagster.progress import Ended, Listener
from imgmig_dagster.stage import Stage


def build_definitions(
    stage: Stage,
    listener: Listener = lambda _progress: None,
    end: Callable[[Ended], None] = lambda _ended: None,
) -> dg.Definitions:
    """The definitions of a stage. Reaches no service: every stage loads offline.

    Args:
        stage: whose settings apply once a run begins.
        listener: is told the progress of runs in this process.
        end: is told how each partition of these runs ended.

    Raises:
        SettingsError: the partitioning of the stage is wrong.
    """
    partitioning, places = load_partitioning(stage), load_places(stage)
    partitions, per_run = partitions_of(partitioning), partitioning.partitions_per_run
    specs = asset_specs(partitions)
    with warnings.catch_warnings():
        # Partitioned asset checks are a preview, which is why Dagster's version is pinned.
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        assets: list[dg.AssetsDefinition | dg.AssetSpec] = [
            *partitioned_assets(partitions, specs, per_run),
            *repair_assets(partitions, specs, per_run),
            *whole_table_assets(partitions, stage.value, specs),
            *table_specs(places),
        ]
    return dg.Definitions(
        assets=assets,
        jobs=[*all_jobs(), verify_due_job(partitions, specs)],
        schedules=all_schedules(stage),
        sensors=[*all_sensors(partitions, stage), verified_once_migrated(stage)],
        resources={
            "source": SourceDatabase(stage=stage.value, table=places.source_name, database=places.source),
            "target": TargetDynamoDB(
                stage=stage.value, table=places.target_table, region=places.region, endpoint=places.endpoint
            ),
            "pictures": PictureBuckets(stage=stage.value),
            "state": StateDirectory(stage=stage.value, place=places.state),
            "reports": ReportBucket(stage=stage.value, place=places.reports),
            "progress": ProgressListener(listener, end),
            "alerts": AlertWebhook(stage=stage.value),
        },
        # A process per step would import Dagster anew for each, about four seconds a step.
        executor=dg.in_process_executor,
    )
