"""The jobs of a table: verbs. None mixes partitioned assets with those of the table as a whole."""

from collections.abc import Mapping, Sequence
from urllib.parse import urlencode

import dagster as dg
import yaml  # type: ignore[import-untyped]  # no stubs

from imgmig_dagster.defs.run_config import DeleteOrphansConfig, MigrateConfig, RepairConfig
from imgmig_dagster.defs.table import Table
from imgmig_dagster.local_runs.dagster_internals import RANGE_END, RANGE_START, AssetJob
from imgmig_dagster.local_runs.instance import CODE_LOCATION
from imgmig_dagster.stage.stage_table import MIGRATED, SOURCE


def all_jobs(table: Table) -> Sequence[AssetJob]:
    """Every job of a table, by the name that the command line uses too."""

    def job(verb: str, assets: Sequence[str], description: str, config: dg.Config | None = None) -> AssetJob:
        return dg.define_asset_job(
            table.named(verb),
            dg.AssetSelection.assets(*map(table.asset, assets)),
            config=dg.RunConfig({table.asset(assets[-1]): config}) if config else None,
            description=description,
        )

    def partitioned(verb: str, assets: Sequence[str], description: str, config: dg.Config | None = None) -> AssetJob:
        link = _in_one_run(table, verb, {table.asset(assets[-1]): config} if config else {})
        return job(verb, assets, f"{description}.\n\n{link}", config)

    return [
        partitioned(
            "dry_run",
            [SOURCE, "dry_run_plan"],
            "Show what a migration would do to each row. Never writes to the target",
        ),
        partitioned(
            "migrate",
            [SOURCE, MIGRATED],
            "Write a partition's rows to the target, from the checkpoint of an interrupted pass",
        ),
        partitioned(
            "retry_failures",
            [MIGRATED],
            "Migrate the rows of a partition's failure ledger again, and remove those that succeed from it",
            MigrateConfig(
                start_over=False, retry_failures_only=True, confirm=None, confirm_deletes=None, partitions=[]
            ),
        ),
        partitioned(
            "verify",
            ["verification_report"],
            "Compare every row of a partition with its item, field by field",
        ),
        partitioned(
            "plan_repair",
            ["repair_report"],
            "Show what a repair would do about each row that the last verification listed. Never writes to the target",
        ),
        partitioned(
            "repair",
            ["repair_report"],
            "Repair the rows that the last verification listed, and verify these rows again",
            RepairConfig(apply=True, source_wins=False, confirm=None, partitions=[]),
        ),
        job(
            "delete_orphans",
            ["orphan_report"],
            "Delete the items without a row that the last census listed, if they are still as it saw them. "
            "The run config has to say how many: confirm_deletes",
            DeleteOrphansConfig(apply=True, confirm=None, confirm_deletes=None, census=None),
        ),
        job("census", ["table_census"], "Compare the whole target with the whole source"),
        job(
            # Not "spot_check": Dagster refuses a job that is named like an asset.
            "draw_spot_check",
            ["spot_check"],
            "Draw random rows, and show both records side by side; keep_last: false for a new review",
        ),
        job("report", ["migration_report"], "Write the summary from the evidence that is there"),
    ]


def _in_one_run(table: Table, verb: str, configs: Mapping[str, dg.Config]) -> str:
    """A link to the job's Launchpad, filled in for a run of all partitions, which begins at once.

    A backfill begins when its daemon looks, every 30 s. The dialog that starts backfills offers no such run.
    """
    first, last = table.definition.get_first_partition_key(), table.definition.get_last_partition_key()
    filled = {"tags[0][key]": RANGE_START, "tags[0][value]": first, "tags[1][key]": RANGE_END, "tags[1][value]": last}
    ops = {name: {"config": config.model_dump(exclude_defaults=True)} for name, config in configs.items()}
    if ops:
        # The Launchpad does not show the job's own config.
        filled["config"] = yaml.safe_dump({"ops": ops})
    page = f"/locations/{CODE_LOCATION}/jobs/{table.named(verb)}/playground/setup?{urlencode(filled)}"
    return f"[All partitions in one run]({page}), {first} to {last}"
