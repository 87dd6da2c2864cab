"""The index of a table's state in S3: copies of its partitions' files, for readers that ask about all partitions.

The files are the truth. Each partition has an entry, a small object with copies of its small files; so has the whole
table. One more object holds all entries with the version of each. A reader lists the entries' versions, a thousand a
request. It takes current entries from the one object, and reads the others from their files (`read_index`). So two runs
never write the same object, except to save time for later readers.

An entry never says what its files do not. It is marked before a file changes, and is valid again only when nobody
changes a file any more (`IndexedStateStore`). For a marked partition, also after its run was killed, the files are
read.

A local directory has no index: reading its files is as quick.
"""

import gzip
import secrets
import zlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from typing import Final, Protocol, TypeVar

import orjson
from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.errors import ImgmigError, StateChanged
from imgmig_dagster.state import names
from imgmig_dagster.state.forwarding import ForwardingStateStore
from imgmig_dagster.state.known_files import COPIED, OF_TABLE, Files, KnownFiles, is_indexed
from imgmig_dagster.state.store import ABSENT, StateStore, Versioned

READS_AT_ONCE: Final = 32
_LARGEST_COPY: Final = 16_384
_LEVEL: Final = 1  # higher ones take longer for little
_OF_NOBODY: Final = "copy of a file"

T = TypeVar("T")
R = TypeVar("R")


@dataclass(frozen=True)
class _Entry:
    """What is known about a partition. `marks` name, by their locks, the runs that may be changing its files."""

    marks: Mapping[str, str] = field(default_factory=dict)
    files: Files | None = None


@dataclass(frozen=True)
class _Indexed:
    """An entry in the index: its version, None if the partition had none, and its files."""

    version: str | None
    files: Files


_ENTRY: Final = TypeAdapter(_Entry)
_INDEX: Final = TypeAdapter(dict[str, _Indexed])


class ListedFiles(StateStore, Protocol):
    """A store that lists the versions of many files at once."""

    def versions(self, prefix: str) -> Mapping[str, str]:
        """The files below a folder with the version of each."""


class IndexedStateStore(ForwardingStateStore):
    """The state of a table in S3, which keeps the entries true; see `StateStore`."""

    def __init__(self, store: ListedFiles, marked: str | None = None) -> None:
        super().__init__(store)
        self._store: ListedFiles = store
        self._marked = marked

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """See `StateStore.write`."""
        with self._changed(name):
            return self._store.write(name, content, replacing)

    def append(self, name: str, content: bytes) -> None:
        """See `StateStore.append`."""
        # A run that notes a late write has lost its lock, and its mark with it.
        with self._changed(name, although_marked=True):
            self._store.append(name, content)

    def delete(self, name: str, replacing: str | None = None) -> None:
        """See `StateStore.delete`."""
        with self._changed(name):
            self._store.delete(name, replacing)

    @contextmanager
    def changing(self, lock: str) -> Iterator["IndexedStateStore"]:
        """The state in which the holder of a partition's lock changes its files: marked once, not at each write.

        Raises:
            StateError: the entry cannot be marked; without a mark no file may change.
        """
        partition, _, name = lock.partition("/")
        token = self._mark(partition, name)
        try:
            yield IndexedStateStore(self._store, marked=partition)
        finally:
            with suppress(ImgmigError):  # the mark stays: readers go on reading the files
                self._unmark(partition, name, token)

    def _changed(self, name: str, although_marked: bool = False) -> AbstractContextManager[object]:
        place, rest = names.place_of(name)
        if not is_indexed(rest) or (place == self._marked and not although_marked):
            return nullcontext()
        # A unique name: this mark belongs to no lock.
        return self.changing(f"{place}/{_OF_NOBODY} {secrets.token_hex(4)}")

    def _mark(self, partition: str, by: str) -> str:
        token = secrets.token_hex(8)
        while True:
            version, entry = self._entry(partition)
            # A mark of the same lock belongs to a run that is dead, or has lost it.
            with suppress(StateChanged):
                self._write(partition, _Entry({**entry.marks, by: token}), version)
                return token

    def _unmark(self, partition: str, by: str, token: str) -> None:
        """Take the mark off. The last one writes what the files say, read after the version that it replaces."""
        while True:
            version, entry = self._entry(partition)
            found = entry.marks.get(by)
            if (
                found is None
            ):  # the run that took over has finished, or the entry was removed: say again what the files say
                by = f"{by} {token}"  # and no successor's mark is replaced
                token = self._mark(partition, by)
                continue
            if found != token:
                return  # another run holds the lock, and writes the entry
            marks = {each: mark for each, mark in entry.marks.items() if each != by}
            files = None if marks else files_of(self._store, partition)
            with suppress(StateChanged):
                self._write(partition, _Entry(marks, files), version)
                return

    def _entry(self, partition: str) -> tuple[str, _Entry]:
        found = self._store.read(names.index_entry(partition))
        return (found.version, _parsed(found) or _Entry()) if found else (ABSENT, _Entry())

    def _write(self, partition: str, entry: _Entry, replacing: str) -> None:
        self._store.write(names.index_entry(partition), orjson.dumps(entry), replacing)

    def read_index(self, partitions: Sequence[str]) -> StateStore:
        """The state for a reader of all these partitions: from the index, where the index is current."""
        places = [names.TABLE, *partitions]
        found = self._store.read(names.INDEX)
        known = _parsed_index(found)
        versions = self._store.versions(names.INDEX_ENTRIES)
        now = {each: versions.get(names.index_entry(each)) for each in places}
        behind = [each for each in places if each not in known or known[each].version != now[each]]
        if not behind:
            return KnownFiles(self._store, {each: known[each].files for each in places})
        occupied = {names.TABLE, *(self._store.folders() if any(now[each] is None for each in behind) else ())}

        def renewed(place: str) -> tuple[_Indexed, bool]:
            """What is known about it now, and whether the index may say so until its entry has another version."""
            if now[place] is None:
                files = files_of(self._store, place) if place in occupied else {}
                return _Indexed(None, files), place not in known or known[place].version is None
            version, entry = self._entry(place)
            if entry.files is None or entry.marks:
                return _Indexed(None, files_of(self._store, place)), False
            return _Indexed(version, entry.files), True

        read = dict(zip(behind, at_once(renewed, behind), strict=True))
        index = known | {each: indexed for each, (indexed, may_stay) in read.items() if may_stay}
        if index != known:
            with suppress(ImgmigError):  # another reader was quicker, or this one may not write
                content = gzip.compress(orjson.dumps(index), _LEVEL, mtime=0)
                self._store.write(names.INDEX, content, found.version if found else ABSENT)
        entries = {each: (read[each][0] if each in read else known[each]).files for each in places}
        return KnownFiles(self._store, entries)

    def read_files(self, partitions: Sequence[str]) -> StateStore:
        """The state for a reader that needs the files of all these partitions; they are read in parallel."""
        occupied = set(self._store.folders())
        chosen = [each for each in partitions if each in occupied]
        read = dict(zip(chosen, at_once(lambda each: files_of(self._store, each), chosen), strict=True))
        return KnownFiles(self._store, {each: read.get(each, {}) for each in partitions})


def at_a_glance(store: StateStore, partitions: Sequence[str]) -> StateStore:
    """The state for a reader of many partitions, which asks for what they say all at once.

    Raises:
        StateError: the state store is away.
    """
    return store.read_index(partitions) if isinstance(store, IndexedStateStore) else store


def read_ahead(store: StateStore, partitions: Sequence[str]) -> StateStore:
    """The same as `at_a_glance`, from the files alone: for a proof.

    Raises:
        StateError: the state store is away.
    """
    return store.read_files(partitions) if isinstance(store, IndexedStateStore) else store


def changing(store: StateStore, lock: str) -> AbstractContextManager[StateStore]:
    """The state in which the holder of a lock changes files of the lock's partition."""
    if isinstance(store, IndexedStateStore) and "/" in lock:
        return store.changing(lock)
    return nullcontext(store)


def files_of(store: StateStore, place: str) -> Files:
    """What the index says of a partition, or of the whole table, read from its files."""
    folder = "" if place == names.TABLE else f"{place}/"
    # Listing the top would list everything.
    inside = [name[len(folder) :] for name in store.list(place)] if folder else sorted(OF_TABLE)
    present = [name for name in inside if is_indexed(name)]
    passes = [name for name in present if name.startswith(names.PASSES)]
    # Of all passes only the last one is read.
    copied = [name for name in present if name in COPIED | set(passes[-1:])]
    files: dict[str, str | None] = dict.fromkeys(present)
    for name in copied:
        found = store.read(f"{folder}{name}")
        if found is None:
            del files[name]
        elif len(found.content) <= _LARGEST_COPY:
            with suppress(UnicodeDecodeError):  # the reader of the file gets the error
                files[name] = found.content.decode()
    return files


def at_once(read: Callable[[T], R], of: Collection[T]) -> list[R]:
    """Read something of each of these in parallel: each request to S3 takes its time."""
    if not of:
        return []
    with ThreadPoolExecutor(min(READS_AT_ONCE, len(of))) as pool:
        return list(pool.map(read, of))


def _parsed(found: Versioned) -> _Entry | None:
    try:
        return _ENTRY.validate_json(found.content)
    except ValidationError:
        return None


def _parsed_index(found: Versioned | None) -> dict[str, _Indexed]:
    """The index; empty if there is none, or it cannot be read."""
    try:
        return _INDEX.validate_json(gzip.decompress(found.content)) if found else {}
    except (OSError, EOFError, zlib.error, ValidationError):
        return {}
