"""The assets of repair: what a repair did about faults of verification and census, or as a dry run would do."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from imgmig_dagster.defs import checks, metadata
from imgmig_dagster.defs.advice import advised
from imgmig_dagster.defs.asset_basics import Materialized, working
from imgmig_dagster.defs.assets import record_verification
from imgmig_dagster.defs.claims import specs_of
from imgmig_dagster.defs.failed_partitions import FailedPartitions
from imgmig_dagster.defs.range_run import Part, chosen, over_range
from imgmig_dagster.defs.resources import (
    TARGET_POOL,
    ProgressListener,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.run_config import DeleteOrphansConfig, RepairConfig
from imgmig_dagster.defs.table import Table
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.work import ReadingWork, work_on
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.orphans import delete_orphans
from imgmig_dagster.steps.repair import keys_at_fault, repair
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.target.open_target import TargetSettings
from imgmig_dagster.verification.census_results import CensusResult, listed_orphans


def repair_assets(table: Table, specs: Mapping[str, dg.AssetSpec]) -> Sequence[dg.AssetsDefinition]:
    """One per partition, and one of the items that belong to none."""

    @dg.multi_asset(
        name=table.asset("repair_report"),
        specs=[specs["repair_report"]],
        check_specs=specs_of(table, "repair_report", table.definition),
        can_subset=True,
        pool=TARGET_POOL,
        backfill_policy=table.policy,
    )
    def repair_report(
        context: dg.AssetExecutionContext,
        config: RepairConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.DagsterEvent]:
        keys, opens = chosen(context, config.partitions), _open_target(table, target, context.instance, config)
        failed = FailedPartitions(table, state.open(table.name))
        with working(context, table, source, opens, state, progress) as (opening, log):

            async def repair_one(work: ReadingWork, part: Part) -> None:
                partition, store = part.partition, work.state
                ids, unlisted = await asyncio.to_thread(keys_at_fault, store, partition)
                result = await repair(work, partition, ids, unlisted, config.source_wins)
                log.info("%s: repair, applied %s: %s", partition, result.applied, dict(result.counts))
                await asyncio.to_thread(save_record, store, names.repair(partition), result)
                if config.apply:
                    # An event, and no dependency: `verification_report` would otherwise ask for a repair before it.
                    verified = await verify(work, table.partitions.window(partition), only_failed=True)
                    await record_verification(part, store, verified, on_the_way=True)
                results = [checks.every_fault_is_repaired(result)]
                await part.record("repair_report", metadata.of_repair(result), results)

            yield from over_range(context, specs, keys, opening, repair_one, progress.end, failed)

    @dg.multi_asset(
        name=table.asset("orphan_report"),
        specs=[specs["orphan_report"]],
        check_specs=specs_of(table, "orphan_report", None),
        pool=TARGET_POOL,
    )
    def orphan_report(
        context: dg.AssetExecutionContext,
        config: DeleteOrphansConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        opens, store = _open_target(table, target, context.instance, config), state.open(table.name)
        census, windows = load_record(store, names.CENSUS, CensusResult), table.partitions.windows()
        if config.apply:
            _refuse_unseen(store, census, config)
        with working(context, table, source, opens, state, progress) as (opening, log):
            result = work_on(opening, lambda work: delete_orphans(work, census, windows, config.confirm_deletes))
            log.info("orphans: deletion, applied %s: %s", result.applied, dict(result.counts))
        save_record(store, names.ORPHAN_REPAIR, result)
        results = advised([checks.every_orphan_is_deleted(result)], table)
        return dg.MaterializeResult(metadata=metadata.of_repair(result), check_results=results)

    return [repair_report, orphan_report]


def _refuse_unseen(store: StateStore, census: CensusResult | None, config: DeleteOrphansConfig) -> None:
    """One click must not delete: the run config must say how many items go, or which census listed them.

    Raises:
        SettingsError: it says neither.
    """
    number = len(listed_orphans(store, census)) if census else 0
    if census and number and config.confirm_deletes is None and config.census != census.run_id:
        raise SettingsError(
            f"nothing was deleted: say how many items you want to delete. The census of {census.finished_at} lists "
            f"{number:,} orphan items; materialize orphan_report without config to see them. Then start the job "
            f"delete_orphans with the run config confirm_deletes: {number}"
        )


def _open_target(
    table: Table, target: TargetDynamoDB, instance: dg.DagsterInstance, config: RepairConfig | DeleteOrphansConfig
) -> TargetSettings:
    """Opens the work of every repair; one that writes asks the guard first."""
    if config.apply:
        return target.open_for_writing(table.mapping, instance, config.confirm)
    return target.target_settings(table.mapping, instance)
