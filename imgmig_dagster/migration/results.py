"""What became of every row."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum

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
    """The row was deleted meanwhile, and an item that the migration made of it too."""
    REJECTED = "rejected"
    FAILED = "failed"


MIGRATED = (Outcome.INSERTED, Outcome.WRITTEN, Outcome.COMPLETED, Outcome.UPDATED)
SKIPPED = (Outcome.IDENTICAL, Outcome.NEWER_IN_TARGET, Outcome.VANISHED)
UNDONE = (Outcome.REJECTED, Outcome.FAILED)


@dataclass(frozen=True)
class MigrationResult:
    """One finished pass over a partition, or one retry of its ledger.

    `outcomes` counts rows by `Outcome` value. `rows_in_window` is the number of ids that one snapshot of the source
    gave after the pass; `late` of them had been on no page and were taken up then, and `left_window` rows that the
    pass saw were no longer among them. Duration, retries, throttles, units and traffic are of all runs of the pass.
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
        """The rows that are not in the target and are named in the ledger."""
        return self._count(UNDONE)

    @property
    def rate(self) -> float:
        """Rows a second."""
        return self.total / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def success_rate(self) -> float:
        """The share of rows that did not fail, 0 to 1."""
        return (self.total - self.failed) / self.total if self.total else 1.0

    @property
    def every_row_is_accounted_for(self) -> bool:
        """Whether the outcomes sum to the rows of the window, and of those that left it meanwhile."""
        return self.total == self.rows_in_window + self.left_window

    def _count(self, outcomes: tuple[Outcome, ...]) -> int:
        return sum(self.outcomes.get(outcome.value, 0) for outcome in outcomes)
