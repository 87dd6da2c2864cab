"""What came of a command, read from the state store: evidence, not the word of the run."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

import orjson
from rich.table import Table

from imgmig_dagster.cli.console import Finding
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.migration.plan import MigrationPlan
from imgmig_dagster.reporting.partitions import ReportVerdict, last_migration
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.results import Mismatch, SpotCheckResult, VerificationResult
from imgmig_dagster.verification.review import SpotCheckReview
from imgmig_dagster.window import Window

_SHOWN_FAULTS = 20


def ledger(state: StateStore, partition: str) -> dict[str, Failure]:
    """The failures of a partition."""
    return FailureLedger(state, partition).entries()


def of_plans(state: StateStore, keys: Sequence[str], errors: Sequence[ImgmigError], took_s: float) -> Finding:
    """What a migration would do."""
    plans = [plan for key in keys if (plan := load_record(state, names.plan(key), MigrationPlan))]
    counted = ("rows", "would_write", "identical", "would_judge", "rejected", "unread", "write_units")
    totals = {name: sum(getattr(plan, name) for plan in plans) for name in counted}
    dollars, seconds = sum(plan.dollars for plan in plans), sum(plan.duration_s for plan in plans)
    table = _table("partition", *(name.replace("_", " ") for name in counted))
    for plan in plans:
        _row(table, plan.partition, *(getattr(plan, name) for name in counted))
    _total(table, *totals.values())
    lines = [f"{found.row_id}: {found.reason} ({found.field or 'item'})" for plan in plans for found in plan.rejections]
    rate = plans[0].rate if plans else 0.0
    lines = [
        *lines[:_SHOWN_FAULTS],
        f"A migration would write {totals['would_write']:,} of {totals['rows']:,} images: {totals['write_units']:,} "
        f"write units, ${dollars:.4f} on demand, {seconds:,.0f} s at {rate:,.0f} units/s. Nothing was written.",
        *error_lines(errors),
    ]
    document = {
        **totals,
        "dollars": dollars,
        "predicted_duration_s": seconds,
        "partitions": [asdict(plan) for plan in plans],
        "took_s": took_s,
        "errors": [str(error) for error in errors],
    }
    return Finding(exit_code(errors, clean=not (totals["rejected"] or totals["unread"])), document, lines, table)


def of_migration(
    state: StateStore, keys: Sequence[str], finished: Sequence[str], errors: Sequence[ImgmigError], took_s: float
) -> Finding:
    """What the passes over the `finished` ones of the partitions `keys` did, and what all of their ledgers hold."""
    passes = [found for key in finished if (found := last_migration(state, key))]
    outcomes: Counter[str] = Counter()
    for found in passes:
        outcomes.update(found.outcomes)
    total, migrated = sum(found.total for found in passes), sum(found.migrated for found in passes)
    skipped, failed = sum(found.skipped for found in passes), sum(found.failed for found in passes)
    busy_s = sum(found.duration_s for found in passes)
    table = _table("partition", "rows", "migrated", "skipped", "failed", "images/s", "retries", "resumes")
    for found in passes:
        counts = (found.total, found.migrated, found.skipped, found.failed)
        _row(table, found.partition, *counts, found.rate, found.retries, found.resumes)
    unaccounted = [found.partition for found in passes if not found.every_row_is_accounted_for]
    faults = [_failure_line(key, failure) for key in keys for failure in ledger(state, key).values()]
    share = (total - failed) / total if total else None
    success = "unknown" if share is None else f"{share:.2%}"
    lines = [
        *faults[:_SHOWN_FAULTS],
        *(f"{key}: not every row is accounted for; migrate this partition again" for key in unaccounted),
        f"Total {total:,}, migrated {migrated:,}, skipped {skipped:,}, failed {failed:,} in {took_s:.1f} s "
        f"({total / busy_s if busy_s else 0:,.0f} images/s while writing); success rate {success}. "
        f"Outcomes: {_counts(outcomes)}",
        *error_lines(errors),
    ]
    document = {
        "total": total,
        "migrated": migrated,
        "skipped": skipped,
        "failed": failed,
        "outcomes": dict(outcomes),
        "took_s": took_s,
        "success_rate": share,
        "partitions": [asdict(found) for found in passes],
        "errors": [str(error) for error in errors],
    }
    return Finding(exit_code(errors, clean=not (failed or unaccounted or faults)), document, lines, table)


def of_ledgers(
    state: StateStore, keys: Sequence[str], errors: Sequence[ImgmigError], took_s: float, show_values: bool
) -> Finding:
    """What the ledgers still hold after a retry; with `show_values` the values too that are in them."""
    left = {key: ledger(state, key) for key in keys}
    count = sum(len(entries) for entries in left.values())
    lines = [_failure_line(key, failure) for key, entries in left.items() for failure in entries.values()]
    summary = f"{count:,} rows are still in the ledgers of {len(keys):,} partitions"
    document = {
        # An entry may be of a time when IMGMIG_SHOW_VALUES was on.
        "failures": {
            key: [asdict(each if show_values else replace(each, value=None)) for each in entries.values()]
            for key, entries in left.items()
        },
        "left": count,
        "took_s": took_s,
        "errors": [str(error) for error in errors],
    }
    lines = [*lines[:_SHOWN_FAULTS], summary if keys else "No ledger holds a row.", *error_lines(errors)]
    return Finding(exit_code(errors, clean=not count), document, lines)


def of_verification(
    state: StateStore, keys: Sequence[str], errors: Sequence[ImgmigError], took_s: float, whole_table: bool
) -> Finding:
    """The verdicts, and with `whole_table` the census and the report's own verdict."""
    evidence = [found for key in keys if (found := load_record(state, names.evidence(key), VerificationResult))]
    verdicts: Counter[str] = Counter()
    table = _table("partition", "rows", "match", "mismatch", "missing", "unverified", "images/s", "verdict")
    for found in evidence:
        verdicts.update(found.verdicts)
        verdict = "[green]PASS[/]" if found.passed else "[red]FAIL[/]"
        _row(table, found.partition, found.rows_in_window, *found.verdicts.values(), found.rate, verdict)
    faults = [found for key in keys for found in load_lines(state, names.mismatches(key), Mismatch)]
    passed = len(evidence) == len(keys) and all(found.passed for found in evidence)
    lines = [f"{found.verdict.value}: {found.label}" for found in faults[:_SHOWN_FAULTS]]
    if len(faults) > _SHOWN_FAULTS:
        lines.append(f"... and {len(faults) - _SHOWN_FAULTS:,} more; all of them are in the report")
    lines.append(f"Verified {sum(verdicts.values()):,} images in {took_s:.1f} s: {_counts(verdicts)}")
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
        *(f"differs: {row_id}" for row_id in found.differing[:_SHOWN_FAULTS]),
        *(f"{row_id}: {', '.join(what)}" for row_id, what in list(found.object_faults.items())[:_SHOWN_FAULTS]),
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
        *(f"not fine: {row_id}" for row_id in review.issues[:_SHOWN_FAULTS]),
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
    table = _table("partition", "rows now", "migrated", "failed", "interrupted", "verified at", "verdict")
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
            "migrated": found.total - found.failed if found else None,
            "failed": len(ledger(state, key)),
            "interrupted": interrupted,
            "verified_at": evidence.finished_at if evidence else None,
            "verdict": None if evidence is None else "PASS" if evidence.passed else "FAIL",
        }
        entries.append(entry)
        _row(table, key, *list(entry.values())[1:])
    idle = "No partition holds a row: see IMGMIG_PARTITION_START, or seed the sandbox with imgmig sandbox seed"
    return Finding(0, {"partitions": entries}, [] if entries else [idle], table)


def _summary(state: StateStore) -> dict[str, Any]:
    found = state.read(f"{names.REPORTS}/summary.json")
    report: dict[str, Any] = orjson.loads(found.content) if found else {}
    return report


def _is_pass(report: Mapping[str, Any]) -> bool:
    return report.get("verdict") == ReportVerdict.PASS.value


def _verdict_lines(state: StateStore, report: Mapping[str, Any]) -> list[str]:
    def lines(kind: str, name: str) -> list[str]:
        return [f"{kind}: {each['what']} ({', '.join(each['commands'])})" for each in report.get(name, [])]

    verdict = str(report.get("verdict", "no report")).upper()
    return [
        *lines("lacking", "lacking")[:_SHOWN_FAULTS],
        f"Verdict: {verdict}. Report: {state.locate(names.REPORTS)}/summary.html",
        *lines("before cutover", "lacking_review"),
    ]


def _census_line(census: CensusResult) -> str:
    return (
        f"Census: {census.source_rows:,} rows, {census.target_items:,} items; {census.missing:,} missing, "
        f"{census.orphans:,} orphans, {census.differing:,} differing, {census.rows_outside:,} rows outside partitions"
        + (f", {census.repeated:,} ids more than once" if census.repeated else "")
        + ("" if census.counts_agree else f". The counts disagree: {census.disagreement}")
    )


def _failure_line(partition: str, failure: Failure) -> str:
    return f"{partition}: {failure.row_id}: {failure.field or 'item'}: {failure.reason} ({failure.code})"


def error_lines(errors: Sequence[ImgmigError]) -> list[str]:
    """What ended runs early."""
    return [f"error: {error}" for error in errors]


def exit_code(errors: Sequence[ImgmigError], clean: bool) -> int:
    """What the command ends with."""
    # A service that is away outranks a refusal, which outranks a finding.
    return max((error.exit_code for error in errors), default=0 if clean else 1)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"


def _table(first: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table


def _row(table: Table, *cells: object) -> None:
    table.add_row(*(_cell(cell) for cell in cells))


def _cell(value: object) -> str:
    if value is None:
        return ""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:,.0f}" if is_number else str(value)


def _total(table: Table, *cells: object) -> None:
    table.add_section()
    _row(table, "total", *cells)
