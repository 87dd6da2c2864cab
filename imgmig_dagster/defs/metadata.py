"""Turns results into Dagster's metadata: figures by name, which Dagster plots over time, and the keys at fault.

The result declares each figure's name (`figures.py`). Metadata holds no row's values: only keys and attribute names.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import dagster as dg

from imgmig_dagster import figures
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.transform import Rejection
from imgmig_dagster.state.failures import HELD_BACK, Failure
from imgmig_dagster.steps.dry_run import MigrationPlan
from imgmig_dagster.steps.inventory import SourceInventory
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.steps.repair_result import RepairResult, counts_in_words, in_words
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.review import SpotCheckReview
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import VerificationResult

if TYPE_CHECKING:
    from imgmig_dagster.reporting.model import SummaryReport

LISTED = 50


def of_inventory(found: SourceInventory) -> dict[str, Any]:
    """What the source holds."""
    return {
        "dagster/row_count": found.rows,
        **_figures(found),
        "digest": found.digest,
        "watermark": found.watermark or "none",
    }


def of_columns(found: NotMigrated) -> dict[str, Any]:
    """The columns of the source that no item carries."""
    treated = [(name, "neither mapped nor ignored", "") for name in found.unmapped]
    treated += [(name, "ignored", reason) for name, reason in found.ignored.items()]
    heads = ("column", "treatment", "reason")
    return _table("columns_not_migrated", treated, lambda entry: dict(zip(heads, entry, strict=True)))


def of_plan(plan: MigrationPlan) -> dict[str, Any]:
    """What a migration would do."""
    return {**_figures(plan), **_table("rejections", plan.rejections, _rejection)}


def of_migration(result: MigrationResult) -> dict[str, Any]:
    """What a pass did."""
    return {
        "dagster/row_count": result.total,
        **_figures(result),
        **_audit(result.audit),
        "write_mode": result.write_mode,
        "outcomes": _counts("outcome", result.outcomes),
    }


def of_retry(last: MigrationResult | None, retried: MigrationResult) -> dict[str, Any]:
    """What the last pass did, and, as ``retry_...``, what became of the ledger's rows since."""
    return {**of_migration(last or retried), **{f"retry_{name}": value for name, value in _figures(retried).items()}}


def of_failures(failures: Sequence[Failure]) -> dict[str, Any]:
    """What the ledger holds."""
    held = sum(failure.code == HELD_BACK for failure in failures)
    return {"in_ledger": len(failures), "deletes_held_back": held, **_table("failures", failures, _failure)}


def of_verification(result: VerificationResult, full_values: str) -> dict[str, Any]:
    """What a verification found; `full_values` is the file that has the values too."""
    return {
        "dagster/row_count": result.looked_at,
        **_figures(result),
        "digest": result.digest,
        "watermark": result.watermark or "none",
        "full_values": dg.MetadataValue.path(full_values),
        **of_mismatches(result),
    }


def of_mismatches(result: VerificationResult) -> dict[str, Any]:
    """The keys and fields at fault."""
    return {
        "faults_found": result.mismatches_found,
        **_table(
            "faults",
            result.mismatches,
            lambda found: {
                "key": found.row_id,
                "verdict": found.verdict.value,
                "field": found.attribute or "the whole item",
            },
        ),
    }


def of_repair(result: RepairResult) -> dict[str, Any]:
    """What was done about each key, or would be."""
    return {
        **_figures(result),
        "outcomes": _counts("outcome", counts_in_words(result)),
        **_audit(result.audit),
        **_table(
            "each_key",
            list(result.outcomes.items()),
            lambda entry: {"key": entry[0], "outcome": in_words(entry[1], result.applied)},
        ),
    }


def of_census(result: CensusResult) -> dict[str, Any]:
    """What the comparison of the whole found."""
    return _figures(result)


def of_spot_check(result: SpotCheckResult) -> dict[str, Any]:
    """What the sample showed."""
    faults = {
        pair.row_id: [name for name, _row, _item, agrees in pair.fields if pair.has_item and not agrees]
        for pair in result.pairs
        if not pair.agrees
    }
    return {
        **_figures(result),
        "differing": len(faults),
        "object_faults": len(result.object_faults),
        **of_faults(faults),
    }


def of_review(review: SpotCheckReview) -> dict[str, Any]:
    """The review of the sample, without name and remarks, which may hold personal data."""
    return {
        "reviewed_run": review.run_id,
        "seed": review.seed,
        "images": len(review.images),
        "issues": len(review.issues),
        **_table("images_with_issues", review.issues, lambda row_id: {"key": row_id}),
    }


def of_summary(report: "SummaryReport") -> dict[str, Any]:
    """The verdict, whether a cutover is ready, and the totals, named as for partitions."""
    return {**of_readiness(report), **_figures(report.totals)}


def of_readiness(report: "SummaryReport") -> dict[str, Any]:
    """The verdict, whether a cutover is ready, and each blocker, with the commands to type."""
    blockers = [*report.blockers, *report.cutover_blockers]
    return {
        "verdict": report.verdict.value,
        "cutover": report.cutover.value,
        "blockers": len(blockers),
        **_table("what_blocks", blockers, lambda each: {"what": each.what, "type next": ", then ".join(each.commands)}),
    }


def of_faults(faults: Mapping[str, Sequence[str]], partitions: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The keys and fields at fault, with their `partitions` where these are known; no field where the whole item is."""

    def shown(fault: tuple[str, Sequence[str]]) -> dict[str, str]:
        place = {} if partitions is None else {"partition": partitions.get(fault[0], "none")}
        return {"key": fault[0], **place, "field": ", ".join(fault[1]) or "the whole item"}

    return _table("faults", list(faults.items()), shown)


def of_ids(name: str, ids: Sequence[str]) -> dict[str, Any]:
    """A count of ids, and the first of them."""
    return {name: len(ids), **_table(f"{name}_ids", ids, lambda row_id: {"key": row_id})}


def of_rejections(found: SourceInventory) -> dict[str, Any]:
    """The rows that can never be written as they are."""
    return {"unmappable_rows": found.rejected, **_table("rejections", found.rejections, _rejection)}


def _figures(result: object) -> dict[str, Any]:
    """The figures by name, those of kinds of things as JSON."""
    return {
        name: dg.MetadataValue.json(dict(value)) if isinstance(value, Mapping) else value
        for name, value in figures.shown(result).items()
    }


def _audit(place: str | None) -> dict[str, Any]:
    return {"audit": dg.MetadataValue.path(place)} if place else {}


def _rejection(found: Rejection | Failure) -> dict[str, str]:
    return {
        "key": found.row_id,
        "field": found.field or "the whole item",
        "code": found.code,
        "reason": found.reason,
    }


def _failure(found: Failure) -> dict[str, str]:
    return {**_rejection(found), "kind": "permanent" if found.permanent else "retry may succeed"}


def _counts(name: str, counts: Mapping[str, int]) -> dg.MetadataValue[Any]:
    return _records({name: key, "rows": value} for key, value in counts.items())


def _table(name: str, entries: Sequence[Any], show: Any) -> dict[str, dg.MetadataValue[Any]]:
    """The first `LISTED` entries; nothing where there are none: Dagster's tables cannot be empty."""
    return {name: _records(show(entry) for entry in entries[:LISTED])} if entries else {}


def _records(rows: Iterable[Mapping[str, Any]]) -> dg.MetadataValue[Any]:
    records = [dg.TableRecord(dict(row)) for row in rows]
    if not records:
        return dg.MetadataValue.text("none")
    return dg.MetadataValue.table(records)
