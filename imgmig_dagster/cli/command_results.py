"""Results of verifications, spot checks and reports, read from the state store's evidence, not from the run.

Those of migrations are in `migrations`, of repairs in `repairs`.
"""

from collections.abc import Sequence
from contextlib import nullcontext, suppress
from dataclasses import replace
from typing import Any

from imgmig_dagster.cli.console import CommandResult
from imgmig_dagster.cli.wording import (
    SHOWN_FAULTS,
    blocker_lines,
    counts_line,
    figure_table,
    finding,
    review_lines,
    verdict_line,
)
from imgmig_dagster.errors import ImgmigError, StateError
from imgmig_dagster.figures import total, values
from imgmig_dagster.reporting.cutover import Cutover
from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.reporting.partition_summary import Verdict, count
from imgmig_dagster.state import names
from imgmig_dagster.state.index import at_a_glance
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.review import SpotCheckReview
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import Mismatch, VerificationCounts, VerificationResult


def of_verification(
    state: StateStore, keys: Sequence[str], errors: Sequence[ImgmigError], took_s: float, whole_table: bool
) -> CommandResult:
    """The verdicts, and with `whole_table` the census and the report's own verdict."""
    state = at_a_glance(state, keys)
    evidence = [found for key in keys if (found := load_record(state, names.evidence(key), VerificationResult))]
    whole = total(VerificationCounts, evidence)
    faults = [found for key in keys for found in load_lines(state, names.mismatches(key), Mismatch)]
    passed = len(evidence) == len(keys) and all(found.passed for found in evidence)
    lines = [f"{found.verdict.value}: {found.label}" for found in faults[:SHOWN_FAULTS]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"... and {len(faults) - SHOWN_FAULTS:,} more; all of them are in the report")
    lines.append(f"Verified {whole.looked_at:,} rows in {took_s:.1f} s: {counts_line(whole.verdicts)}")
    document: dict[str, Any] = {
        **values(whole, "verdicts"),
        "mismatches": [{"key": found.row_id, "field": found.attribute, "verdict": found.verdict} for found in faults],
        "partitions": evidence,
        "took_s": took_s,
    }
    if whole_table and not errors:
        census = load_record(state, names.CENSUS, CensusResult)
        passed = passed and census is not None and census.passed
        if census is not None:
            document["census"] = census
            lines.append(_census_line(census))
    if whole_table:
        report = _report(state, errors)
        if errors and report and report.verdict is Verdict.PASS:
            # That verdict is of older evidence: after a failed verification it must not show PASS.
            report = replace(report, verdict=Verdict.NOT_VERIFIED, cutover=Cutover.NOT_READY)
        passed = passed and _is_pass(report)
        document["verdict"] = report.verdict if report else None
        document["cutover"] = report.cutover if report else None
        lines += _verdict_lines(state, report)
    columns = ("rows_in_window", "match", "mismatch", "missing", "unverified", "rate", "verdict")
    return finding(errors, passed, document, lines, figure_table(VerificationResult, evidence, *columns))


def of_spot_check(state: StateStore, errors: Sequence[ImgmigError]) -> CommandResult:
    """What the sample showed, and where its page is."""
    found = None if errors else load_record(state, names.SPOT_CHECK, SpotCheckResult)
    if found is None:
        return finding(errors, False, {}, [])
    page = state.locate(names.SPOT_CHECK_PAGE)
    bound = "" if found.bound is None else f": at 95 % confidence at most {100 * found.bound:.1f} % of all are wrong"
    lines = [
        *(f"differs: {row_id}" for row_id in found.differing[:SHOWN_FAULTS]),
        *(f"{row_id}: {', '.join(what)}" for row_id, what in list(found.object_faults.items())[:SHOWN_FAULTS]),
        f"{count(found.images, found.noun)} drawn (seed {found.seed}), {found.random:,} of them at random, "
        f"{len(found.differing):,} differ{bound}",
        f"{count(len(found.object_faults), 'record')} with a picture or thumbnail that S3 does not have as declared"
        if found.has_pictures
        else "The mapping declares no pictures: S3 was not asked",
        f"Review the {'pictures' if found.has_pictures else 'records'}, and save your marks: {page}",
    ]
    document = {
        **values(found, "seed", "images", "differing", "object_faults"),
        "drawn_at_random": found.random,
        "wrong_at_most": found.bound,
        "page": page,
    }
    return finding(errors, found.is_clean, document, lines)


def of_review(review: SpotCheckReview, noun: str, options: str) -> CommandResult:
    """The review's result; `noun` names the rows."""
    lines = [
        *(f"not fine: {row_id}" for row_id in review.issues[:SHOWN_FAULTS]),
        f"Recorded: {len(review.images):,} {noun} reviewed, {len(review.issues):,} with an issue. "
        f"Next: imgmig report {options}",
    ]
    document = {"images": len(review.images), "issues": list(review.issues)}
    return CommandResult(1 if review.issues else 0, document, lines)


def of_report(state: StateStore, errors: Sequence[ImgmigError]) -> CommandResult:
    """The report's verdict, and where it is."""
    report = None if errors else _report(state, errors)
    lines = [] if errors else _verdict_lines(state, report)
    return finding(errors, _is_pass(report), vars(report) if report else {}, lines)


def _report(state: StateStore, errors: Sequence[ImgmigError]) -> SummaryReport | None:
    """The last report. If errors kept a command from making another, an unreadable one counts as none."""
    with suppress(StateError) if errors else nullcontext():
        return load_record(state, names.report(names.SUMMARY_JSON), SummaryReport)
    return None


def _is_pass(report: SummaryReport | None) -> bool:
    return report is not None and report.verdict is Verdict.PASS


def _verdict_lines(state: StateStore, report: SummaryReport | None) -> list[str]:
    shown = verdict_line(report.verdict, report.cutover) if report else "Verdict: NO REPORT"
    return [
        *([*report.facts.columns.ignored_lines, *report.facts.schema.lines] if report else []),
        *(blocker_lines(report) if report else []),
        f"{shown}. Report: {state.locate(names.report(names.SUMMARY_HTML))}",
        *(review_lines(report) if report else []),
    ]


def _census_line(census: CensusResult) -> str:
    return (
        f"Census: {count(census.source_rows, 'row')}, {count(census.target_items, 'item')}; "
        f"{census.missing:,} missing, {count(census.orphans, 'orphan item')}, {census.differing:,} differing, "
        f"{count(census.rows_outside, 'row')} outside partitions"
        + (f", {count(census.repeated, 'id')} more than once" if census.repeated else "")
        + f"; the table was {census.target_read}"
        + ("" if census.counts_agree else f". The counts disagree: {census.disagreement}")
    )
