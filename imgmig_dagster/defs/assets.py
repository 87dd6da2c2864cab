"""The assets that have a part per time window: each part is made by calls of the domain.

How a run goes through its partitions, and records each, is in `ranges`.
"""

import asyncio
import logging
from collections.abc import Iterator, Mapping, Sequence

import dagster as dg

from imgmig_dagster.defs import checks, metadata
from imgmig_dagster.defs.asset_basics import working
from imgmig_dagster.defs.claims import specs_of
from imgmig_dagster.defs.partitions import window_of
from imgmig_dagster.defs.ranges import Part, chosen, over_range
from imgmig_dagster.defs.resources import (
    TARGET_POOL,
    ProgressListener,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.run_config import MigrateConfig, VerifyConfig
from imgmig_dagster.stage import WriteMode
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import FailureLedger, confirmed_deletes
from imgmig_dagster.state.records import save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.inventory import take_inventory
from imgmig_dagster.steps.migrate import migrate, retry_failures
from imgmig_dagster.steps.migration_result import last_migration
from imgmig_dagster.steps.plan import plan
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.verification.results import VerificationResult
from imgmig_dagster.window import Window
from imgmig_dagster.work import ReadingWork, WritingWork


def partitioned_assets(
    partitions: dg.TimeWindowPartitionsDefinition, specs: Mapping[str, dg.AssetSpec], partitions_per_run: int
) -> Sequence[dg.AssetsDefinition]:
    """The assets that have a part per time window."""
    policy = dg.BackfillPolicy.multi_run(partitions_per_run)
    return [_migrated_images(partitions, specs, policy), _verification_report(partitions, specs, policy)]


def _migrated_images(
    partitions: dg.TimeWindowPartitionsDefinition, specs: Mapping[str, dg.AssetSpec], policy: dg.BackfillPolicy
) -> dg.AssetsDefinition:
    @dg.multi_asset(
        # The op bears the name by which run config knows it.
        name="migrated_images",
        specs=[specs[name] for name in ("source_images", "migration_plan", "migrated_images")],
        check_specs=[*specs_of("source_images", partitions), *specs_of("migrated_images", partitions)],
        can_subset=True,
        pool=TARGET_POOL,
        backfill_policy=policy,
    )
    def migrated_images(
        context: dg.AssetExecutionContext,
        config: MigrateConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.DagsterEvent]:
        assets = frozenset(key.to_user_string() for key in context.selected_asset_keys)
        keys, mode = chosen(context, config.partitions), source.settings.write_mode
        confirmed = confirmed_deletes(state.open(), keys, config.confirm_deletes)

        async def read(work: ReadingWork, part: Part) -> bool:
            """Whether what was found lets the partition's rows be written."""
            window = window_of(partitions, part.partition)
            if "source_images" in assets and not await _take_inventory(work, window, part):
                return False
            if "migration_plan" in assets:
                await _plan(work, window, part)
            return True

        async def write(work: WritingWork, part: Part) -> None:
            if await read(work, part):
                window = window_of(partitions, part.partition)
                await _migrate(work, window, part, mode, config, confirmed[part.partition], log)

        async def only_read(work: ReadingWork, part: Part) -> None:
            await read(work, part)

        if "migrated_images" in assets:
            table = target.open_for_writing(context.instance, config.confirm)
            with working(context, source, table, state, progress) as (opening, log):
                yield from over_range(context, specs, keys, opening, write, progress.end)
        else:
            reads = target.open_settings(context.instance)
            reads.identity()  # a target that is away ends the run, and does not leave every row unread
            with working(context, source, reads, state, progress) as (reading, _log):
                yield from over_range(context, specs, keys, reading, only_read, progress.end)

    return migrated_images


def _verification_report(
    partitions: dg.TimeWindowPartitionsDefinition, specs: Mapping[str, dg.AssetSpec], policy: dg.BackfillPolicy
) -> dg.AssetsDefinition:
    @dg.multi_asset(
        name="verification_report",
        specs=[specs["verification_report"]],
        check_specs=specs_of("verification_report", partitions),
        can_subset=True,
        pool=TARGET_POOL,
        backfill_policy=policy,
    )
    def verification_report(
        context: dg.AssetExecutionContext,
        config: VerifyConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.DagsterEvent]:
        keys, table = chosen(context, config.partitions), target.open_settings(context.instance)
        with working(context, source, table, state, progress) as (opening, log):

            async def compare(work: ReadingWork, part: Part) -> None:
                result = await verify(work, window_of(partitions, part.partition), config.only_failed)
                log.info("%s: verified %d rows: %s", part.partition, result.looked_at, dict(result.verdicts))
                await record_verification(part, work.state, result)

            yield from over_range(context, specs, keys, opening, compare, progress.end)

    return verification_report


async def record_verification(
    part: Part, store: StateStore, result: VerificationResult, on_the_way: bool = False
) -> None:
    """Record what was verified of a partition, and its checks; see `Part.record`."""
    facts = metadata.of_verification(result, store.locate(names.mismatches(part.partition)))
    await part.record("verification_report", facts, checks.of_verification(result), on_the_way)


async def _take_inventory(work: ReadingWork, window: Window, part: Part) -> bool:
    found = await take_inventory(work, window)
    await asyncio.to_thread(save_record, work.state, names.inventory(part.partition), found)
    results = [checks.rows_are_mappable(found), checks.ids_are_unique(found)]
    return await part.record("source_images", metadata.of_inventory(found), results, version=found.digest)


async def _plan(work: ReadingWork, window: Window, part: Part) -> None:
    planned = await plan(work, window)
    await asyncio.to_thread(save_record, work.state, names.plan(part.partition), planned)
    await part.record("migration_plan", metadata.of_plan(planned))


async def _migrate(
    work: WritingWork,
    window: Window,
    part: Part,
    mode: WriteMode,
    config: MigrateConfig,
    deletes: int | None,
    log: logging.Logger,
) -> None:
    log.info("%s: starting migration, mode %s", part.partition, mode.value)
    if config.retry_failures_only:
        result = await retry_failures(work, window, mode, deletes)
        await asyncio.to_thread(save_record, work.state, names.retry(part.partition), result)
    else:
        result = await migrate(work, window, mode, config.start_over, deletes)
    log.info("%s: %s", part.partition, result.line())
    # A retry looks at the ledger's rows only: the claim is of the last pass over the window.
    last = await asyncio.to_thread(last_migration, work.state, part.partition)
    failures = await asyncio.to_thread(FailureLedger(work.state, part.partition).entries)
    results = [checks.every_row_is_accounted_for(last), checks.no_failed_items(failures)]
    await part.record("migrated_images", metadata.of_migration(result), results)
