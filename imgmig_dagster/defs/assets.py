"""The partitioned assets of a table: each partition is made by calls of `steps`.

`range_run` goes through a run's partitions and records each. Unpartitioned assets are in `whole_table`.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass

import dagster as dg

from imgmig_dagster.defs import checks, metadata
from imgmig_dagster.defs.asset_basics import reading_source, working
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
from imgmig_dagster.defs.run_config import MigrateConfig, VerifyConfig
from imgmig_dagster.defs.table import Table
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.stage.partitions import Partitions
from imgmig_dagster.stage.stage_table import MIGRATED, SOURCE
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork, SourceWork, WritingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import FailureLedger, confirmed_deletes
from imgmig_dagster.state.records import save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.dry_run import plan
from imgmig_dagster.steps.inventory import Rejections, SourceInventory, completed, count_source, take_inventory
from imgmig_dagster.steps.migrate import migrate
from imgmig_dagster.steps.migration_result import MigrationResult, last_migration
from imgmig_dagster.steps.retry_failures import retry_failures
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import Window


def partitioned_assets(table: Table, specs: Mapping[str, dg.AssetSpec]) -> Sequence[dg.AssetsDefinition]:
    """The partitioned assets of a table."""
    return [_migrated(table, specs), _verification_report(table, specs)]


def _migrated(table: Table, specs: Mapping[str, dg.AssetSpec]) -> dg.AssetsDefinition:
    of_source, of_items = (specs_of(table, asset, table.definition) for asset in (SOURCE, MIGRATED))

    @dg.multi_asset(
        # The op's name is its key in run config.
        name=table.asset(MIGRATED),
        specs=[specs[asset] for asset in (SOURCE, "dry_run_plan", MIGRATED)],
        check_specs=[*of_source, *of_items],
        can_subset=True,
        pool=TARGET_POOL,
        backfill_policy=table.policy,
    )
    def migrated(
        context: dg.AssetExecutionContext,
        config: MigrateConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.DagsterEvent]:
        assets = frozenset(key.to_user_string() for key in context.selected_asset_keys)
        keys = chosen(context, config.partitions)
        # For a single partition the number is judged where the deletes happen.
        confirmed: Mapping[str, int | None] = dict.fromkeys(keys, config.confirm_deletes)
        if len(keys) > 1:
            confirmed = confirmed_deletes(state.open(table.name), keys, config.confirm_deletes)
        failed = FailedPartitions(table, state.open(table.name))
        making = _Making(table.partitions, table.asset(SOURCE) in assets, table.asset("dry_run_plan") in assets)

        if table.asset(MIGRATED) in assets:
            writes = target.open_for_writing(table.mapping, context.instance, config.confirm)
            with working(context, table, source, writes, state, progress) as (opening, log):
                mode = source.settings.write_mode

                async def write(work: WritingWork, part: Part) -> None:
                    await making.items(work, part, mode, config, confirmed[part.partition], log)

                yield from over_range(context, specs, keys, opening, write, progress.end, failed)
        elif making.plans:
            reads = target.target_settings(table.mapping, context.instance)
            reads.identity()  # a target that cannot be reached ends the run, instead of leaving every row unread
            with working(context, table, source, reads, state, progress) as (reading, _log):
                yield from over_range(context, specs, keys, reading, making.plan, progress.end, failed)
        else:
            with reading_source(context, table, source, state, progress) as (rows, _log):
                yield from over_range(context, specs, keys, nullcontext(rows), making.inventory, progress.end, failed)

    return migrated


def _verification_report(table: Table, specs: Mapping[str, dg.AssetSpec]) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name=table.asset("verification_report"),
        specs=[specs["verification_report"]],
        check_specs=specs_of(table, "verification_report", table.definition),
        can_subset=True,
        pool=TARGET_POOL,
        backfill_policy=table.policy,
    )
    def verification_report(
        context: dg.AssetExecutionContext,
        config: VerifyConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.DagsterEvent]:
        keys, reads = chosen(context, config.partitions), target.target_settings(table.mapping, context.instance)
        failed = FailedPartitions(table, state.open(table.name))
        with working(context, table, source, reads, state, progress) as (opening, log):

            async def compare(work: ReadingWork, part: Part) -> None:
                await verify_part(work, table.partitions.window(part.partition), part, log, config.only_failed)

            yield from over_range(context, specs, keys, opening, compare, progress.end, failed)

    return verification_report


async def verify_part(
    work: ReadingWork, window: Window, part: Part, log: logging.Logger, only_failed: bool = False
) -> None:
    """Verify a partition, and record what was found; see `verify` for what it raises."""
    result = await verify(work, window, only_failed)
    log.info("%s: verified %d rows: %s", part.partition, result.looked_at, dict(result.verdicts))
    work.metrics.rows_ended("verified", result.verdicts)
    await record_verification(part, work.state, result)


async def record_verification(
    part: Part, store: StateStore, result: VerificationResult, on_the_way: bool = False
) -> None:
    """Record what was verified of a partition, and its checks; see `Part.record`."""
    facts = metadata.of_verification(result, store.locate(names.mismatches(part.partition)))
    await part.record("verification_report", facts, checks.of_verification(result), on_the_way)


@dataclass(frozen=True)
class _Making:
    """Makes a partition's inventory, plan and items. One pass over the rows serves several of them."""

    partitions: Partitions
    counts: bool
    plans: bool

    async def inventory(self, work: SourceWork, part: Part) -> None:
        """The inventory by itself."""
        await self._read(work, part, await count_source(work, self._window(part)))

    async def plan(self, work: ReadingWork, part: Part) -> None:
        """The plan, and the inventory if it is asked for; that alone where ids repeat."""
        counted = await self._count(work, part)
        if counted and counted.repeated:
            await self._read(work, part, counted)
        else:
            await self._plan(work, part, counted)

    async def items(
        self,
        work: WritingWork,
        part: Part,
        mode: WriteMode,
        config: MigrateConfig,
        deletes: int | None,
        log: logging.Logger,
    ) -> None:
        """The items, and whichever other assets are asked for; only the inventory where ids repeat."""
        counted = await self._count(work, part)
        if counted and (counted.repeated or config.retry_failures_only):
            await self._read(work, part, counted)
            if counted.repeated:
                return
            counted = None
        if self.plans:
            # In its own pass: the plan is about the target before the first write.
            await self._plan(work, part, counted)
            counted = None
        log.info("%s: starting migration, mode %s", part.partition, mode.value)
        work.target.batch_inserts.tell = log.warning
        if config.retry_failures_only:
            result = await retry_failures(work, self._window(part), mode, deletes)
            await asyncio.to_thread(save_record, work.state, names.retry(part.partition), result)
            # A retry reads only the ledger's rows: the claim is about the last pass over the window.
            last = await asyncio.to_thread(last_migration, work.state, part.partition)
        else:
            result = last = await self._migrate(work, part, counted, mode, config.start_over, deletes)
        log.info("%s: %s", part.partition, result.line())
        work.metrics.rows_ended("retried" if config.retry_failures_only else "migrated", result.outcomes)
        failures = await asyncio.to_thread(FailureLedger(work.state, part.partition).entries)
        results = [checks.every_row_is_accounted_for(last), checks.no_failed_items(failures)]
        facts = metadata.of_retry(last, result) if config.retry_failures_only else metadata.of_migration(result)
        await part.record(MIGRATED, facts, results)

    async def _migrate(
        self,
        work: WritingWork,
        part: Part,
        counted: SourceInventory | None,
        mode: WriteMode,
        start_over: bool,
        deletes: int | None,
    ) -> MigrationResult:
        rejections = Rejections(work.source.mapping) if counted else None
        try:
            result = await migrate(work, self._window(part), mode, start_over, deletes, rejections)
        except ImgmigError as error:
            # The pass knows only some rows: to fix the source a person needs all rejected ones.
            if counted and not error.ends_all:
                await self._read(work, part, counted)
            raise
        if counted and rejections:
            await _record_inventory(work, part, completed(counted, rejections.by_code, rejections.listed))
        return result

    async def _plan(self, work: ReadingWork, part: Part, counted: SourceInventory | None) -> None:
        planned = await plan(work, self._window(part))
        if counted:
            await _record_inventory(work, part, completed(counted, planned.rejected_by_code, planned.rejections))
        await asyncio.to_thread(save_record, work.state, names.plan(part.partition), planned)
        await part.record("dry_run_plan", metadata.of_plan(planned))

    async def _count(self, work: SourceWork, part: Part) -> SourceInventory | None:
        return await count_source(work, self._window(part)) if self.counts else None

    async def _read(self, work: SourceWork, part: Part, counted: SourceInventory) -> None:
        await _record_inventory(work, part, await take_inventory(work, self._window(part), counted))

    def _window(self, part: Part) -> Window:
        return self.partitions.window(part.partition)


async def _record_inventory(work: SourceWork, part: Part, found: SourceInventory) -> None:
    await asyncio.to_thread(save_record, work.state, names.inventory(part.partition), found)
    results = [
        checks.rows_are_mappable(found),
        checks.ids_are_unique(found),
        checks.columns_are_declared(work.source.table.not_migrated),
    ]
    await part.record(SOURCE, metadata.of_inventory(found), results, version=found.digest)
