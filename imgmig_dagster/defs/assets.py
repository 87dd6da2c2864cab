"""The assets that have a part per time window: nouns, each made by one call of the domain."""

from collections.abc import Mapping, Sequence

import dagster as dg

from imgmig_dagster.defs import checks, metadata
from imgmig_dagster.defs.asset_basics import Materialized, verification_run
from imgmig_dagster.defs.claims import specs_of
from imgmig_dagster.defs.partitions import window_of
from imgmig_dagster.defs.resources import (
    SOURCE_POOL,
    TARGET_POOL,
    ProgressListener,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.run_config import MigrateConfig, VerifyConfig
from imgmig_dagster.migration.inventory import take_inventory
from imgmig_dagster.migration.passes import MigrationRun
from imgmig_dagster.migration.plan import plan
from imgmig_dagster.migration.results import last_migration
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.records import save_record


def partitioned_assets(
    partitions: dg.TimeWindowPartitionsDefinition, specs: Mapping[str, dg.AssetSpec]
) -> Sequence[dg.AssetsDefinition]:
    """The assets that have a part per time window."""
    # No backfill policy: a backfill then launches one run per partition, and only such runs record the partition
    # of an asset check.

    @dg.multi_asset(specs=[specs["source_images"]], check_specs=specs_of("source_images", partitions), pool=SOURCE_POOL)
    def source_images(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        window = window_of(partitions, context.partition_key)
        with source.reader() as reader, state.log() as log:
            listener = progress.for_run(log, context.log)
            found = take_inventory(reader, window, source.settings.page_size, listener)
        save_record(state.open(), names.inventory(window.partition), found)
        return dg.MaterializeResult(
            metadata=metadata.of_inventory(found),
            check_results=[checks.rows_are_mappable(found), checks.ids_are_unique(found)],
        )

    @dg.multi_asset(specs=[specs["migration_plan"]], pool=TARGET_POOL)
    def migration_plan(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        window, table = window_of(partitions, context.partition_key), target.open_settings(context.instance)
        store = state.open()
        table.identity()  # a target that is away ends the run, and does not leave every row unread
        with source.reader() as reader, state.log() as log:
            listener = progress.for_run(log, context.log)
            planned = plan(reader, table, window, source.settings.page_size, listener, store)
        save_record(store, names.plan(window.partition), planned)
        return dg.MaterializeResult(metadata=metadata.of_plan(planned))

    @dg.multi_asset(
        specs=[specs["migrated_images"]], check_specs=specs_of("migrated_images", partitions), pool=TARGET_POOL
    )
    def migrated_images(
        context: dg.AssetExecutionContext,
        config: MigrateConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        settings, table = source.settings, target.open_for_writing(context.instance, config.confirm)
        with source.reader() as reader, state.log() as log:
            run = MigrationRun(
                source=reader,
                target=table,
                state=state.open(),
                window=window_of(partitions, context.partition_key),
                run_id=context.run.run_id,
                write_mode=settings.write_mode,
                page_size=settings.page_size,
                settle_seconds=settings.settle_seconds,
                listener=progress.for_run(log, context.log),
                keep_values=settings.show_values,
            )
            log.info("%s: starting migration, mode %s", context.partition_key, settings.write_mode.value)
            if config.retry_failures_only:
                result = run.retry_failures(config.confirm_deletes)
                save_record(run.state, names.retry(run.window.partition), result)
            else:
                result = run.migrate(config.start_over, config.confirm_deletes)
            log.info("%s: %s", context.partition_key, result.line())
            failures = FailureLedger(run.state, run.window.partition).entries()
        return dg.MaterializeResult(
            metadata=metadata.of_migration(result),
            # A retry looks at the ledger's rows only: the claim is of the last pass over the window.
            check_results=[
                checks.every_row_is_accounted_for(last_migration(run.state, run.window.partition)),
                checks.no_failed_items(failures),
            ],
        )

    @dg.multi_asset(
        specs=[specs["verification_report"]], check_specs=specs_of("verification_report", partitions), pool=TARGET_POOL
    )
    def verification_report(
        context: dg.AssetExecutionContext,
        config: VerifyConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        partition, store = context.partition_key, state.open()
        with source.reader() as reader, state.log() as log:
            run = verification_run(context, reader, source, target, store, progress.for_run(log, context.log))
            result = run.verify(window_of(partitions, partition), config.only_failed)
            log.info("%s: verified %d rows: %s", partition, result.looked_at, dict(result.verdicts))
        place = store.locate(names.mismatches(partition))
        return dg.MaterializeResult(
            metadata=metadata.of_verification(result, place), check_results=checks.of_verification(result)
        )

    return [source_images, migration_plan, migrated_images, verification_report]
