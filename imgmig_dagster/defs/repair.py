"""The assets of repair: what is done about what verification and census found, or, unless applied, would be."""

import asyncio
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from imgmig_dagster.defs import metadata
from imgmig_dagster.defs.asset_basics import Materialized, working
from imgmig_dagster.defs.assets import record_verification
from imgmig_dagster.defs.partitions import window_of, windows_of
from imgmig_dagster.defs.ranges import Part, chosen, over_range
from imgmig_dagster.defs.resources import (
    TARGET_POOL,
    ProgressListener,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.run_config import DeleteOrphansConfig, RepairConfig
from imgmig_dagster.defs.standing import Standing
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.steps.repair import delete_orphans, keys_at_fault, repair
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.work import ReadingWork, work_on


def repair_assets(
    partitions: dg.TimeWindowPartitionsDefinition, specs: Mapping[str, dg.AssetSpec], partitions_per_run: int
) -> Sequence[dg.AssetsDefinition]:
    """One per partition, and one of the items that belong to none."""

    @dg.multi_asset(
        name="repair_report",
        specs=[specs["repair_report"]],
        can_subset=True,
        pool=TARGET_POOL,
        backfill_policy=dg.BackfillPolicy.multi_run(partitions_per_run),
    )
    def repair_report(
        context: dg.AssetExecutionContext,
        config: RepairConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.DagsterEvent]:
        keys, table = chosen(context, config.partitions), _open_target(target, context.instance, config)
        standing = Standing(partitions, state.open())
        with working(context, source, table, state, progress) as (opening, log):

            async def mend(work: ReadingWork, part: Part) -> None:
                partition, store = part.partition, work.state
                ids, unlisted = await asyncio.to_thread(keys_at_fault, store, partition)
                result = await repair(work, partition, ids, unlisted, config.source_wins)
                log.info("%s: repair, applied %s: %s", partition, result.applied, dict(result.counts))
                await asyncio.to_thread(save_record, store, names.repair(partition), result)
                if config.apply:
                    # An event, and no dependency: `verification_report` would otherwise ask for a repair before it.
                    verified = await verify(work, window_of(partitions, partition), only_failed=True)
                    await record_verification(part, store, verified, on_the_way=True)
                await part.record("repair_report", metadata.of_repair(result))

            yield from over_range(context, specs, keys, opening, mend, progress.end, standing)

    @dg.multi_asset(specs=[specs["orphan_report"]], pool=TARGET_POOL)
    def orphan_report(
        context: dg.AssetExecutionContext,
        config: DeleteOrphansConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        table, store = _open_target(target, context.instance, config), state.open()
        census, windows = load_record(store, names.CENSUS, CensusResult), windows_of(partitions)
        with working(context, source, table, state, progress) as (opening, log):
            result = work_on(opening, lambda work: delete_orphans(work, census, windows, config.confirm_deletes))
            log.info("orphans: deletion, applied %s: %s", result.applied, dict(result.counts))
        save_record(store, names.ORPHAN_REPAIR, result)
        return dg.MaterializeResult(metadata=metadata.of_repair(result))

    return [repair_report, orphan_report]


def _open_target(
    target: TargetDynamoDB, instance: dg.DagsterInstance, config: RepairConfig | DeleteOrphansConfig
) -> TargetSettings:
    """Every repair begins here: one that may write asks whether it may."""
    return target.open_for_writing(instance, config.confirm) if config.apply else target.open_settings(instance)
