"""Lists that may be longer than memory holds: gzip files with a JSON array each, written and read in order."""

import gzip
import zlib
from collections.abc import Iterable, Iterator
from typing import Any, Final, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.errors import StateError
from imgmig_dagster.state import names
from imgmig_dagster.state.store import StateStore

Entry = TypeVar("Entry")

FILE_HOLDS: Final = 100_000
_LEVEL: Final = 1  # higher ones take three times as long for a tenth less


class LongList:
    """Writes a list below `folder`, and replaces the one that was there. `close` ends it."""

    def __init__(self, store: StateStore, folder: str) -> None:
        self._store = store
        self._folder = folder
        self._entries: list[Any] = []
        self._written: list[str] = []

    def add(self, entries: Iterable[Any]) -> None:
        """Add dataclasses or texts; a file is written as soon as it is full."""
        self._entries.extend(entries)
        while len(self._entries) >= FILE_HOLDS:
            self._write(self._entries[:FILE_HOLDS])
            del self._entries[:FILE_HOLDS]

    def close(self) -> None:
        """Write the rest, and remove what an earlier list had beyond this one's end."""
        self._write(self._entries)
        for name in self._store.list(self._folder):
            if name not in self._written:
                self._store.delete(name)

    def _write(self, entries: list[Any]) -> None:
        if entries:
            name = names.part_of_list(self._folder, len(self._written))
            self._store.write(name, gzip.compress(orjson.dumps(entries), _LEVEL, mtime=0))
            self._written.append(name)


def read_list(store: StateStore, folder: str, kind: type[Entry]) -> Iterator[list[Entry]]:
    """The entries of a list, a file at a time; none if it does not exist.

    Raises:
        StateError: a file cannot be read as such entries.
    """
    adapter = TypeAdapter(list[kind])  # type: ignore[valid-type]  # a class that is known at run time
    for name in store.list(folder):
        found = store.read(name)
        if found is None:
            continue
        try:
            yield adapter.validate_json(gzip.decompress(found.content))
        except (OSError, EOFError, zlib.error, ValidationError):
            raise StateError(
                f"{store.locate(name)} cannot be read: it was altered, or another version wrote it. Run imgmig verify, "
                "which takes a new census"
            ) from None
