"""The assets: nouns, each made by one call of the domain."""

from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import dagster as dg

from imgmig_dagster import __version__
from imgmig_dagster.defs import checks, metadata
from imgmig_dagster.defs.partitions import window_of, windows_of
from imgmig_dagster.defs.resources import (
    SOURCE_POOL,
    TARGET_POOL,
    PictureBuckets,
    ProgressListener,
    ReportBucket,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.run_config import MigrateConfig, SpotCheckConfig, VerifyConfig
from imgmig_dagster.errors import StateError
from imgmig_dagster.mapping.image import PICTURE
from imgmig_dagster.migration.inventory import take_inventory
from imgmig_dagster.migration.passes import MigrationRun
from imgmig_dagster.migration.plan import plan
from imgmig_dagster.progress import Listener
from imgmig_dagster.reporting.partitions import last_migration
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.records import save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.census import take_census
from imgmig_dagster.verification.spot_check import spot_check as draw_spot_check
from imgmig_dagster.verification.verifier import VerificationRun
from imgmig_dagster.window import now

OWNERS = ["team:data-platform"]
# Evidence that its schedule no longer renews shows on its asset's page. Of a partitioned asset Dagster judges the last
# materialization of any partition: that the rotation stands still is seen, not that one partition was left out.
_DAILY: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=2))
_WEEKLY: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=8))

# Dagster recognizes the bare class only: with a type argument it takes an asset with checks for one of many outputs.
if TYPE_CHECKING:
    Materialized: TypeAlias = dg.MaterializeResult[Any]
else:
    Materialized = dg.MaterializeResult


def partitioned_assets(partitions: dg.TimeWindowPartitionsDefinition) -> Sequence[dg.AssetsDefinition]:
    """The assets that have a part per time window."""
    # No backfill policy: a backfill then launches one run per partition, and only such runs record the partition
    # of an asset check.

    @dg.asset(
        partitions_def=partitions,
        group_name="migration",
        kinds={"postgres"},
        owners=OWNERS,
        pool=SOURCE_POOL,
        check_specs=checks.specs_of("source_images", partitions),
    )
    def source_images(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        """Inventory of the source rows: count, bytes, NULLs, digest, watermark, and whether each can be mapped."""
        window = window_of(partitions, context.partition_key)
        with source.reader() as reader, state.log() as log:
            listener = progress.for_run(log, context.log)
            found = take_inventory(reader, window, source.settings.page_size, listener)
        save_record(state.open(), names.inventory(window.partition), found)
        return dg.MaterializeResult(
            metadata=metadata.of_inventory(found), check_results=[checks.rows_are_mappable(found)]
        )

    @dg.asset(
        partitions_def=partitions,
        group_name="migration",
        kinds={"python"},
        owners=OWNERS,
        pool=TARGET_POOL,
        deps=[source_images],
    )
    def migration_plan(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        """The dry run: what a migration would do to each row, rejects, write units, cost. Never writes."""
        window, table = window_of(partitions, context.partition_key), target.open_settings(context.instance)
        table.identity()  # a target that is away ends the run, and does not leave every row unread
        with source.reader() as reader, state.log() as log:
            listener = progress.for_run(log, context.log)
            planned = plan(reader, table, window, source.settings.page_size, listener)
        save_record(state.open(), names.plan(window.partition), planned)
        return dg.MaterializeResult(metadata=metadata.of_plan(planned))

    @dg.asset(
        partitions_def=partitions,
        group_name="migration",
        kinds={"dynamodb"},
        owners=OWNERS,
        pool=TARGET_POOL,
        deps=[source_images],
        check_specs=checks.specs_of("migrated_images", partitions),
    )
    def migrated_images(
        context: dg.AssetExecutionContext,
        config: MigrateConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        """The items written, with an outcome for every row of the window."""
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
            result = run.retry_failures() if config.retry_failures_only else run.migrate(config.start_over)
            log.info(
                "%s: migration complete in %.1f s: total %d, migrated %d, skipped %d, failed %d, %.0f images/s, "
                "success rate %.2f%%",
                context.partition_key,
                result.duration_s,
                result.total,
                result.migrated,
                result.skipped,
                result.failed,
                result.rate,
                100 * result.success_rate,
            )
            failures = FailureLedger(run.state, run.window.partition).entries()
        return dg.MaterializeResult(
            metadata=metadata.of_migration(result),
            # A retry looks at the ledger's rows only: the claim is of the last pass over the window.
            check_results=[
                checks.every_row_is_accounted_for(last_migration(run.state, run.window.partition)),
                checks.no_failed_items(failures),
            ],
        )

    @dg.asset(
        partitions_def=partitions,
        group_name="verification",
        kinds={"python"},
        owners=OWNERS,
        pool=TARGET_POOL,
        # The latter so that a job can repair and then verify.
        deps=[migrated_images, "repair_report"],
        check_specs=checks.specs_of("verification_report", partitions),
        freshness_policy=_DAILY,
    )
    def verification_report(
        context: dg.AssetExecutionContext,
        config: VerifyConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        """Every row of the window compared with its item, field by field, by strongly consistent reads."""
        partition, store = context.partition_key, state.open()
        with source.reader() as reader, state.log() as log:
            run = _verification_run(context, reader, source, target, store, progress.for_run(log, context.log))
            result = run.verify(window_of(partitions, partition), config.only_failed)
            log.info("%s: verified %d rows: %s", partition, result.looked_at, dict(result.verdicts))
        return dg.MaterializeResult(
            metadata={
                **metadata.of_verification(result),
                "full_values": dg.MetadataValue.path(store.locate(names.mismatches(partition))),
            },
            check_results=[
                checks.zero_mismatches(result),
                checks.coverage_is_complete(result),
                checks.timestamps_are_exact(result),
            ],
        )

    return [source_images, migration_plan, migrated_images, verification_report]


def whole_table_assets(partitions: dg.TimeWindowPartitionsDefinition, stage: str) -> Sequence[dg.AssetsDefinition]:
    """The assets of the table as a whole."""

    @dg.asset(
        group_name="verification",
        kinds={"dynamodb"},
        owners=OWNERS,
        pool=TARGET_POOL,
        deps=["migrated_images"],
        check_specs=checks.specs_of("table_census", None),
        freshness_policy=_WEEKLY,
    )
    def table_census(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        """A full parallel scan of the target against the whole source: keys and content."""
        windows = windows_of(partitions)
        with source.reader() as reader, state.log() as log:
            run = _verification_run(context, reader, source, target, state.open(), progress.for_run(log, context.log))
            result = take_census(run, windows[0].start, windows[-1].end)
        save_record(state.open(), names.CENSUS, result)
        return dg.MaterializeResult(
            metadata=metadata.of_census(result),
            check_results=[
                checks.no_missing_items(result),
                checks.no_orphan_items(result),
                checks.no_differing_items(result),
                checks.no_rows_outside_partitions(result),
            ],
        )

    @dg.asset(
        group_name="verification",
        kinds={"html"},
        owners=OWNERS,
        deps=["migrated_images"],
        check_specs=checks.specs_of("spot_check", None),
        freshness_policy=_DAILY,
    )
    def spot_check(
        context: dg.AssetExecutionContext,
        config: SpotCheckConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        pictures: PictureBuckets,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        """Random images, both records side by side and their pictures, for a person to review."""
        from imgmig_dagster.reporting.render import render_spot_check

        seed = config.seed if config.seed is not None else int(context.run.run_id[:8], 16)
        store, s3 = state.open(), pictures.open()
        with source.reader() as reader, state.log() as log:
            run = _verification_run(context, reader, source, target, store, progress.for_run(log, context.log))
            result = draw_spot_check(run, s3, PICTURE, config.count, seed)
        shown = s3.show(result.pairs, source.settings.spot_check_pictures)
        save_record(store, names.SPOT_CHECK, result)
        store.write(names.SPOT_CHECK_PAGE, render_spot_check(result, stage, shown).encode())
        return dg.MaterializeResult(
            metadata={
                **metadata.of_spot_check(result),
                "page": dg.MetadataValue.path(store.locate(names.SPOT_CHECK_PAGE)),
            },
            check_results=[checks.spot_check_is_clean(result), checks.pictures_are_as_declared(result)],
        )

    @dg.asset(
        group_name="reporting",
        kinds={"html"},
        owners=OWNERS,
        deps=["verification_report", table_census, spot_check],
        check_specs=checks.specs_of("migration_summary", None),
    )
    def migration_summary(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        reports: ReportBucket,
    ) -> Materialized:
        """The report for people, and the certificate for machines, built from evidence, whatever the checks say."""
        from imgmig_dagster.reporting.model import RunFacts, build_report
        from imgmig_dagster.reporting.render import publish, render_markdown

        windows, store, counted_at = windows_of(partitions), state.open(), now()
        with source.reader() as reader:
            counted = reader.rows_per_window(windows)
            digests = {each.partition: reader.inventory(each).digest for each in windows if each.partition in counted}
            run = _verification_run(context, reader, source, target, store, lambda _progress: None)
            facts = RunFacts(
                run_id=context.run.run_id,
                made_at=now(),
                counted_at=counted_at,
                identity=run.identity(),
                settings=source.settings.shown(),
                versions={"imgmig_dagster": __version__, "dagster": dg.__version__},
            )
        rows_now = {window.partition: counted.get(window.partition, 0) for window in windows}
        report = build_report(store, stage, windows, rows_now, facts, digests)
        files = publish(store, report)
        published = reports.publish({name: _content(store, name) for name in files})
        return dg.MaterializeResult(
            metadata={
                "verdict": report.verdict.value,
                "rows": report.totals.rows,
                "migrated": report.totals.migrated,
                "failed": report.totals.in_ledger,
                "mismatches": report.totals.mismatches_found,
                "report": dg.MetadataValue.md(render_markdown(report)),
                **{name: dg.MetadataValue.path(place) for name, place in files.items()},
                **{f"s3_{name}": dg.MetadataValue.text(place) for name, place in published.items()},
            },
            check_results=[checks.ready_for_cutover(report)],
        )

    return [table_census, spot_check, migration_summary]


def _verification_run(
    context: dg.AssetExecutionContext,
    reader: SourceReader,
    source: SourceDatabase,
    target: TargetDynamoDB,
    store: StateStore,
    listener: Listener,
) -> VerificationRun:
    return VerificationRun(
        source=reader,
        target=target.open_settings(context.instance),
        state=store,
        run_id=context.run.run_id,
        page_size=source.settings.page_size,
        settle_seconds=source.settings.settle_seconds,
        listener=listener,
    )


def _content(store: StateStore, name: str) -> bytes:
    found = store.read(f"{names.REPORTS}/{name}")
    if found is None:
        raise StateError(f"{name} is gone from {store.locate(names.REPORTS)} although it was just written")
    return found.content
