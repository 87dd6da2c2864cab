"""What came of verifications, samples and reports, read from the state store: evidence, not the word of the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import orjson

from imgmig_dagster.cli.console import Finding
from imgmig_dagster.cli.wording import SHOWN_FAULTS, add_row, counts_line, error_lines, exit_code, table_of
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.migration.results import last_migration
from imgmig_dagster.reporting.partitions import ReportVerdict
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.results import Mismatch, VerificationResult
from imgmig_dagster.verification.review import SpotCheckReview
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.window import Window


def of_verification(
    state: StateStore, keys: Sequence[str], errors: Sequence[ImgmigError], took_s: float, whole_table: bool
) -> Finding:
    """The verdicts, and with `whole_table` the census and the report's own verdict."""
    evidence = [found for key in keys if (found := load_record(state, names.evidence(key), VerificationResult))]
    verdicts: Counter[str] = Counter()
    table = table_of("partition", "rows", "match", "mismatch", "missing", "unverified", "images/s", "verdict")
    for found in evidence:
        verdicts.update(found.verdicts)
        verdict = "[green]PASS[/]" if found.passed else "[red]FAIL[/]"
        add_row(table, found.partition, found.rows_in_window, *found.verdicts.values(), found.rate, verdict)
    faults = [found for key in keys for found in load_lines(state, names.mismatches(key), Mismatch)]
    passed = len(evidence) == len(keys) and all(found.passed for found in evidence)
    lines = [f"{found.verdict.value}: {found.label}" for found in faults[:SHOWN_FAULTS]]
    if len(faults) > SHOWN_FAULTS:
        lines.append(f"... and {len(faults) - SHOWN_FAULTS:,} more; all of them are in the report")
    lines.append(f"Verified {sum(verdicts.values()):,} images in {took_s:.1f} s: {counts_line(verdicts)}")
    document: dict[str, Any] = {
        "verdicts": dict(verdicts),
        "mismatches": [{"key": found.row_id, "field": found.attribute, "verdict": found.verdict} for found in faults],
        "partitions": [asdict(found) for found in evidence],
        "took_s": took_s,
        "errors": [str(error) for error in errors],
    }
    if whole_table and not errors:
        census = load_record(state, names.CENSUS, CensusResult)
        passed = passed and census is not None and census.passed
        if census is not None:
            document["census"] = asdict(census)
            lines.append(_census_line(census))
    report = _summary(state)
    if whole_table:
        passed = passed and _is_pass(report)
        document["verdict"] = report.get("verdict")
        lines += _verdict_lines(state, report)
    return Finding(exit_code(errors, clean=passed), document, [*lines, *error_lines(errors)], table)


def of_spot_check(state: StateStore, errors: Sequence[ImgmigError]) -> Finding:
    """What the sample showed, and where its page is."""
    found = None if errors else load_record(state, names.SPOT_CHECK, SpotCheckResult)
    if found is None:
        return Finding(
            exit_code(errors, clean=False), {"errors": [str(error) for error in errors]}, error_lines(errors)
        )
    page = state.locate(names.SPOT_CHECK_PAGE)
    bound = "" if found.bound is None else f": at 95 % confidence at most {100 * found.bound:.1f} % of all are wrong"
    lines = [
        *(f"differs: {row_id}" for row_id in found.differing[:SHOWN_FAULTS]),
        *(f"{row_id}: {', '.join(what)}" for row_id, what in list(found.object_faults.items())[:SHOWN_FAULTS]),
        f"{len(found.pairs):,} images drawn (seed {found.seed}), {found.random:,} of them at random, "
        f"{len(found.differing):,} differ{bound}",
        f"{len(found.object_faults):,} have a picture or thumbnail that S3 does not have as declared",
        f"Review the pictures, and save your marks: {page}",
    ]
    document = {
        "seed": found.seed,
        "images": len(found.pairs),
        "drawn_at_random": found.random,
        "wrong_at_most": found.bound,
        "differing": list(found.differing),
        "object_faults": dict(found.object_faults),
        "page": page,
    }
    return Finding(exit_code(errors, clean=bool(found.pairs) and not found.differing), document, lines)


def of_review(review: SpotCheckReview, stage: str) -> Finding:
    """What the reviewer said."""
    lines = [
        *(f"not fine: {row_id}" for row_id in review.issues[:SHOWN_FAULTS]),
        f"Recorded: {len(review.images):,} images reviewed, {len(review.issues):,} with an issue. "
        f"Next: imgmig report --stage {stage}",
    ]
    document = {"images": len(review.images), "issues": list(review.issues)}
    return Finding(exit_code([], clean=not review.issues), document, lines)


def of_report(state: StateStore, errors: Sequence[ImgmigError]) -> Finding:
    """The report's verdict, and where it is."""
    report = {} if errors else _summary(state)
    lines = [*([] if errors else _verdict_lines(state, report)), *error_lines(errors)]
    document = {**report, "errors": [str(error) for error in errors]}
    return Finding(exit_code(errors, clean=_is_pass(report)), document, lines)


def of_status(state: StateStore, windows: Sequence[Window], rows_now: Mapping[str, int]) -> Finding:
    """What is known of each partition that holds rows, or of which anything is known."""
    columns = ("rows now", "in target", "migrated", "failed", "interrupted", "verified at", "verdict")
    table = table_of("partition", *columns)
    entries = []
    for window in windows:
        key = window.partition
        found, evidence = last_migration(state, key), load_record(state, names.evidence(key), VerificationResult)
        interrupted = CheckpointFile(state, key).is_open()
        if not (rows_now.get(key) or found or evidence or interrupted):
            continue
        entry = {
            "partition": key,
            "rows_now": rows_now.get(key, 0),
            "in_target": found.in_target if found else None,
            "migrated": found.migrated if found else None,
            "failed": len(FailureLedger(state, key).entries()),
            "interrupted": interrupted,
            "verified_at": evidence.finished_at if evidence else None,
            "verdict": None if evidence is None else "PASS" if evidence.passed else "FAIL",
        }
        entries.append(entry)
        add_row(table, key, *list(entry.values())[1:])
    idle = "No partition holds a row: see IMGMIG_PARTITION_START, or seed the sandbox with imgmig sandbox seed"
    return Finding(0, {"partitions": entries}, [] if entries else [idle], table)


def _summary(state: StateStore) -> dict[str, Any]:
    found = state.read(names.report(names.SUMMARY_JSON))
    report: dict[str, Any] = orjson.loads(found.content) if found else {}
    return report


def _is_pass(report: Mapping[str, Any]) -> bool:
    return report.get("verdict") == ReportVerdict.PASS.value


def _verdict_lines(state: StateStore, report: Mapping[str, Any]) -> list[str]:
    def lines(kind: str, name: str) -> list[str]:
        return [f"{kind}: {each['what']} ({', '.join(each['commands'])})" for each in report.get(name, [])]

    verdict = str(report.get("verdict", "no report")).upper()
    return [
        *lines("lacking", "lacking")[:SHOWN_FAULTS],
        f"Verdict: {verdict}. Report: {state.locate(names.report(names.SUMMARY_HTML))}",
        *lines("before cutover", "lacking_review"),
    ]


def _census_line(census: CensusResult) -> str:
    return (
        f"Census: {census.source_rows:,} rows, {census.target_items:,} items; {census.missing:,} missing, "
        f"{census.orphans:,} orphans, {census.differing:,} differing, {census.rows_outside:,} rows outside partitions"
        + (f", {census.repeated:,} ids more than once" if census.repeated else "")
        + ("" if census.counts_agree else f". The counts disagree: {census.disagreement}")
    )
