"""What a repair did about each row or orphan item, also in words: the UI and the terminal say the same.

`repair` and `orphans` do it.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Final

from imgmig_dagster.figures import Figure
from imgmig_dagster.steps.migration_result import MIGRATED, Outcome


class OrphanOutcome(str, Enum):
    """What happened to an item that had no row."""

    DELETED = "deleted"
    HAS_A_ROW = "has_a_row"
    """A row has its id now."""
    CHANGED = "changed"
    """It is not the item that the census saw: somebody still writes it."""
    ANOTHER_ENTITY = "another_entity"
    """No row can have its id, or a constant of the mapping differs: it is left alone."""
    GONE = "gone"
    HELD_BACK = "held_back"
    """Too many deletes at once: somebody has to confirm their number."""
    FAILED = "failed"
    """It could not be read or deleted: try again."""


@dataclass(frozen=True)
class RepairResult:
    """What a repair did, or in a dry run would do; of a partition, or of orphan items if that is None.

    `outcomes` maps each row id to its `Outcome` value, or `OrphanOutcome` value. `unlisted` faults were counted by the
    verification, or orphan items by the census, beyond the end of their list: nothing was done about them. `audit`
    names the file of the changes.
    """

    partition: str | None
    run_id: str
    applied: Annotated[bool, Figure("whether anything was written", "")]
    outcomes: Mapping[str, str]
    unlisted: Annotated[int, Figure("faults beyond the end of their list, left alone", "keys", "beyond_the_list")]
    audit: str | None
    started_at: str
    finished_at: str

    @property
    def keys(self) -> Annotated[int, Figure(unit="keys")]:
        """How many row ids were worked on."""
        return len(self.outcomes)

    @property
    def counts(self) -> Annotated[Mapping[str, int], Figure(unit="keys", name="outcomes")]:
        """How many row ids ended in each outcome."""
        return dict(Counter(self.outcomes.values()))


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
