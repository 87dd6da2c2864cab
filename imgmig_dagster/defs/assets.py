"""The assets that have a part per time window: nouns, each made by one call of the domain."""

from collections.abc import Mapping, Sequence

import dagster as dg

from imgmig_dagster.defs import checks, metadata
from imgmig_dagster.defs.asset_basics import Materialized, working
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
from imgmig_dagster.migration.passes import migrate, retry_failures
from imgmig_dagster.migration.plan import plan
from imgmig_dagster.migration.results import last_migration
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.records import save_record
from imgmig_dagster.verification.verifier import verify
from imgmig_dagster.work import work_on


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
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        window = window_of(partitions, context.partition_key)
        table = target.open_settings(context.instance)
        with working(context, source, table, state, progress) as (opening, _log):
            found = work_on(opening, lambda work: take_inventory(work, window))
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
        table.identity()  # a target that is away ends the run, and does not leave every row unread
        with working(context, source, table, state, progress) as (opening, _log):
            planned = work_on(opening, lambda work: plan(work, window))
        save_record(state.open(), names.plan(window.partition), planned)
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
        mode, table = source.settings.write_mode, target.open_for_writing(context.instance, config.confirm)
        window, store = window_of(partitions, context.partition_key), state.open()
        confirmed = config.confirm_deletes
        with working(context, source, table, state, progress) as (opening, log):
            log.info("%s: starting migration, mode %s", context.partition_key, mode.value)
            if config.retry_failures_only:
                result = work_on(opening, lambda work: retry_failures(work, window, mode, confirmed))
                save_record(store, names.retry(window.partition), result)
            else:
                result = work_on(opening, lambda work: migrate(work, window, mode, config.start_over, confirmed))
            log.info("%s: %s", context.partition_key, result.line())
            failures = FailureLedger(store, window.partition).entries()
        return dg.MaterializeResult(
            metadata=metadata.of_migration(result),
            # A retry looks at the ledger's rows only: the claim is of the last pass over the window.
            check_results=[
                checks.every_row_is_accounted_for(last_migration(store, window.partition)),
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
        partition, store, table = context.partition_key, state.open(), target.open_settings(context.instance)
        with working(context, source, table, state, progress) as (opening, log):
            window = window_of(partitions, partition)
            result = work_on(opening, lambda work: verify(work, window, config.only_failed))
            log.info("%s: verified %d rows: %s", partition, result.looked_at, dict(result.verdicts))
        place = store.locate(names.mismatches(partition))
        return dg.MaterializeResult(
            metadata=metadata.of_verification(result, place), check_results=checks.of_verification(result)
        )

    return [source_images, migration_plan, migrated_images, verification_report]
