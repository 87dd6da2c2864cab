"""Results of dry runs, migrations and retries, read from the state store."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from imgmig_dagster.cli.console import CommandResult
from imgmig_dagster.cli.wording import SHOWN_FAULTS, counts_line, figure_table, finding
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.figures import total, values
from imgmig_dagster.reporting.partition_summary import command, count
from imgmig_dagster.rules.brake import held_back_line
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import HELD_BACK, Failure, FailureLedger, held_back
from imgmig_dagster.state.index import at_a_glance
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.dry_run import MigrationPlan, PlanCounts
from imgmig_dagster.steps.migration_result import MigrationCounts, MigrationResult, last_migration

_PLANNED: Final = ("rows", "would_write", "identical", "would_judge", "rejected", "unread", "write_units")
_DEPARTED: Final = ("vanished", "held_back", "items_deleted", "items_left")


def ledgers(state: StateStore, partitions: Sequence[str]) -> dict[str, dict[str, Failure]]:
    """The failures of a partition."""
    state = at_a_glance(state, partitions)
    return {each: FailureLedger(state, each).entries() for each in partitions}


def of_plans(state: StateStore, keys: Sequence[str], errors: Sequence[ImgmigError], took_s: float) -> CommandResult:
    """What a migration would do."""
    plans = [plan for key in keys if (plan := load_record(state, names.plan(key), MigrationPlan))]
    whole = total(PlanCounts, plans)
    lines = [f"{found.row_id}: {found.reason} ({found.field or 'item'})" for plan in plans for found in plan.rejections]
    lines = [
        *_first(lines, whole.rejected, "imgmig mapping check --all lists all of them by reason"),
        f"A migration would write {whole.would_write:,} of {whole.rows:,} rows: {whole.write_units:,} write units, "
        f"${whole.dollars:.4f} on demand, {whole.duration_s:,.0f} s at {whole.rate:,.0f} units/s. Nothing was written.",
    ]
    document = {
        **values(whole, *_PLANNED, "dollars"),
        "predicted_duration_s": whole.duration_s,
        "partitions": plans,
        "took_s": took_s,
    }
    table = figure_table(PlanCounts, plans, *_PLANNED, total=whole)
    return finding(errors, not (whole.rejected or whole.unread), document, lines, table)


def of_migration(
    state: StateStore,
    keys: Sequence[str],
    finished: Sequence[str],
    errors: Sequence[ImgmigError],
    took_s: float,
    options: str,
) -> CommandResult:
    """What the passes over those `keys` that `finished` did, and what the ledgers of all `keys` hold."""
    state = at_a_glance(state, keys)
    passes = [found for key in finished if (found := last_migration(state, key))]
    whole, left = total(MigrationCounts, passes), ledgers(state, keys)
    unaccounted = [found.partition for found in passes if not found.every_row_is_accounted_for]
    share = whole.success_rate if whole.total and not errors else None
    rate = "unknown" if share is None else f"{share:.2%}"
    lines = [
        *_first(failures := _failure_lines(left), len(failures), "all of them are in migration-failures.json"),
        *_held_back_lines(left, options),
        *(f"{key}: not every row is accounted for; migrate this partition again" for key in unaccounted),
        f"Total {whole.total:,}, migrated {whole.migrated:,}, skipped {whole.skipped:,}, failed {whole.failed:,} in "
        f"{took_s:.1f} s ({whole.rate:,.0f} rows/s while writing); success rate {rate}"
        f"{_vanished(whole, passes)}. Outcomes: {counts_line(whole.outcomes)}",
    ]
    document = {
        **values(whole, "total", "migrated", "skipped", "failed", *_DEPARTED, "outcomes"),
        "took_s": took_s,
        "success_rate": share,
        "partitions": passes,
    }
    columns = ("total", "migrated", "skipped", "failed", "rate", "retries", "resumes")
    table = figure_table(MigrationCounts, passes, *columns, total=whole)
    return finding(errors, not (whole.failed or unaccounted or any(left.values())), document, lines, table)


def of_ledgers(
    state: StateStore,
    keys: Sequence[str],
    finished: Sequence[str],
    errors: Sequence[ImgmigError],
    took_s: float,
    options: str,
    show_values: bool,
) -> CommandResult:
    """What retries of the `finished` ones of the partitions `keys` did, and what the ledgers still hold; with
    `show_values` the values too that are in them."""
    left = ledgers(state, keys)
    retries = [found for key in finished if (found := load_record(state, names.retry(key), MigrationResult))]
    whole, still = total(MigrationCounts, retries), sum(len(entries) for entries in left.values())
    summary = f"{count(still, 'row')} {'is' if still == 1 else 'are'} still in the ledgers of "
    summary += f"{count(len(keys), 'partition')}{_vanished(whole, retries)}"
    document = {
        # An entry may be of a time when keep_values in [reports] was on.
        "failures": {
            key: [each if show_values else replace(each, value=None) for each in entries.values()]
            for key, entries in left.items()
        },
        "left": still,
        **values(whole, *_DEPARTED),
        "took_s": took_s,
    }
    lines = [
        *_first(failures := _failure_lines(left), len(failures), "all of them are in migration-failures.json"),
        *_held_back_lines(left, options),
        summary if keys else "No ledger holds a row.",
    ]
    return finding(errors, not still, document, lines)


def _vanished(whole: MigrationCounts, results: Sequence[MigrationResult]) -> str:
    if not any(values(whole, *_DEPARTED).values()):
        return ""
    line = (
        f"; {whole.vanished:,} rows vanished, {whole.items_deleted:,} items were deleted with them, "
        f"{whole.items_left:,} left, {whole.held_back:,} held back"
    )
    audits = sorted({found.audit for found in results if found.audit})
    return f"{line} (each delete is in {', '.join(audits)})" if audits else line


def _first(lines: Sequence[str], count: int, where: str) -> list[str]:
    """The first lines, and how many of the `count` are not among them."""
    shown = list(lines[:SHOWN_FAULTS])
    return [*shown, f"... and {count - len(shown):,} more; {where}"] if count > len(shown) else shown


def _failure_lines(left: Mapping[str, Mapping[str, Failure]]) -> list[str]:
    return [
        f"{key}: {failure.row_id}: {failure.field or 'item'}: {failure.reason} ({failure.code})"
        for key, entries in left.items()
        for failure in entries.values()
        if failure.code != HELD_BACK
    ]


def _held_back_lines(left: Mapping[str, Mapping[str, Failure]], options: str) -> list[str]:
    held = {key: ids for key, entries in left.items() if (ids := held_back(entries))}
    lines = [f"{key}: {held_back_line(ids, command('retry-failures', options, key))}" for key, ids in held.items()]
    if len(held) > 1:
        everything = f"{command('retry-failures', options)} --confirm-deletes {sum(map(len, held.values()))}"
        lines.append(f"Those of all {len(held):,} partitions: {everything}")
    return lines
