"""What came of a dry run, a migration and a retry, read from the state store."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Final

from imgmig_dagster.cli.console import Finding
from imgmig_dagster.cli.wording import (
    SHOWN_FAULTS,
    add_row,
    add_total,
    counts_line,
    error_lines,
    exit_code,
    table_of,
)
from imgmig_dagster.errors import ImgmigError, SettingsError
from imgmig_dagster.migration.brake import held_back_line
from imgmig_dagster.migration.plan import MigrationPlan
from imgmig_dagster.migration.results import MigrationResult, last_migration
from imgmig_dagster.reporting.partitions import command
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import HELD_BACK, Failure, FailureLedger, held_back
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore

_DEPARTED: Final = ("vanished", "held_back", "items_deleted", "items_left")


def ledger(state: StateStore, partition: str) -> dict[str, Failure]:
    """The failures of a partition."""
    return FailureLedger(state, partition).entries()


def confirmed_deletes(
    state: StateStore, keys: Sequence[str], number: int | None, stage: str
) -> Mapping[str, int | None]:
    """What `--confirm-deletes` means for each partition: the deletes that its ledger holds back.

    Raises:
        SettingsError: together they are another number.
    """
    if number is None:
        return dict.fromkeys(keys)
    held = {key: len(held_back(ledger(state, key))) for key in keys}
    total = sum(held.values())
    if total != number:
        retry = f"{command('retry-failures', stage)} --confirm-deletes {total}"
        remedy = f"to delete them: {retry}" if total else "leave it out"
        raise SettingsError(
            f"--confirm-deletes is {number:,}, and {total:,} deletes are held back in the ledgers of these partitions. "
            f"Nothing was done; {remedy}"
        )
    return {key: count or None for key, count in held.items()}


def of_plans(state: StateStore, keys: Sequence[str], errors: Sequence[ImgmigError], took_s: float) -> Finding:
    """What a migration would do."""
    plans = [plan for key in keys if (plan := load_record(state, names.plan(key), MigrationPlan))]
    counted = ("rows", "would_write", "identical", "would_judge", "rejected", "unread", "write_units")
    totals = {name: sum(getattr(plan, name) for plan in plans) for name in counted}
    dollars, seconds = sum(plan.dollars for plan in plans), sum(plan.duration_s for plan in plans)
    table = table_of("partition", *(name.replace("_", " ") for name in counted))
    for plan in plans:
        add_row(table, plan.partition, *(getattr(plan, name) for name in counted))
    add_total(table, *totals.values())
    lines = [f"{found.row_id}: {found.reason} ({found.field or 'item'})" for plan in plans for found in plan.rejections]
    rate = plans[0].rate if plans else 0.0
    lines = [
        *lines[:SHOWN_FAULTS],
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
    state: StateStore,
    keys: Sequence[str],
    finished: Sequence[str],
    errors: Sequence[ImgmigError],
    took_s: float,
    stage: str,
) -> Finding:
    """What the passes over the `finished` ones of the partitions `keys` did, and what all of their ledgers hold."""
    passes = [found for key in finished if (found := last_migration(state, key))]
    outcomes: Counter[str] = Counter()
    for found in passes:
        outcomes.update(found.outcomes)
    total, migrated = sum(found.total for found in passes), sum(found.migrated for found in passes)
    skipped, failed = sum(found.skipped for found in passes), sum(found.failed for found in passes)
    busy_s = sum(found.duration_s for found in passes)
    table = table_of("partition", "rows", "migrated", "skipped", "failed", "images/s", "retries", "resumes")
    for found in passes:
        counts = (found.total, found.migrated, found.skipped, found.failed)
        add_row(table, found.partition, *counts, found.rate, found.retries, found.resumes)
    left = {key: ledger(state, key) for key in keys}
    unaccounted = [found.partition for found in passes if not found.every_row_is_accounted_for]
    faults = _failure_lines(left)
    share = sum(found.in_target for found in passes) / total if total else None
    success = "unknown" if share is None else f"{share:.2%}"
    lines = [
        *faults[:SHOWN_FAULTS],
        *_held_back_lines(left, stage),
        *(f"{key}: not every row is accounted for; migrate this partition again" for key in unaccounted),
        f"Total {total:,}, migrated {migrated:,}, skipped {skipped:,}, failed {failed:,} in {took_s:.1f} s "
        f"({total / busy_s if busy_s else 0:,.0f} images/s while writing); success rate {success}{_vanished(passes)}. "
        f"Outcomes: {counts_line(outcomes)}",
        *error_lines(errors),
    ]
    document = {
        "total": total,
        "migrated": migrated,
        "skipped": skipped,
        "failed": failed,
        **_departed(passes),
        "outcomes": dict(outcomes),
        "took_s": took_s,
        "success_rate": share,
        "partitions": [asdict(found) for found in passes],
        "errors": [str(error) for error in errors],
    }
    return Finding(exit_code(errors, clean=not (failed or unaccounted or any(left.values()))), document, lines, table)


def of_ledgers(
    state: StateStore,
    keys: Sequence[str],
    finished: Sequence[str],
    errors: Sequence[ImgmigError],
    took_s: float,
    stage: str,
    show_values: bool,
) -> Finding:
    """What retries of the `finished` ones of the partitions `keys` did, and what the ledgers still hold; with
    `show_values` the values too that are in them."""
    left = {key: ledger(state, key) for key in keys}
    retries = [found for key in finished if (found := load_record(state, names.retry(key), MigrationResult))]
    count = sum(len(entries) for entries in left.values())
    summary = f"{count:,} rows are still in the ledgers of {len(keys):,} partitions{_vanished(retries)}"
    document = {
        # An entry may be of a time when IMGMIG_SHOW_VALUES was on.
        "failures": {
            key: [asdict(each if show_values else replace(each, value=None)) for each in entries.values()]
            for key, entries in left.items()
        },
        "left": count,
        **_departed(retries),
        "took_s": took_s,
        "errors": [str(error) for error in errors],
    }
    lines = [
        *_failure_lines(left)[:SHOWN_FAULTS],
        *_held_back_lines(left, stage),
        summary if keys else "No ledger holds a row.",
        *error_lines(errors),
    ]
    return Finding(exit_code(errors, clean=not count), document, lines)


def _departed(results: Sequence[MigrationResult]) -> dict[str, int]:
    return {name: sum(getattr(found, name) for found in results) for name in _DEPARTED}


def _vanished(results: Sequence[MigrationResult]) -> str:
    counts = _departed(results)
    if not any(counts.values()):
        return ""
    line = (
        f"; {counts['vanished']:,} rows vanished, {counts['items_deleted']:,} items were deleted with them, "
        f"{counts['items_left']:,} left, {counts['held_back']:,} held back"
    )
    audits = sorted({found.audit for found in results if found.audit})
    return f"{line} (each delete is in {', '.join(audits)})" if audits else line


def _failure_lines(left: Mapping[str, Mapping[str, Failure]]) -> list[str]:
    return [
        f"{key}: {failure.row_id}: {failure.field or 'item'}: {failure.reason} ({failure.code})"
        for key, entries in left.items()
        for failure in entries.values()
        if failure.code != HELD_BACK
    ]


def _held_back_lines(left: Mapping[str, Mapping[str, Failure]], stage: str) -> list[str]:
    held = {key: ids for key, entries in left.items() if (ids := held_back(entries))}
    lines = [f"{key}: {held_back_line(ids, command('retry-failures', stage, key))}" for key, ids in held.items()]
    if len(held) > 1:
        everything = f"{command('retry-failures', stage)} --confirm-deletes {sum(map(len, held.values()))}"
        lines.append(f"Those of all {len(held):,} partitions: {everything}")
    return lines
