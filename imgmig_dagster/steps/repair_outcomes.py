"""What a repair did about a row, in words: the UI and the terminal say the same. `repair` does it."""

from collections.abc import Mapping
from typing import Final

from imgmig_dagster.steps.migration_result import MIGRATED, Outcome
from imgmig_dagster.steps.repair import OrphanOutcome, RepairResult

_WRITTEN: Final = frozenset({*(outcome.value for outcome in MIGRATED), OrphanOutcome.DELETED.value})
_NOTHING_TO_DO: Final = frozenset({Outcome.IDENTICAL.value, OrphanOutcome.GONE.value, OrphanOutcome.HAS_A_ROW.value})
_NOT_WRITTEN: Final = {
    Outcome.NEWER_IN_TARGET.value: "newer in the target, left alone; --source-wins (in run config: source_wins) "
    "overwrites it",
    Outcome.VANISHED.value: "its row is gone; if its item is still there, the next census names it as an orphan item",
    Outcome.REJECTED.value: "can never be written as it is; see the failure ledger",
    Outcome.FAILED.value: "failed; repair again",
    Outcome.IDENTICAL.value: "agrees by now",
    OrphanOutcome.ANOTHER_ENTITY.value: "another entity's, by its key or a constant; left alone: give ours other keys",
}


def in_words(outcome: str, applied: bool) -> str:
    """What was done about a row, or in a dry run would be."""
    if outcome in _WRITTEN:
        return outcome if applied else f"would be {outcome}"
    return _NOT_WRITTEN.get(outcome, outcome.replace("_", " "))


def writes(found: RepairResult) -> bool:
    """Whether a repair wrote anything, or as a dry run would write."""
    return bool(_WRITTEN & set(found.outcomes.values()))


def counts_in_words(found: RepairResult) -> Mapping[str, int]:
    """How many row ids ended in each outcome."""
    return {in_words(outcome, found.applied): number for outcome, number in found.counts.items()}


def left(found: RepairResult) -> Mapping[str, int]:
    """How many rows are still at fault, by reason; in a dry run also all that it would write."""
    done = _NOTHING_TO_DO | _WRITTEN if found.applied else _NOTHING_TO_DO
    return {in_words(each, found.applied): number for each, number in found.counts.items() if each not in done}
