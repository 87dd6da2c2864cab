"""Judges the last census when a report is made: whether it still counts, and what in it blocks PASS.

`model` counts the rows that are outside of the partitions now; `partition_summary` judges a partition's evidence.
"""

from collections.abc import Iterable, Sequence

from imgmig_dagster.reporting.partition_summary import Blocker, PartitionSummary, Verdict, command
from imgmig_dagster.rules.invalidation import COUNTS_FOR, LastWrite, is_too_old
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.verification.census_results import COUNTS_DISAGREE_ADVICE, ORPHANS, CensusResult, LeftSince
from imgmig_dagster.verification.evidence import CurrentState, changed_identity


def judge_census(
    store: StateStore,
    census: CensusResult | None,
    left: LeftSince | None,
    partitions: Sequence[PartitionSummary],
    current: CurrentState,
    options: str,
) -> tuple[Verdict, list[Blocker]]:
    """Whether a census exists, still counts and is clean, and no item has lost its row since.

    Args:
        store: the stage's state, which knows what has written since.
        census: the last one.
        left: what became of the rows that have left since; None skips that.
        partitions: all of them as they are now, oldest first.
        current: what the census is compared with.
        options: of the commands to type next, as `remedies.options` makes them.
    """
    verify = (command("verify", options),)
    if census is None:
        return Verdict.NOT_VERIFIED, [Blocker("There is no census of the whole table", verify)]
    if invalidation := _why_invalid(store, census, partitions, current):
        return Verdict.NOT_VERIFIED, [Blocker(f"The census no longer counts: {invalidation}", verify)]
    verdict, blockers = (Verdict.PASS, []) if census.passed else _faults(census, options)
    if left is None:
        return verdict, blockers
    if left.census != census.run_id:
        what = "Another census was taken while the report was made"
        return Verdict.NOT_VERIFIED, [Blocker(what, (command("report", options),))]
    if left.orphans:
        # Deleting orphans is for a person to decide: this lists them.
        verdict, commands = Verdict.FAIL, (command("repair", options), *verify)
        blockers.append(Blocker(f"{_rows_left(left)}: {_named(left, 'orphans')} still exist", commands))
    if left.unverified:
        if verdict is Verdict.PASS:
            verdict = Verdict.NOT_VERIFIED
        what = f"{_rows_left(left)}: {_named(left, 'unverified')} could not be read, or moved at every look"
        blockers.append(Blocker(what, (command("report", options),)))
    return verdict, blockers


def _why_invalid(
    store: StateStore, census: CensusResult, partitions: Sequence[PartitionSummary], current: CurrentState
) -> str | None:
    if late_writes := _late_writes(store, partitions, census):
        more = f" and {len(late_writes) - 1:,} more" if len(late_writes) > 1 else ""
        return f"{late_writes[0]}{more} may have been written to since it began"
    if is_too_old(census.started_at, current.moment):
        return f"it is more than {COUNTS_FOR.days} days old"
    # A later end is normal: time goes on. Another start means that other rows are outside of the partitions.
    if census.partitions_from != (begin := partitions[0].start.isoformat()):
        return f"the first partition began at {census.partitions_from} then, and begins at {begin} now"
    return changed_identity(census.identity, current.identity)


def _late_writes(store: StateStore, partitions: Iterable[PartitionSummary], census: CensusResult) -> Sequence[str]:
    """What was or may have been written to since the census began."""
    writes = [
        *((each.partition, f"partition {each.partition}", each.written) for each in partitions),
        (ORPHANS, ORPHANS, last_write(store, None)),
    ]
    return [name for key, name, written in writes if _was_written(written, census.writes.get(key, 0))]


def _was_written(last: LastWrite | None, seen: int | None) -> bool:
    return seen is None or (last is not None and last.is_open) or seen != (last.number if last else 0)


def _faults(census: CensusResult, options: str) -> tuple[Verdict, list[Blocker]]:
    found = (
        (census.missing, "missing from the target"),
        (census.orphans, "in the target without a row"),
        (census.differing, "differing"),
        (census.unverified, "unverified"),
        (census.rows_outside, "outside of every partition"),
        (census.repeated, "ids that are in the source more than once"),
    )
    faults = ", ".join(f"{number:,} {text}" for number, text in found if number)
    if not census.counts_agree:
        faults += f"{'; ' if faults else ''}counts that disagree: {census.disagreement} ({COUNTS_DISAGREE_ADVICE})"
    verify = (command("verify", options),)
    # Deleting orphans is for a person to decide: this lists them.
    commands = (command("repair", options), *verify) if census.orphans else verify
    return Verdict.FAIL, [Blocker(f"The census found {faults}. Once that is fixed", commands)]


def _rows_left(left: LeftSince) -> str:
    return f"Of the {left.rows:,} rows that have left the source since the census"


def _named(left: LeftSince, kind: str) -> str:
    """The number of items, and some of their ids."""
    number, ids = getattr(left, kind), left.samples[kind]
    shown = ", ".join(ids[:3])
    return f"the items of {number:,} ({shown}{' and more' if number > len(ids[:3]) else ''})"
