"""What a pass has covered: its checkpoint and the log of its rows. A resumed run begins here.

`state.checkpoints` and `state.row_log` hold the files.
"""

from collections import Counter
from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace
from enum import Enum
from typing import Any, Final, Generic, Protocol, TypeVar

from imgmig_dagster.concurrency import whole_in_thread
from imgmig_dagster.errors import CheckpointRefused
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state.checkpoints import Checkpoint, CheckpointFile
from imgmig_dagster.state.row_log import RowLog, RowLogPart

CHECKPOINT_ROWS: Final = 1_000


class Findings(Protocol):
    """The results of some rows."""

    @property
    def results(self) -> Mapping[str, Enum]:
        """The outcome or verdict of each row, by its id."""

    @property
    def tally(self) -> Any:
        """What else was counted, as the row log keeps it."""

    def after(self: "Kept", earlier: "Kept") -> "Kept":
        """Both together. A row that moves ahead of the cursor is met again: which result counts is for the step."""


Found = TypeVar("Found")
Kept = TypeVar("Kept", bound=Findings)


class Coverage(Generic[Found]):
    """How far a pass has come. This one keeps nothing: a pass that writes nothing begins again if it is interrupted."""

    @property
    def cursor(self) -> Cursor | None:
        """The place of the last row that is covered."""
        return None

    @property
    def is_due(self) -> bool:
        """Whether enough rows are covered that they must be saved."""
        return False

    def cover(self, until: Cursor, found: Found) -> None:
        """The rows up to there are recorded. The next save counts them."""

    async def save(self) -> None:
        """Write down what is covered."""


class ResumableCoverage(Coverage[Kept]):
    """How far the pass over a partition has come: the checkpoint that was saved last, and the cursor since."""

    checkpoint: Checkpoint

    def __init__(self, work: ReadingWork, partition: str, progress: str, folder: str) -> None:
        self._work = work
        self._file = CheckpointFile(work.state, partition, progress)
        self._log = RowLog(work.state, partition, folder)
        self._traffic = work.target.sender.traffic
        self._started = work.clock.monotonic()
        self._started_at = work.clock.now()
        self._unsaved: Kept | None = None

    async def open(
        self, fingerprint: Mapping[str, str], start_over: bool = False, start_over_if_refused: bool = False
    ) -> Checkpoint:
        """Resume the interrupted pass, or begin a new one; see `CheckpointFile.open`."""
        return await whole_in_thread(self._open, fingerprint, start_over, start_over_if_refused)

    def _open(self, fingerprint: Mapping[str, str], start_over: bool, start_over_if_refused: bool) -> Checkpoint:
        left_over, run_id = self._log.names(), self._work.run_id
        try:
            opened = self._file.open(run_id, fingerprint, self._started_at, start_over)
        except CheckpointRefused:
            if not start_over_if_refused:
                raise
            opened = self._file.open(run_id, fingerprint, self._started_at, start_over=True)
        self._begun = self.checkpoint = opened
        if not opened.segments:
            self._log.remove(left_over)
        return opened

    @property
    def cursor(self) -> Cursor | None:
        """See `Coverage.cursor`."""
        return self.checkpoint.cursor

    @property
    def is_due(self) -> bool:
        """See `Coverage.is_due`."""
        return self._unsaved is not None and len(self._unsaved.results) >= CHECKPOINT_ROWS

    def cover(self, until: Cursor, found: Kept) -> None:
        """See `Coverage.cover`."""
        self._unsaved = found if self._unsaved is None else found.after(self._unsaved)
        self.checkpoint = replace(self.checkpoint, cursor=until)

    async def save(self) -> None:
        """See `Coverage.save`: the log of the rows, then the checkpoint that counts them."""
        await whole_in_thread(self._save)

    def _save(self) -> None:
        found, cursor = self._unsaved, self.checkpoint.cursor
        self.count_requests()
        if found is not None and found.results and cursor is not None:
            part = RowLogPart.of(cursor, found.results, found.tally)
            counts = Counter(self.checkpoint.outcomes) + Counter({name: len(ids) for name, ids in part.ids.items()})
            parts = self._log.add(self.checkpoint.segments, self._work.run_id, part)
            self.checkpoint = replace(self.checkpoint, outcomes=dict(counts), segments=parts)
            self._unsaved = None
        self._file.save(self.checkpoint)

    def count_requests(self) -> None:
        """Bring time and requests up to date: those of the runs before, and this run's."""
        begun, traffic = self._begun, self._traffic
        self.checkpoint = replace(
            self.checkpoint,
            elapsed_s=begun.elapsed_s + self._work.clock.monotonic() - self._started,
            retries=begun.retries + traffic.retries,
            throttles=begun.throttles + traffic.throttles,
            write_units=begun.write_units + traffic.write_units,
            read_units=begun.read_units + traffic.read_units,
            traffic=begun.traffic + traffic.record(),
        )

    def begin_deletes(self, ids: Collection[str]) -> None:
        """Save that the items of these ids are about to be deleted."""
        self.checkpoint = replace(self.checkpoint, deleting=sorted({*self.checkpoint.deleting, *ids}))
        self._file.save(self.checkpoint)

    def parts(self) -> Iterator[RowLogPart]:
        """The log of the rows, as far as it is saved."""
        return self._log.read(self.checkpoint.segments)

    async def end(self, finished_at: str, record: Mapping[str, Any] | None = None) -> None:
        """The pass is finished: nothing is left to resume. A migration leaves a record of it."""
        await whole_in_thread(self._end, finished_at, record)

    def _end(self, finished_at: str, record: Mapping[str, Any] | None) -> None:
        # A stale run must not remove what its successor wrote.
        left_over = self._log.names()
        if record is None:
            self._file.remove()
        else:
            # The record comes before the checkpoint's end. A crash between the two only repeats a finished pass.
            self._file.archive(self.checkpoint, finished_at, record)
        self._log.remove(left_over)
