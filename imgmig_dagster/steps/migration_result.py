"""The outcome of every row of a pass, and its counts. `outcomes` collects them while a pass runs."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Final

from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.errors import StateError
from imgmig_dagster.figures import ITEMS, REQUESTS, SECONDS, SHARE, Figure
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.traffic import TrafficRecord


class Outcome(str, Enum):
    """What a pass did about one row. Every row that is read ends in exactly one."""

    INSERTED = "inserted"
    WRITTEN = "written"
    """By BatchWriteItem, after a look found no item."""
    IDENTICAL = "identical"
    COMPLETED = "completed"
    """The item had missing attributes, and they were filled in."""
    UPDATED = "updated"
    """The item was older than the row."""
    NEWER_IN_TARGET = "newer_in_target"
    VANISHED = "vanished"
    """The row was deleted during the pass; its item too, unless somebody wrote it since the migration did."""
    HELD_BACK = "held_back"
    """The row is gone and its item exists: too many deletes at once, so a person has to confirm them."""
    REJECTED = "rejected"
    FAILED = "failed"


MIGRATED = (Outcome.INSERTED, Outcome.WRITTEN, Outcome.COMPLETED, Outcome.UPDATED)
SKIPPED = (Outcome.IDENTICAL, Outcome.NEWER_IN_TARGET, Outcome.VANISHED)
NOT_WRITTEN = (Outcome.REJECTED, Outcome.FAILED, Outcome.HELD_BACK)


@dataclass(frozen=True, kw_only=True)
class MigrationCounts:
    """What a pass over a partition did, or one retry of its ledger. If it was interrupted, all its runs count."""

    outcomes: Annotated[Mapping[str, int], Figure("rows by outcome")]
    rows_in_window: Annotated[int, Figure("ids that one snapshot of the source gave after the pass")]
    late: Annotated[int, Figure("rows on no page of the pass, taken up after it")]
    left_window: Annotated[int, Figure("rows that the pass saw, and that were no longer in the snapshot")]
    duration_s: Annotated[float, Figure("time spent in the pass", SECONDS, label="duration")]
    resumes: Annotated[int, Figure("times that the pass was resumed", "times")]
    retries: Annotated[int, Figure("requests that were tried again", REQUESTS)]
    throttles: Annotated[int, Figure("requests that DynamoDB throttled", REQUESTS)]
    write_units: Annotated[float, Figure("capacity that the writes used up", "write units")]
    traffic: Annotated[TrafficRecord, Figure("latency and throttling of the requests", REQUESTS)] = field(
        default_factory=TrafficRecord
    )
    read_units: Annotated[float, Figure("capacity that the reads used up", "read units")] = 0.0
    items_deleted: Annotated[int, Figure("items deleted with their rows, of those held back before too", ITEMS)] = 0
    items_left: Annotated[int, Figure("items of vanished rows that somebody wrote since: orphan items now", ITEMS)] = 0

    @property
    def total(self) -> Annotated[int, Figure(name="rows", label="rows")]:
        """The rows that the pass read."""
        return sum(self.outcomes.values())

    @property
    def migrated(self) -> Annotated[int, Figure()]:
        """The rows that the pass wrote."""
        return self._count(MIGRATED)

    @property
    def skipped(self) -> Annotated[int, Figure()]:
        """The rows that needed no write, or must not be written."""
        return self._count(SKIPPED)

    @property
    def failed(self) -> Annotated[int, Figure()]:
        """The rows that are named in the ledger: not in the target, or gone with their items held back."""
        return self._count(NOT_WRITTEN)

    @property
    def vanished(self) -> Annotated[int, Figure()]:
        """The rows that were deleted during the pass, and are not held back."""
        return self._count((Outcome.VANISHED,))

    @property
    def held_back(
        self,
    ) -> Annotated[int, Figure()]:
        """Rows that disappeared in such numbers that their items wait for a person's confirmation."""
        return self._count((Outcome.HELD_BACK,))

    @property
    def in_target(self) -> Annotated[int, Figure()]:
        """The rows that have an item."""
        return self.total - self.failed - self.vanished

    @property
    def rate(self) -> Annotated[float, Figure(unit="rows/s", name="rate_rows_per_s", label="rows/s", digits=1)]:
        """Rows a second."""
        return self.total / self.duration_s if self.duration_s > 0 else 0.0

    @property
    def success_rate(
        self,
    ) -> Annotated[float, Figure(unit=SHARE, name="success_percent", digits=4)]:
        """The share of the rows read that have an item, 0 to 1: neither failed nor vanished."""
        return self.in_target / self.total if self.total else 1.0

    @property
    def every_row_is_accounted_for(self) -> bool:
        """Whether the outcomes sum to the rows of the window, and of those that left it during the pass."""
        return self.total == self.rows_in_window + self.left_window

    def _count(self, outcomes: tuple[Outcome, ...]) -> int:
        return sum(self.outcomes.get(outcome.value, 0) for outcome in outcomes)


@dataclass(frozen=True, kw_only=True)
class MigrationResult(MigrationCounts):
    """One finished pass over a partition, or one retry of its ledger. `audit` names the file of its deletes."""

    partition: str
    run_id: str
    write_mode: str
    started_at: str
    finished_at: str
    audit: str | None = None

    def line(self) -> str:
        """The pass in one line of a log."""
        return (
            f"migration complete in {self.duration_s:.1f} s: total {self.total}, migrated {self.migrated}, skipped "
            f"{self.skipped}, failed {self.failed}, {self.rate:.0f} images/s, success rate {self.success_rate:.2%}; "
            f"vanished {self.vanished} (items deleted {self.items_deleted}, left {self.items_left}, held back "
            f"{self.held_back})"
        )


# Compiling it takes longer than everything else that is done with a small partition.
_RESULT: Final = TypeAdapter(MigrationResult)


def last_migration(store: StateStore, partition: str) -> MigrationResult | None:
    """What the migration pass that finished last did; `StateError` if its record cannot be read."""
    try:
        record = CheckpointFile(store, partition).last_finished()
        return _RESULT.validate_python(record["result"]) if record else None
    except (ValueError, KeyError, ValidationError):
        raise StateError(
            f"partition {partition}: the record of the last migration pass below "
            f"{store.locate(names.passes(partition))} cannot be read. Move it away and migrate the partition again: "
            f"imgmig migrate --partition {partition}"
        ) from None
