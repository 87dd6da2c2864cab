"""The ids and digests of both sides of a census on disk: memory is bounded for any number of rows.

`census_buckets` lays them out in files; `census` reads them and draws the conclusions.
"""

import shutil
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from heapq import nsmallest
from pathlib import Path
from threading import Lock
from typing import Final
from zlib import crc32

from imgmig_dagster.errors import FilesUnavailable
from imgmig_dagster.mapping.digests import row_digester
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.counting import OUTSIDE, SAMPLE_SIZE, id_hash
from imgmig_dagster.steps.census_buckets import Buckets
from imgmig_dagster.window import Window, dated, to_microseconds

# Of 100,000,000 unexpected items the fewest buckets hold 400,000 each; the most hold 250,000 of 10^9 rows.
_FEWEST_BUCKETS: Final = 256
_MOST_BUCKETS: Final = 4_096
_ROWS_IN_A_BUCKET: Final = 50_000
# For both sides' entries and the kept ids, with room to spare for UUIDs.
_BYTES_PER_ROW: Final = 128
_BYTES_OF_A_UUID: Final = 36
_COPIES: Final = 3  # of each id: one on either side, and the one that is kept


def disk_needed(rows: int, id_bytes: int = _BYTES_OF_A_UUID) -> str:
    """How much disk a census of that many rows, with ids of that length, takes; for a sentence."""
    long_ids = f" with ids of {id_bytes:,} bytes" if id_bytes > _BYTES_OF_A_UUID else ""
    return f"a census of {rows:,} rows{long_ids} needs about {_megabytes(_needed(rows, id_bytes))} of temporary files"


def require_disk(folder: Path, rows: int, id_bytes: int = _BYTES_OF_A_UUID) -> None:
    """Refuse a census of that many rows, with ids of that length, if there is no room for it.

    Raises:
        FilesUnavailable: too little is free.
    """
    free = shutil.disk_usage(folder).free
    if free < _needed(rows, id_bytes):
        raise FilesUnavailable(
            f"{folder} has {_megabytes(free)} free: {disk_needed(rows, id_bytes)}. Free some space there, or name "
            "another folder by TMPDIR. Then give the same command again"
        )


@dataclass
class _Rows:
    """The rows of a bucket: digest and partition by id. Those that are `gone` are not among the others."""

    found: dict[str, tuple[int, int]]
    repeated: set[str]
    gone: set[str]
    counted: int


class Sides:
    """Both sides; the partitions are these windows, which adjoin; that of the rows without a time may be among them.

    `rows` is about how many there are. Threads may share it.
    """

    def __init__(self, folder: Path, mapping: TableMapping, windows: Sequence[Window], rows: int) -> None:
        self._mapping = mapping
        self._digest = row_digester(mapping)
        self._windows = windows
        with_time = dated(windows)
        self._starts = [to_microseconds(window.start) for window in with_time]
        self._end = to_microseconds(with_time[-1].end) if with_time else 0
        self._parts = [number for number, window in enumerate(windows) if not window.is_undated]
        self._undated = next((number for number, window in enumerate(windows) if window.is_undated), -1)
        self._buckets = min(max(_FEWEST_BUCKETS, rows // _ROWS_IN_A_BUCKET), _MOST_BUCKETS)
        otherwise = f"name another folder by TMPDIR ({disk_needed(rows)})"
        self._source, self._target, self._recounted, self._later, self._ids = (
            Buckets(folder / name, otherwise) for name in ("source", "target", "recounted", "later", "ids")
        )
        self._is_recounted = False
        self._adding = Lock()
        self._id_sum = 0
        self.other_entities = 0
        self.unclaimed = 0
        # What `differences` found.
        self.rows = 0
        self.items = 0
        self.repeated = 0
        self.some_repeated: list[str] = []

    @property
    def read(self) -> tuple[int, int]:
        """How many rows were read, and the sum of their ids' hashes."""
        return self._source.added, self._id_sum

    @property
    def entries(self) -> int:
        """How many rows and items were read."""
        return self._source.added + self._target.added

    def add_rows(self, rows: Iterable[Row]) -> None:
        """Add rows of the source."""
        read = [(row.id, self._digest(row), self._part(row)) for row in rows]
        id_sum = sum(id_hash(row_id) for row_id, _digest, _part in read)
        with self._adding:
            self._id_sum += id_sum
        self._source.add((self._bucket(entry[0]), entry) for entry in read)

    def add_items(self, items: Iterable[tuple[str, int]]) -> None:
        """Add items of the target, each as its id and digest."""
        self._target.add((self._bucket(entry[0]), entry) for entry in items)

    def add_others(self, entities: int, unclaimed: int) -> None:
        """Count items that are not rows of this mapping, and those among them that belong to no declared table."""
        with self._adding:
            self.other_entities += entities
            self.unclaimed += unclaimed

    def add_later(self, rows: Iterable[Row]) -> None:
        """Note rows that the second look found: they may have come since the others were read."""
        self._later.add((self._bucket(row.id), (row.id, self._part(row))) for row in rows)

    def partition(self, row: Row) -> str | None:
        """The partition of a row; None where it is in none."""
        part = self._part(row)
        return self._windows[part].partition if part >= 0 else None

    def recount(self, ids: Iterable[str]) -> None:
        """Note ids that are in the source now: rows that were read before and are not among them are gone."""
        self._is_recounted = True
        self._recounted.add((self._bucket(row_id), row_id) for row_id in ids)

    def unseen(self) -> Iterator[list[str]]:
        """The ids of the recount that were not read before, by bucket. Their rows may be added during the iteration."""
        for bucket in range(self._buckets):
            seen = {row_id for entries in self._source.read(bucket) for row_id, _digest, _part in entries}
            if ids := self._ids_recounted(bucket) - seen:
                yield sorted(ids)

    def differences(self) -> Iterator[tuple[int, list[str]]]:
        """The ids on which the sides differ, by bucket, and how many rows and items each list is of."""
        repeated: list[str] = []
        for bucket in range(self._buckets):
            rows = self._rows(bucket)
            # An item that is written while it is being read may be met twice.
            items = {row_id: digest for entries in self._target.read(bucket) for row_id, digest in entries}
            self.rows += rows.counted
            self.items += len(items)
            self.repeated += len(rows.repeated)
            repeated += rows.repeated
            self.some_repeated = repeated = nsmallest(SAMPLE_SIZE, repeated)
            differing = {row_id for row_id, (digest, _part) in rows.found.items() if items.get(row_id) != digest}
            differing |= items.keys() - rows.found.keys()
            differing |= rows.gone
            yield len(rows.found) + len(items), sorted(differing - rows.repeated)

    def ids(self) -> Iterator[tuple[str, list[str]]]:
        """Every id that had a row, by partition key, or `OUTSIDE`: each group's in as many lists as needed."""
        groups: set[int] = set()
        for bucket in range(self._buckets):
            parts = {row_id: part for entries in self._later.read(bucket) for row_id, part in entries}
            parts |= {row_id: part for row_id, (_digest, part) in self._rows(bucket).found.items()}
            groups.update(parts.values())
            self._ids.add((part, row_id) for row_id, part in parts.items())
        for part in sorted(groups):
            for ids in self._ids.read(part):
                yield (self._windows[part].partition if part >= 0 else OUTSIDE), sorted(ids)

    def _rows(self, bucket: int) -> _Rows:
        found: dict[str, tuple[int, int]] = {}
        repeated: set[str] = set()
        for entries in self._source.read(bucket):
            for row_id, digest, part in entries:
                # By keyset on the id, an id that is met twice has two rows.
                if row_id in found:
                    repeated.add(row_id)
                else:
                    found[row_id] = digest, part
        if not self._is_recounted:
            return _Rows(found, repeated, set(), len(found))
        there = self._ids_recounted(bucket)
        gone = found.keys() - there
        for row_id in gone:
            del found[row_id]
        return _Rows(found, repeated - gone, gone, len(there))

    def _ids_recounted(self, bucket: int) -> set[str]:
        return {row_id for ids in self._recounted.read(bucket) for row_id in ids}

    def _bucket(self, row_id: str) -> int:
        return crc32(row_id.encode()) % self._buckets

    def _part(self, row: Row) -> int:
        place = row[self._mapping.order_index]
        if place is None:
            return self._undated
        if not isinstance(place, int) or not self._starts or not self._starts[0] <= place < self._end:
            return -1
        return self._parts[bisect_right(self._starts, place) - 1]


def mean_id_bytes(rows: Sequence[Row]) -> int:
    """The average length of these rows' ids, at least one."""
    return -(-sum(len(row.id.encode()) for row in rows) // len(rows))


def _needed(rows: int, id_bytes: int) -> int:
    return rows * (_BYTES_PER_ROW + _COPIES * max(0, id_bytes - _BYTES_OF_A_UUID))


def _megabytes(size: int) -> str:
    return f"{max(size / 1e6, 1):,.0f} MB"
