"""What a pass found out, row by row, in files of about a thousand rows each: as exact as memory, and as a crash needs.

A segment is written before the checkpoint that names it. A run writes segments under its own id only, so that an
orphan of a killed run cannot touch those of its successor.
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from imgmig_dagster.errors import CheckpointRefused, StateError
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import StateStore

SegmentsOfRuns: TypeAlias = tuple[tuple[str, int], ...]
"""How many segments each run of a pass has confirmed, in the order of the runs: ``(("run-1", 12), ("run-2", 3))``."""


@dataclass(frozen=True)
class RowLogPart:
    """Adjoining rows of a window: `until` is the keyset position of the last, `ids` are theirs by outcome or verdict.

    `tally` is what else was found out about them, where a pass counts more than that.
    """

    until: Cursor
    ids: Mapping[str, Sequence[str]]
    tally: Any = None

    @classmethod
    def of(cls, until: Cursor, results: Mapping[str, Enum], tally: Any = None) -> "RowLogPart":
        """The rows, each with what became of it."""
        ids: defaultdict[str, list[str]] = defaultdict(list)
        for row_id, result in results.items():
            ids[result.value].append(row_id)
        return cls(until, ids, tally)

    def by_id(self) -> dict[str, str]:
        """What became of each row."""
        return {row_id: result for result, ids in self.ids.items() for row_id in ids}


class RowLog:
    """The segments of one partition's pass, in `folder` of its state."""

    def __init__(self, store: StateStore, partition: str, folder: str) -> None:
        self._store = store
        self._folder = f"{partition}/{folder}"

    def add(self, runs: SegmentsOfRuns, run_id: str, segment: RowLogPart) -> SegmentsOfRuns:
        """Write the next segment of a run; it counts once a checkpoint holds what is returned."""
        earlier, written = (runs[:-1], runs[-1][1]) if runs and runs[-1][0] == run_id else (runs, 0)
        save_record(self._store, self._name(run_id, written), segment)
        return (*earlier, (run_id, written + 1))

    def read(self, runs: SegmentsOfRuns) -> Iterator[RowLogPart]:
        """The confirmed segments, in the order of their rows.

        Raises:
            CheckpointRefused: one of them is gone or cannot be read.
        """
        for run_id, written in runs:
            for number in range(written):
                name = self._name(run_id, number)
                try:
                    segment = load_record(self._store, name, RowLogPart)
                except StateError:
                    segment = None
                if segment is None:
                    raise CheckpointRefused(
                        f"{self._store.locate(name)}, to which a checkpoint refers, is gone or cannot be read. Start "
                        "the partition over, which is always safe: --start-over"
                    )
                yield segment

    def names(self) -> list[str]:
        """All segments that there are, confirmed or not."""
        return self._store.list(self._folder)

    def remove(self, names: Sequence[str]) -> None:
        """Remove segments that were there while the partition was this run's: a successor's come later."""
        for name in names:
            self._store.delete(name)

    def _name(self, run_id: str, number: int) -> str:
        return names.segment(self._folder, run_id, number)
