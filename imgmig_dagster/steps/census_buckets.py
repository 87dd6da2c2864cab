"""Entries of a census on disk, spread over files by their ids' hash, so that each file's entries fit into memory.

An id is in the same bucket on both sides. So two sides are joined one bucket at a time (a Grace hash join). Each entry
is written once and read a few times, in sequence, in any order of the ids. `census_sides` knows what the entries mean.
"""

import gzip
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path
from threading import Lock
from typing import Any, Final

import orjson

from imgmig_dagster.errors import FilesUnavailable
from imgmig_dagster.files import refusals_as

_HELD: Final = 100_000
_LEVEL: Final = 1  # higher ones take three times as long for a tenth less


class Buckets:
    """Files of JSON arrays in their own folder, one for each bucket that has any entry. Threads may share it.

    At most 100,000 entries of all buckets are in memory. `otherwise` says what the user can do if a file is refused,
    which raises `FilesUnavailable`.
    """

    def __init__(self, folder: Path, otherwise: str) -> None:
        self._folder = folder
        self._otherwise = otherwise
        self._lock = Lock()
        self._held: defaultdict[int, list[Any]] = defaultdict(list)
        self._number_held = 0
        self.added = 0
        with refusals_as(FilesUnavailable, folder, otherwise):
            folder.mkdir(parents=True)

    def add(self, entries: Iterable[tuple[int, Any]]) -> None:
        """Add entries, each with its bucket."""
        with self._lock:
            before = self._number_held
            for bucket, entry in entries:
                self._held[bucket].append(entry)
                self._number_held += 1
            self.added += self._number_held - before
            if self._number_held >= _HELD:
                self._write()

    def read(self, bucket: int) -> Iterator[list[Any]]:
        """The entries of a bucket in the order in which they came, some at a time."""
        with self._lock:
            self._write()
        path = self._path(bucket)
        with refusals_as(FilesUnavailable, path, self._otherwise):
            if not path.exists():
                return
            with gzip.open(path) as lines:
                yield from map(orjson.loads, lines)

    def _write(self) -> None:
        for bucket, entries in self._held.items():
            path = self._path(bucket)
            # A gzip file may consist of several such members, one after the other.
            with refusals_as(FilesUnavailable, path, self._otherwise), path.open("ab") as file:
                file.write(gzip.compress(orjson.dumps(entries) + b"\n", _LEVEL, mtime=0))
        self._held.clear()
        self._number_held = 0

    def _path(self, bucket: int) -> Path:
        return self._folder / f"{bucket}.gz"
