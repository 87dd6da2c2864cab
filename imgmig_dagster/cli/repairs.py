"""Results of repairs: for each key what was done, or would be, and what verification says afterwards."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from imgmig_dagster.cli.command_results import of_verification
from imgmig_dagster.cli.console import CommandResult
from imgmig_dagster.cli.wording import finding
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.reporting.partition_summary import command
from imgmig_dagster.rules.brake import Brake, held_back_line
from imgmig_dagster.state import names
from imgmig_dagster.state.index import at_a_glance
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.steps.repair_result import OrphanOutcome, RepairResult, in_words, writes
from imgmig_dagster.verification.census_results import CensusResult, listed_orphans
from imgmig_dagster.verification.verification_result import Mismatch


def to_repair(state: StateStore, keys: Sequence[str]) -> list[str]:
    """The partitions with faults in the last verification, or with an interrupted repair."""
    state = at_a_glance(state, keys)
    return [
        key
        for key in keys
        if load_lines(state, names.mismatches(key), Mismatch) or ((last := last_write(state, key)) and last.is_open)
    ]


def orphans(state: StateStore) -> list[str]:
    """The ids of the items without a row that are known since the last census."""
    census = load_record(state, names.CENSUS, CensusResult)
    return list(listed_orphans(state, census)) if census else []


def census_of(state: StateStore) -> str | None:
    """The run of the last census."""
    census = load_record(state, names.CENSUS, CensusResult)
    return census.run_id if census else None


def held_back(found: RepairResult) -> list[str]:
    """The orphans whose deletion waits for a confirmation."""
    return [row_id for row_id, outcome in found.outcomes.items() if outcome == OrphanOutcome.HELD_BACK.value]


def of_repair(
    state: StateStore,
    keys: Sequence[str],
    errors: Sequence[ImgmigError],
    took_s: float,
    applied: bool,
    orphans_left: Sequence[str],
    orphan_repair: RepairResult | None,
    options: str,
) -> CommandResult:
    """What a repair of the partitions `keys` did, and what their evidence says now; `orphans_left` are still listed."""
    repairs = [found for key in keys if (found := load_record(state, names.repair(key), RepairResult))]
    everything = [*repairs, *([orphan_repair] if orphan_repair else [])]
    handled = orphan_repair.outcomes if orphan_repair else {}
    lines = [line for found in everything for line in _lines(found)]
    lines += _orphan_lines(state, orphan_repair, options) if orphan_repair else []
    lines += [f"orphan: {row_id}; --delete-orphans deletes it" for row_id in orphans_left if row_id not in handled]
    document: dict[str, Any] = {
        "applied": applied,
        "partitions": repairs,
        "orphans": list(orphans_left),
        "orphan_repair": orphan_repair,
        "took_s": took_s,
    }
    if not applied:
        nothing = not (any(found.keys for found in everything) or orphans_left)
        lines.append("Nothing to repair." if nothing else "Nothing was written: --apply writes.")
        return finding(errors, nothing, document, lines)
    verified = of_verification(state, keys, errors, took_s, whole_table=False)
    return replace(
        verified,
        exit_code=max(verified.exit_code, 1 if orphans_left else 0),
        document={**document, "errors": verified.document["errors"], "verification": verified.document},
        lines=[*lines, *verified.lines],
        table=verified.table if keys else None,
    )


def _lines(found: RepairResult) -> list[str]:
    where = found.partition or "orphan"
    lines = [
        f"{where}: {row_id}: {in_words(outcome, found.applied)}"
        for row_id, outcome in found.outcomes.items()
        if outcome != OrphanOutcome.HELD_BACK.value
    ]
    if found.unlisted:
        lines.append(f"{where}: {found.unlisted:,} more were found than are listed: verify, and repair again")
    if found.audit and writes(found):
        lines.append(f"{where}: every change is in {found.audit}")
    return lines


def _orphan_lines(state: StateStore, found: RepairResult, options: str) -> list[str]:
    """What to confirm or apply, with the time of the census, which may be of another day."""
    census = load_record(state, names.CENSUS, CensusResult)
    seen = f"as the census of {census.finished_at} saw them" if census else "of no census"
    apply = f"{command('repair', options)} --apply --delete-orphans"
    if held := held_back(found):
        return [f"orphans, {seen}: {held_back_line(held, apply)}"]
    number = found.counts.get(OrphanOutcome.DELETED.value, 0)
    if found.applied or not number:
        return []
    if not Brake(census.source_rows if census else 0).lets_pass(number):
        apply += f" --confirm-deletes {number}"
    return [f"Would delete {number:,} orphans, {seen}; to apply: {apply}"]
