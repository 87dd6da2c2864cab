"""The assets of repair: what is done about what verification and census found, or, unless applied, would be."""

from collections.abc import Mapping, Sequence

import dagster as dg

from imgmig_dagster.defs import checks, metadata
from imgmig_dagster.defs.asset_basics import Materialized, working
from imgmig_dagster.defs.partitions import window_of
from imgmig_dagster.defs.resources import (
    TARGET_POOL,
    ProgressListener,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.run_config import DeleteOrphansConfig, RepairConfig
from imgmig_dagster.migration.repair import RepairResult, delete_orphans, repair
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines, load_record, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.verification.census_results import CensusFinding, CensusResult
from imgmig_dagster.verification.results import Mismatch, VerificationResult
from imgmig_dagster.verification.verifier import verify
from imgmig_dagster.work import ReadingWork, work_on


def repair_assets(
    partitions: dg.TimeWindowPartitionsDefinition, specs: Mapping[str, dg.AssetSpec]
) -> Sequence[dg.AssetsDefinition]:
    """One per partition, and one of the items that belong to none."""

    @dg.multi_asset(specs=[specs["repair_report"]], pool=TARGET_POOL)
    def repair_report(
        context: dg.AssetExecutionContext,
        config: RepairConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Materialized:
        table = _open_target(target, context.instance, config)
        partition, store = context.partition_key, state.open()
        evidence = load_record(store, names.evidence(partition), VerificationResult)
        listed = load_lines(store, names.mismatches(partition), Mismatch)
        ids = list(dict.fromkeys(found.row_id for found in listed))
        unlisted = evidence.mismatches_found - len(listed) if evidence else 0
        with working(context, source, table, state, progress) as (opening, log):

            async def mend(work: ReadingWork) -> tuple[RepairResult, VerificationResult | None]:
                result = await repair(work, partition, ids, unlisted, config.source_wins)
                log.info("%s: repair, applied %s: %s", partition, result.applied, dict(result.counts))
                save_record(store, names.repair(partition), result)
                window = window_of(partitions, partition)
                return result, await verify(work, window, only_failed=True) if config.apply else None

            result, verified = work_on(opening, mend)
        if verified is not None:
            _report_verification(context, store, verified)
        return dg.MaterializeResult(metadata=metadata.of_repair(result))

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
        census = load_record(store, names.CENSUS, CensusResult)
        findings = load_lines(store, names.CENSUS_FINDINGS, CensusFinding)
        seen = {found.row_id: found.sha256 for found in findings if found.sha256 is not None}
        unlisted, rows = (census.orphans - len(seen), census.source_rows) if census else (0, 0)
        with working(context, source, table, state, progress) as (opening, log):
            result = work_on(opening, lambda work: delete_orphans(work, seen, unlisted, rows, config.confirm_deletes))
            log.info("orphans: deletion, applied %s: %s", result.applied, dict(result.counts))
        save_record(store, names.ORPHAN_REPAIR, result)
        return dg.MaterializeResult(metadata=metadata.of_repair(result))

    return [repair_report, orphan_report]


def _report_verification(context: dg.AssetExecutionContext, store: StateStore, verified: VerificationResult) -> None:
    # Events of the run, and no dependency: `verification_report` would otherwise ask for a repair before it.
    asset, partition = "verification_report", context.partition_key
    facts = metadata.of_verification(verified, store.locate(names.mismatches(partition)))
    context.log_event(dg.AssetMaterialization(asset, partition=partition, metadata=facts))
    for found in checks.of_verification(verified):
        context.log_event(checks.evaluation(asset, partition, found))


def _open_target(
    target: TargetDynamoDB, instance: dg.DagsterInstance, config: RepairConfig | DeleteOrphansConfig
) -> TargetSettings:
    """Every repair begins here: one that may write asks whether it may."""
    return target.open_for_writing(instance, config.confirm) if config.apply else target.open_settings(instance)
