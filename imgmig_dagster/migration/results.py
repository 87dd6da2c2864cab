"""What became of every row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.errors import StateError
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.traffic import TrafficRecord


class Outcome(str, Enum):
    """What a pass did about one row. Every row that is read ends in exactly one."""

    INSERTED = "inserted"
    WRITTEN = "written"
    """By BatchWriteItem, which cannot know whether something stood there."""
    IDENTICAL = "identical"
    COMPLETED = "completed"
    """The item lacked attributes, and was filled in."""
    UPDATED = "updated"
    """The item was older than the row."""
    NEWER_IN_TARGET = "newer_in_target"
    VANISHED = "vanished"
    """The row was deleted meanwhile; an item that nobody wrote since the migration did was deleted too."""
    HELD_BACK = "held_back"
    """The row is gone, and its item stands: too many are to be deleted at once, and somebody has to confirm them."""
    REJECTED = "rejected"
    FAILED = "failed"


MIGRATED = (Outcome.INSERTED, Outcome.WRITTEN, Outcome.COMPLETED, Outcome.UPDATED)
SKIPPED = (Outcome.IDENTICAL, Outcome.NEWER_IN_TARGET, Outcome.VANISHED)
UNDONE = (Outcome.REJECTED, Outcome.FAILED, Outcome.HELD_BACK)


@dataclass(frozen=True)
class MigrationResult:
    """One finished pass over a partition, or one retry of its ledger.

    `outcomes` counts rows by `Outcome` value. `rows_in_window` is the number of ids that one snapshot of the source
    gave after the pass; `late` of them had been on no page and were taken up then, and `left_window` rows that the
    pass saw were no longer among them. `items_deleted` of the vanished rows had an item that went with them, recorded
    in the file `audit`; `items_left` have one that somebody wrote since, which is an orphan by now. Both count rows,
    too, that earlier passes had held back. Duration, retries, throttles, units and traffic are of all runs of the pass.
    """

    partition: str
    run_id: str
    write_mode: str
    outcomes: Mapping[str, int]
    rows_in_window: int
    late: int
    left_window: int
    started_at: str
    finished_at: str
    duration_s: float
    resumes: int
    retries: int
    throttles: int
    write_units: float
    traffic: TrafficRecord = field(default_factory=TrafficRecord)
    items_deleted: int = 0
    items_left: int = 0
    audit: str | None = None

    @property
    def total(self) -> int:
        """The rows that the pass read."""
        return sum(self.outcomes.values())

    @property
    def migrated(self) -> int:
        """The rows that the pass wrote."""
        return self._count(MIGRATED)

    @property
    def skipped(self) -> int:
        """The rows that needed no write, or must not be written."""
        return self._count(SKIPPED)

    @property
    def failed(self) -> int:
        """The rows that are named in the ledger: not in the target, or gone with their items held back."""
        return self._count(UNDONE)

    @property
    def vanished(self) -> int:
        """The rows that were deleted while the pass went on, and are not held back."""
        return self._count((Outcome.VANISHED,))

    @property
    def held_back(self) -> int:
        """The rows that disappeared in such numbers that their items wait for a person's word."""
        return self._count((Outcome.HELD_BACK,))

    @property
    def in_target(self) -> int:
        """The rows that have an item."""
        return self.total - self.failed - self.vanished

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.total / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def success_rate(self) -> float:
        """The share of the rows read that have an item, 0 to 1: neither failed nor vanished."""
        return self.in_target / self.total if self.total else 1.0

    @property
    def every_row_is_accounted_for(self) -> bool:
        """Whether the outcomes sum to the rows of the window, and of those that left it meanwhile."""
        return self.total == self.rows_in_window + self.left_window

    def _count(self, outcomes: tuple[Outcome, ...]) -> int:
        return sum(self.outcomes.get(outcome.value, 0) for outcome in outcomes)


def last_migration(store: StateStore, partition: str) -> MigrationResult | None:
    """What the migration pass that finished last did; `StateError` if its record cannot be read."""
    try:
        record = CheckpointFile(store, partition).last_finished()
        return TypeAdapter(MigrationResult).validate_python(record["result"]) if record else None
    except (ValueError, KeyError, ValidationError):
        raise StateError(
            f"partition {partition}: the record of the last migration pass below "
            f"{store.locate(names.passes(partition))} cannot be read. Move it away and migrate the partition again: "
            f"imgmig migrate --partition {partition}"
        ) from None
