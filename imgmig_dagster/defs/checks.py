"""The asset checks: judge the `claims` by what a run found, and list the keys and fields at fault.

`claims` says what each check claims; `advice` adds to a failed one what to do next.
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import dagster as dg

from imgmig_dagster import figures
from imgmig_dagster.defs import metadata
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.unfit import remedy
from imgmig_dagster.rules.brake import held_back_line
from imgmig_dagster.state.failures import Failure, held_back
from imgmig_dagster.steps.inventory import SourceInventory
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.steps.repair_result import RepairResult, left
from imgmig_dagster.verification.census_results import COUNTS_DISAGREE_ADVICE, CensusResult
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import VerificationResult

_NAMED: Final = 5

if TYPE_CHECKING:
    # Reports import templates and charts, which a partition's run does not need.
    from imgmig_dagster.reporting.model import SummaryReport


def rows_are_mappable(found: SourceInventory) -> dg.AssetCheckResult:
    """Whether `transform` accepts every row."""
    return _result(
        "rows_are_mappable",
        found.rejected == 0,
        f"each of {found.rows:,} rows can be written as an item",
        f"{found.rejected:,} of {found.rows:,} rows can never be written as they are: "
        + remedy((each.code, each.field) for each in found.rejections),
        metadata.of_rejections(found),
    )


def ids_are_unique(found: SourceInventory) -> dg.AssetCheckResult:
    """Whether every id of the partition belongs to one row: two rows would become one item."""
    return _result(
        "ids_are_unique",
        found.repeated == 0,
        f"each of {found.rows:,} rows has its own id",
        f"{_counted(found.repeated, 'id is', 'ids are')} in the table more than once, or NULL",
        {"repeated": found.repeated, **metadata.of_ids("repeated", found.repeated_ids)},
    )


def columns_are_declared(found: NotMigrated) -> dg.AssetCheckResult:
    """Whether each column of the source is mapped, or named as ignored."""
    holds = f"each column is mapped, or ignored with a reason; {len(found.ignored):,} are ignored"
    return _result("columns_are_declared", not found.unmapped, holds, found.fault, metadata.of_columns(found))


def every_row_is_accounted_for(result: MigrationResult | None) -> dg.AssetCheckResult:
    """Whether the outcomes of the last finished pass add up to the rows; false if no pass has finished."""
    if result is None:
        fault = "no migration of this partition has finished"
        return _result("every_row_is_accounted_for", False, "", fault, {"rows": 0})
    return _result(
        "every_row_is_accounted_for",
        result.every_row_is_accounted_for,
        f"the outcomes add up to the {result.rows_in_window:,} rows of the partition",
        f"the outcomes add up to {result.total:,} rows, of which {result.left_window:,} left the partition during the "
        f"migration, and the partition holds {result.rows_in_window:,}",
        figures.shown(result, "total", "rows_in_window", "late", "left_window"),
    )


def no_failed_items(failures: Mapping[str, Failure]) -> dg.AssetCheckResult:
    """Whether the ledger is empty."""
    held = held_back(failures)
    others = len(failures) - len(held)
    faults = [f"{_counted(others, 'row is', 'rows are')} not in the target"]
    faults = [*faults[: bool(others)], *([held_back_line(held, "imgmig retry-failures")] if held else [])]
    return _result(
        "no_failed_items",
        not failures,
        "the failure ledger is empty",
        ". ".join(faults),
        metadata.of_failures([failures[row_id] for row_id in sorted(failures)]),
    )


def of_verification(result: VerificationResult) -> Sequence[dg.AssetCheckResult]:
    """The three claims about a verified partition."""
    return [zero_mismatches(result), coverage_is_complete(result), timestamps_are_exact(result)]


def zero_mismatches(result: VerificationResult) -> dg.AssetCheckResult:
    """Whether no row differs or is missing. That all were looked at is `coverage_is_complete`'s claim."""
    first = "; ".join(found.label for found in result.mismatches[:_NAMED])
    return _result(
        "zero_mismatches",
        result.mismatch + result.missing == 0,
        f"{result.match:,} of {result.looked_at:,} rows match their items",
        f"{result.mismatch:,} of {result.looked_at:,} rows differ and {result.missing:,} are missing, with "
        f"{_counted(result.mismatches_found, 'fault', 'faults')}: {first}",
        metadata.of_mismatches(result),
    )


def coverage_is_complete(result: VerificationResult) -> dg.AssetCheckResult:
    """Whether every row was looked at."""
    return _result(
        "coverage_is_complete",
        result.coverage_is_complete,
        f"each of {result.rows_in_window:,} rows was compared with its item",
        f"{result.looked_at:,} of {result.rows_in_window:,} rows got a verdict, {result.unverified:,} of them "
        "unverified",
        figures.shown(result, "looked_at", "rows_in_window", "unverified"),
    )


def timestamps_are_exact(result: VerificationResult) -> dg.AssetCheckResult:
    """Warns of timestamps within tolerance that are not the cut milliseconds."""
    return _result(
        "timestamps_are_exact",
        result.inexact_timestamps == 0,
        "every timestamp has the row's milliseconds",
        f"{result.inexact_timestamps:,} timestamps are within a second of the row's, but not its milliseconds",
        figures.shown(result, "inexact_timestamps"),
        severity=dg.AssetCheckSeverity.WARN,
    )


def no_missing_items(result: CensusResult) -> dg.AssetCheckResult:
    """Whether every row has its item."""
    return _census("no_missing_items", result, "missing", result.missing, ("row has no item", "rows have no item"))


def no_orphan_items(result: CensusResult) -> dg.AssetCheckResult:
    """Whether every item has its row."""
    return _census("no_orphan_items", result, "orphans", result.orphans, ("item has no row", "items have no row"))


def no_differing_items(result: CensusResult) -> dg.AssetCheckResult:
    """Whether every item says what its row says, and could be read."""
    differing = result.differing + result.unverified
    fault = "item differs from its row, or is unread", "items differ from their rows, or are unread"
    return _census("no_differing_items", result, "differing", differing, fault)


def no_rows_outside_partitions(result: CensusResult) -> dg.AssetCheckResult:
    """Whether the partitions cover every row."""
    return _result(
        "no_rows_outside_partitions",
        result.rows_outside == 0,
        f"each of {result.source_rows:,} rows is in a partition",
        f"{_counted(result.rows_outside, 'row is', 'rows are')} in none of the partitions ({result.partitions_from} to "
        f"{result.partitions_to})",
        {"rows_outside": result.rows_outside, **metadata.of_ids("outside", result.rows_outside_sample)},
    )


def no_repeated_ids(result: CensusResult) -> dg.AssetCheckResult:
    """Whether every id is of one row."""
    fault = "id is in the source more than once, or NULL", "ids are in the source more than once, or NULL"
    return _census("no_repeated_ids", result, "repeated", result.repeated, fault)


def counts_agree(result: CensusResult) -> dg.AssetCheckResult:
    """Whether the rows are as many, read one by one, counted plainly, and summed up over the partitions."""
    return _result(
        "counts_agree",
        result.counts_agree,
        f"there are {result.source_rows:,} rows, whichever way they are counted",
        f"there are {result.disagreement}: {COUNTS_DISAGREE_ADVICE}",
        figures.shown(result, "source_rows", "rows_counted", "rows_in_partitions", "rows_outside"),
    )


def of_census(result: CensusResult) -> Sequence[dg.AssetCheckResult]:
    """The claims about the whole table."""
    return [
        no_missing_items(result),
        no_orphan_items(result),
        no_differing_items(result),
        no_rows_outside_partitions(result),
        no_repeated_ids(result),
        counts_agree(result),
    ]


def spot_check_is_clean(result: SpotCheckResult) -> dg.AssetCheckResult:
    """Whether the sample agrees, and is not empty."""
    return _result(
        "spot_check_is_clean",
        result.is_clean,
        f"each of {len(result.pairs):,} {result.noun}s agrees on both sides",
        f"{len(result.differing):,} of {len(result.pairs):,} {result.noun}s do not agree",
        metadata.of_spot_check(result),
    )


def pictures_are_as_declared(result: SpotCheckResult) -> dg.AssetCheckResult:
    """Warns of objects that S3 does not have as declared. Both databases declare them alike, so the migration lost
    nothing."""
    faults = result.object_faults
    if result.pairs and not result.has_pictures:
        return dg.AssetCheckResult(
            check_name="pictures_are_as_declared", passed=True, description="the mapping declares no pictures"
        )
    return _result(
        "pictures_are_as_declared",
        bool(result.pairs) and not faults,
        f"S3 has the pictures of {len(result.pairs):,} images as declared",
        f"of {len(faults):,} of {len(result.pairs):,} images S3 has the picture or thumbnail not as declared",
        {"object_faults": len(faults), **metadata.of_faults(faults)},
        severity=dg.AssetCheckSeverity.WARN,
    )


def ready_for_cutover(report: "SummaryReport") -> dg.AssetCheckResult:
    """Whether nothing blocks the cutover."""
    blockers = [*report.blockers, *report.cutover_blockers]
    return _result(
        "ready_for_cutover",
        not blockers,
        f"verdict {report.verdict.value}, cutover {report.cutover.value}",
        f"verdict {report.verdict.value}, cutover {report.cutover.value}. Blocked by: "
        + "; ".join(each.sentence for each in blockers[:_NAMED])
        + (f"; and {len(blockers) - _NAMED:,} more" if len(blockers) > _NAMED else ""),
        {**metadata.of_readiness(report), **metadata.of_columns(report.facts.columns)},
    )


def every_fault_is_repaired(result: RepairResult) -> dg.AssetCheckResult:
    """Warns of faults that a repair has left; the check of the verification is an error until they are gone."""
    return _repair("every_fault_is_repaired", result, ("key", "keys"))


def every_orphan_is_deleted(result: RepairResult) -> dg.AssetCheckResult:
    """Warns of items without a row that are left."""
    return _repair("every_orphan_is_deleted", result, ("orphan item", "orphan items"))


def _repair(name: str, result: RepairResult, noun: tuple[str, str]) -> dg.AssetCheckResult:
    found, remaining = left(result), sum(left(result).values())
    dry = "" if result.applied else "Nothing was written: this was a dry run. "
    return _result(
        name,
        not found and not result.unlisted,
        f"{_counted(result.keys, *noun)}, and none is left",
        f"{dry}{remaining:,} of {_counted(result.keys, *noun)} left: "
        + "; ".join(f"{number:,} {what}" for what, number in found.items())
        + (f"; {result.unlisted:,} more were not listed" if result.unlisted else ""),
        {"left": remaining + result.unlisted},
        severity=dg.AssetCheckSeverity.WARN,
    )


def _census(name: str, result: CensusResult, kind: str, count: int, fault: tuple[str, str]) -> dg.AssetCheckResult:
    """`fault` holds the words for one and for several."""
    # Items that could not be read count as differing, but have no field to name.
    unread = result.samples.get("unverified", ()) if kind == "differing" else ()
    ids = [*result.samples.get(kind, ()), *unread]
    faults = {row_id: result.faults.get(row_id, ()) for row_id in ids}
    holds = f"the census of {result.source_rows:,} rows and {result.target_items:,} items found none"
    return _result(
        name, count == 0, holds, _counted(count, *fault), {kind: count, **metadata.of_faults(faults, result.partitions)}
    )


def _counted(number: int, of_one: str, of_several: str) -> str:
    return f"{number:,} {of_one if number == 1 else of_several}"


def _result(
    name: str,
    passed: bool,
    holds: str,
    fault: str,
    facts: Mapping[str, Any],
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        passed=passed,
        severity=severity,
        description=holds if passed else fault,
        metadata=dict(facts),
    )
