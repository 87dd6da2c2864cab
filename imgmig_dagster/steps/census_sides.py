"""The ids and digests of both sides of a census, in a database file on disk: whatever their number, memory is bounded.

What is read of them, and what is concluded, is in `census`.
"""

import sqlite3
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any, Final

from imgmig_dagster.batches import batched
from imgmig_dagster.files import in_scratch
from imgmig_dagster.mapping.digests import row_digester
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.counting import OUTSIDE, SAMPLE_SIZE, id_hash
from imgmig_dagster.window import Window, dated, to_microseconds

_CHUNK: Final = 1_000
_IDS_AT_ONCE: Final = 10_000

# `part` is the number of the window that a row lies in, -1 of none.
_SCHEMA: Final = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE source (
    id TEXT PRIMARY KEY, digest INTEGER NOT NULL, part INTEGER NOT NULL, rows INTEGER NOT NULL DEFAULT 1
) WITHOUT ROWID;
CREATE TABLE target (id TEXT PRIMARY KEY, digest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE recount (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE gone (id TEXT PRIMARY KEY) WITHOUT ROWID;
CREATE TABLE later (id TEXT PRIMARY KEY, part INTEGER NOT NULL) WITHOUT ROWID;
"""
# By keyset on the id, one that is met twice is of two rows.
_ADD_ROWS: Final = (
    "INSERT INTO source (id, digest, part) VALUES (?, ?, ?) ON CONFLICT (id) DO UPDATE SET rows = rows + 1"
)
# An item that is written while it is being read may be met twice.
_ADD_ITEMS: Final = "INSERT OR REPLACE INTO target VALUES (?, ?)"
_REPEATED: Final = "SELECT id FROM source WHERE rows > 1"
_DIFFERENCES: Final = """
SELECT id FROM source LEFT JOIN target USING (id) WHERE target.digest IS NOT source.digest AND source.rows = 1
UNION ALL SELECT id FROM target LEFT JOIN source USING (id) WHERE source.id IS NULL
UNION ALL SELECT id FROM gone LEFT JOIN target USING (id) WHERE target.id IS NULL
"""
_IDS: Final = """
SELECT part, id FROM source
UNION ALL SELECT later.part, later.id FROM later LEFT JOIN source USING (id) WHERE source.id IS NULL
ORDER BY 1, 2
"""


class Sides:
    """Both sides; the partitions are these windows, which adjoin; that of the rows without a time may be among them."""

    def __init__(self, path: Path, mapping: TableMapping, windows: Sequence[Window]) -> None:
        self._path = path
        self._mapping = mapping
        self._digest = row_digester(mapping)
        self._windows = windows
        with_time = dated(windows)
        self._starts = [to_microseconds(window.start) for window in with_time]
        self._end = to_microseconds(with_time[-1].end) if with_time else 0
        self._parts = [number for number, window in enumerate(windows) if not window.is_undated]
        self._undated = next((number for number, window in enumerate(windows) if window.is_undated), -1)
        with in_scratch(path):
            self._database = sqlite3.connect(path)
            self._database.executescript(_SCHEMA)
        self.other_entities = 0
        self.unclaimed = 0
        self.id_sum = 0

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Add rows of the source."""
        read = [(row.id, self._digest(row), self._part(row)) for row in rows]
        self.id_sum += sum(id_hash(row_id) for row_id, _digest, _part in read)
        self._change(_ADD_ROWS, read)

    def add_items(self, items: Sequence[tuple[str, int]]) -> None:
        """Add items of the target, each as its id and digest."""
        self._change(_ADD_ITEMS, items)

    def add_later(self, rows: Iterable[Row]) -> None:
        """Note rows that the second look found: they may have come since the others were read."""
        self._change("INSERT OR IGNORE INTO later VALUES (?, ?)", [(row.id, self._part(row)) for row in rows])

    def recount(self, ids: Sequence[str]) -> None:
        """Note ids that are in the source by now."""
        self._change("INSERT OR IGNORE INTO recount VALUES (?)", [(row_id,) for row_id in ids])

    def unseen(self) -> Iterator[Sequence[str]]:
        """The ids of the recount that were not read before."""
        # All at once: what is found of them is added meanwhile.
        found = self._ask("SELECT id FROM recount EXCEPT SELECT id FROM source")
        ids = [row_id for (row_id,) in found]
        return batched(ids, _CHUNK)

    def forget_gone(self) -> None:
        """Take back what was read of rows that the recount did not find; their items are among the differences."""
        self._change("INSERT INTO gone SELECT id FROM source EXCEPT SELECT id FROM recount", [()])
        self._change("DELETE FROM source WHERE id IN (SELECT id FROM gone)", [()])

    def repeated(self) -> tuple[int, Sequence[str]]:
        """How many ids stand in the source more than once, and some of them."""
        ((count,),) = self._ask(f"SELECT count(*) FROM ({_REPEATED})")  # noqa: S608
        return count, [row_id for (row_id,) in self._ask(f"{_REPEATED} ORDER BY id LIMIT {SAMPLE_SIZE}")]

    def differences(self) -> Iterator[list[str]]:
        """The ids on which the sides do not agree."""
        return ([row_id for (row_id,) in rows] for rows in self._stream(_DIFFERENCES, _CHUNK))

    def ids(self) -> Iterator[tuple[str, list[str]]]:
        """Every id that had a row, by partition key, or `OUTSIDE`: each group's in as many lists as it takes."""
        for found in self._stream(_IDS, _IDS_AT_ONCE):
            for part, rows in groupby(found, itemgetter(0)):
                yield (self._windows[part].partition if part >= 0 else OUTSIDE), [row_id for _part, row_id in rows]

    def count(self, side: str) -> int:
        """How many ids there are of ``source``, ``target`` or ``recount``."""
        found: int = self._ask(f"SELECT count(*) FROM {side}")[0][0]  # noqa: S608
        return found

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def _part(self, row: Row) -> int:
        place = row[self._mapping.order_index]
        if place is None:
            return self._undated
        if not isinstance(place, int) or not self._starts or not self._starts[0] <= place < self._end:
            return -1
        return self._parts[bisect_right(self._starts, place) - 1]

    def _change(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with in_scratch(self._path):
            self._database.executemany(statement, rows)

    def _ask(self, question: str) -> list[Any]:
        with in_scratch(self._path):
            return self._database.execute(question).fetchall()

    def _stream(self, question: str, size: int) -> Iterator[list[Any]]:
        with in_scratch(self._path):
            found = self._database.execute(question)
            rows = found.fetchmany(size)
        while rows:
            yield rows
            with in_scratch(self._path):
                rows = found.fetchmany(size)
