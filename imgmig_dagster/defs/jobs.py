"""The jobs of a table: verbs. None mixes partitioned assets with those of the table as a whole."""

from collections.abc import Sequence

import dagster as dg

from imgmig_dagster.defs.run_config import DeleteOrphansConfig, MigrateConfig, RepairConfig
from imgmig_dagster.defs.table import Table
from imgmig_dagster.local_runs.dagster_internals import AssetJob
from imgmig_dagster.stage.stage_table import MIGRATED, SOURCE


def all_jobs(table: Table) -> Sequence[AssetJob]:
    """Every job of a table, by the name that the command line uses too."""

    def assets(*names: str) -> dg.AssetSelection:
        return dg.AssetSelection.assets(*map(table.asset, names))

    return [
        dg.define_asset_job(
            table.named("dry_run"),
            assets(SOURCE, "dry_run_plan"),
            description="Show what a migration would do to each row. Never writes to the target",
        ),
        dg.define_asset_job(
            table.named("migrate"),
            assets(SOURCE, MIGRATED),
            description="Write a partition's rows to the target, from the checkpoint of an interrupted pass",
        ),
        dg.define_asset_job(
            table.named("retry_failures"),
            assets(MIGRATED),
            config=dg.RunConfig(
                {
                    table.asset(MIGRATED): MigrateConfig(
                        start_over=False, retry_failures_only=True, confirm=None, confirm_deletes=None, partitions=[]
                    )
                }
            ),
            description="Migrate the rows of a partition's failure ledger again, and remove those that succeed from it",
        ),
        dg.define_asset_job(
            table.named("verify"),
            assets("verification_report"),
            description="Compare every row of a partition with its item, field by field",
        ),
        dg.define_asset_job(
            table.named("plan_repair"),
            assets("repair_report"),
            description="Show what a repair would do about each row that the last verification listed. Never writes "
            "to the target",
        ),
        dg.define_asset_job(
            table.named("repair"),
            assets("repair_report"),
            config=dg.RunConfig(
                {table.asset("repair_report"): RepairConfig(apply=True, source_wins=False, confirm=None, partitions=[])}
            ),
            description="Repair the rows that the last verification listed, and verify these rows again",
        ),
        dg.define_asset_job(
            table.named("delete_orphans"),
            assets("orphan_report"),
            config=dg.RunConfig(
                {
                    table.asset("orphan_report"): DeleteOrphansConfig(
                        apply=True, confirm=None, confirm_deletes=None, census=None
                    )
                }
            ),
            description="Delete the items without a row that the last census listed, if they are still as it saw them. "
            "The run config has to say how many: confirm_deletes",
        ),
        dg.define_asset_job(
            table.named("census"),
            assets("table_census"),
            description="Compare the whole target with the whole source",
        ),
        dg.define_asset_job(
            # Not "spot_check": Dagster refuses a job that is named like an asset.
            table.named("draw_spot_check"),
            assets("spot_check"),
            description="Draw random rows, and show both records side by side; keep_last: false for a new review",
        ),
        dg.define_asset_job(
            table.named("report"),
            assets("migration_report"),
            description="Write the summary from the evidence that is there",
        ),
    ]
