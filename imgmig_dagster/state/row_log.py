"""The result for every row of a pass, in files of about 1,000 rows, so that a resumed run knows what was done.

A part is written before the checkpoint that names it. A run writes parts under its own id only, so a stale run cannot
touch its successor's.
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

PartsOfRuns: TypeAlias = tuple[tuple[str, int], ...]
"""How many parts each run of a pass has confirmed, in the order of the runs: ``(("run-1", 12), ("run-2", 3))``."""


@dataclass(frozen=True)
class RowLogPart:
    """Adjoining rows of a window: `until` is the keyset position of the last, `ids` are theirs by outcome or verdict.

    `tally` holds other counts of the pass, if it has any.
    """

    until: Cursor
    ids: Mapping[str, Sequence[str]]
    tally: Any = None

    @classmethod
    def of(cls, until: Cursor, results: Mapping[str, Enum], tally: Any = None) -> "RowLogPart":
        """The rows, each with its result."""
        ids: defaultdict[Enum, list[str]] = defaultdict(list)
        for row_id, result in results.items():
            ids[result].append(row_id)
        return cls(until, {result.value: of_result for result, of_result in ids.items()}, tally)  # `value` is slow

    def by_id(self) -> dict[str, str]:
        """The result of each row."""
        return {row_id: result for result, ids in self.ids.items() for row_id in ids}


class RowLog:
    """The parts of one partition's pass, in `folder` of its state."""

    def __init__(self, store: StateStore, partition: str, folder: str) -> None:
        self._store = store
        self._folder = f"{partition}/{folder}"

    def add(self, runs: PartsOfRuns, run_id: str, part: RowLogPart) -> PartsOfRuns:
        """Write the next part of a run. It counts once a checkpoint holds the returned value."""
        earlier, written = (runs[:-1], runs[-1][1]) if runs and runs[-1][0] == run_id else (runs, 0)
        save_record(self._store, self._name(run_id, written), part)
        return (*earlier, (run_id, written + 1))

    def read(self, runs: PartsOfRuns) -> Iterator[RowLogPart]:
        """The confirmed parts, in the order of their rows.

        Raises:
            CheckpointRefused: one of them is gone or cannot be read.
        """
        for run_id, written in runs:
            for number in range(written):
                name = self._name(run_id, number)
                try:
                    part = load_record(self._store, name, RowLogPart)
                except StateError:
                    part = None
                if part is None:
                    raise CheckpointRefused(
                        f"{self._store.locate(name)}, to which a checkpoint refers, is gone or cannot be read. Start "
                        "the partition over, which is always safe: --start-over"
                    )
                yield part

    def names(self) -> list[str]:
        """All existing parts, confirmed or not."""
        return self._store.list(self._folder)

    def remove(self, names: Sequence[str]) -> None:
        """Remove parts that existed while the partition was this run's: a successor's come later."""
        for name in names:
            self._store.delete(name)

    def _name(self, run_id: str, number: int) -> str:
        return names.part(self._folder, run_id, number)
