"""The unpartitioned assets of a table: census, spot check, report. Partitioned assets are in `assets`."""

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import version
from platform import python_version
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from imgmig_dagster import __version__
from imgmig_dagster.defs import checks, links, metadata
from imgmig_dagster.defs.advice import advised
from imgmig_dagster.defs.asset_basics import Materialized, working
from imgmig_dagster.defs.claims import specs_of
from imgmig_dagster.defs.failed_partitions import FailedPartitions
from imgmig_dagster.defs.resources import (
    TARGET_POOL,
    PictureBuckets,
    ProgressListener,
    ReportBucket,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.run_config import SpotCheckConfig
from imgmig_dagster.defs.table import Table
from imgmig_dagster.errors import StateError
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.metrics import RunMetrics
from imgmig_dagster.remedies import options
from imgmig_dagster.reporting.published_mapping import published_mapping
from imgmig_dagster.reporting.recheckable import Recheck
from imgmig_dagster.stage.work import ReadingWork, work_on
from imgmig_dagster.state import names
from imgmig_dagster.state.index import read_ahead
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.census import take_census
from imgmig_dagster.steps.certify import Certified, certify
from imgmig_dagster.steps.spot_check import spot_check as draw_spot_check
from imgmig_dagster.verification.pictures import ShownPictures
from imgmig_dagster.verification.schema_changes import SchemaDrift, schema_drift
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.window import now, seconds_between

if TYPE_CHECKING:
    from imgmig_dagster.reporting.model import SummaryReport

_REPORTED_VERSIONS: Final = ("dagster", "psycopg", "aiohttp", "botocore", "pydantic")


def whole_table_assets(table: Table, specs: Mapping[str, dg.AssetSpec]) -> Sequence[dg.AssetsDefinition]:
    """The assets of the table as a whole."""

    @dg.multi_asset(
        name=table.asset("table_census"),
        specs=[specs["table_census"]],
        check_specs=specs_of(table, "table_census", None),
        pool=TARGET_POOL,
    )
    def table_census(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        windows, reads = table.partitions.windows(), target.target_settings(table.mapping, context.instance)
        with working(context, table, source, reads, state, progress) as (opening, log):
            exports = target.exports()
            result = work_on(opening, lambda work: take_census(work, windows, table.others, log.info, exports))
        return dg.MaterializeResult(
            metadata=metadata.of_census(result),
            check_results=advised(checks.of_census(result), table, result.partitions_at_fault),
        )

    @dg.multi_asset(
        name=table.asset("spot_check"),
        specs=[specs["spot_check"]],
        check_specs=specs_of(table, "spot_check", None),
        pool=TARGET_POOL,
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
        from imgmig_dagster.reporting.render import render_spot_check

        seed = config.seed if config.seed is not None else int(context.run.run_id[:8], 16)
        store, s3 = state.open(table.name), pictures.open(table.mapping)
        windows, reads = table.partitions.windows(), target.target_settings(table.mapping, context.instance)
        with working(context, table, source, reads, state, progress) as (opening, _log):
            result = work_on(opening, lambda work: draw_spot_check(work, s3, windows, config.count, seed))
        # A person may be reviewing the last sample, or has done so: only a person replaces it.
        keeps = config.keep_last and config.seed is None
        last = load_record(store, names.SPOT_CHECK, SpotCheckResult) if keeps else None
        kept = last is not None and last.is_clean and result.is_clean and not last.identity.changes(result.identity)
        if not kept:
            shown = (
                ShownPictures() if s3 is None else s3.show(result.pairs, source.settings.reports.spot_check_pictures)
            )
            save_record(store, names.SPOT_CHECK, result)
            page = render_spot_check(result, table.stage.value, shown, table.option)
            store.write(names.SPOT_CHECK_PAGE, page.encode())
        return dg.MaterializeResult(
            metadata={
                **metadata.of_spot_check(result),
                "last_sample_kept": kept,
                "page": dg.MetadataValue.path(store.locate(names.SPOT_CHECK_PAGE)),
            },
            check_results=advised([checks.spot_check_is_clean(result), checks.pictures_are_as_declared(result)], table),
        )

    @dg.multi_asset(
        name=table.asset("migration_report"),
        specs=[specs["migration_report"]],
        check_specs=specs_of(table, "migration_report", None),
        # This makes "Execute" on the check's page work: it makes a new report and judges it.
        can_subset=True,
    )
    def migration_report(
        context: dg.AssetExecutionContext,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
        reports: ReportBucket,
    ) -> Iterator[dg.MaterializeResult[Any] | dg.AssetCheckResult]:
        from imgmig_dagster.reporting.certificate_file import sign_certificate
        from imgmig_dagster.reporting.model import RunFacts, build_report
        from imgmig_dagster.reporting.render import publish, render_markdown

        windows, store, settings = table.partitions.windows(), state.open(table.name), source.settings
        reads = target.target_settings(table.mapping, context.instance)
        with working(context, table, source, reads, state, progress) as (opening, log):

            async def look(
                work: ReadingWork,
            ) -> tuple[Certified, Sequence[str], NotMigrated, Recheck, SchemaDrift, RunMetrics]:
                certified = await certify(work, windows, log.info)
                columns = await asyncio.to_thread(work.source.columns_not_migrated)
                recheck = Recheck(published_mapping(work.source.mapping), work.source.published())
                drift = await asyncio.to_thread(schema_drift, store, work.source, work.describe_target)
                return certified, work.source.table.assumptions, columns, recheck, drift, work.metrics

            certified, assumptions, columns, recheck, drift, metrics = work_on(opening, look)
            # After the last look: a state that wrote during it has marked the table by now.
            owner = target.ownership(certified.identity.target, state.of_stage())
            counted = {**certified.counts.rows_per_window, **certified.rows}
            facts = RunFacts(
                run_id=context.run.run_id,
                made_at=now(),
                counted_at=certified.as_of,
                identity=certified.identity,
                settings=settings.shown(table.mapping),
                versions={
                    "imgmig_dagster": __version__,
                    "python": python_version(),
                    **{name: version(name) for name in _REPORTED_VERSIONS},
                },
                show_values=settings.reports.keep_values,
                assumptions=[*assumptions, *([owner.assumption] if owner.assumption else [])],
                owner=owner,
                rows_outside=certified.counts.outside.rows,
                repeated=certified.repeated.sample_ids,
                miscounted=certified.miscounted,
                columns=columns,
                recheck=recheck,
                schema=drift,
                rounds=certified.rounds,
                ends=certified.ends,
                left=certified.left,
            )
            rows_now = {window.partition: counted.get(window.partition, 0) for window in windows}
            known = read_ahead(store, list(rows_now))  # not by the index: the certificate relies on this
            report = build_report(known, table.stage.value, windows, rows_now, facts, certified.digests, table.option)
            _measure(metrics, report)
        FailedPartitions(table, store).show_judged(context, report)
        files = publish(store, report)
        try:
            if key := reports.signing_key():
                sign_certificate(store, facts.made_at, key)
        finally:
            # Signed or not, it is kept.
            published = reports.publish({name: _content(store, name) for name in files}, table.option)
        access = settings.aws()
        shown: dict[str, Any] = {
            **metadata.of_summary(report),
            "report": dg.MetadataValue.md(render_markdown(report)),
            "to_open_it": dg.MetadataValue.md(f"`imgmig report {options(table.stage.value, table.option)} --open`"),
            **{name: links.shown(place, access) for name, place in files.items()},
            **{f"s3_{name}": links.shown(place, access) for name, place in published.items()},
        }
        if context.selected_asset_keys:
            yield dg.MaterializeResult(metadata=shown)
        else:
            context.log_event(dg.AssetMaterialization(table.asset("migration_report"), metadata=shown))
        yield from advised([checks.ready_for_cutover(report)], table)

    return [table_census, spot_check, migration_report]


def _measure(metrics: RunMetrics, report: "SummaryReport") -> None:
    evidence = [each.evidence for each in report.filled if each.evidence]
    ages = [seconds_between(each.as_of or each.started_at, report.facts.made_at) for each in evidence]
    metrics.judged(Counter(each.verdict.value for each in report.filled), max(ages, default=None))


def _content(store: StateStore, name: str) -> bytes:
    found = store.read(names.report(name))
    if found is None:
        raise StateError(f"{name} is gone from {store.locate(names.REPORTS)} although it was just written")
    return found.content
