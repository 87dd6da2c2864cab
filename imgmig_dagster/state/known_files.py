"""What is known of files of some partitions and of the whole table, in place of the store that has them.

How it is known is in `index`.
"""

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from typing import Final, TypeAlias

from imgmig_dagster.fence import Fence
from imgmig_dagster.state import names
from imgmig_dagster.state.store import Appender, StateStore, Versioned

Files: TypeAlias = Mapping[str, str | None]
"""The indexed files in a partition's folder, or at the top, by name; None where only the file itself has the text."""

OF_TABLE: Final = frozenset({names.CENSUS, names.LAST_WRITE, names.LATE_WRITES})
COPIED: Final = OF_TABLE | frozenset({names.MIGRATION_PROGRESS, names.FAILURES, names.EVIDENCE})
_WITH_VALUES: Final = frozenset({names.MISMATCHES})
"""Files that hold values of rows, which are personal data: of them it is noted only that they are there."""
_INDEXED: Final = COPIED | _WITH_VALUES
_REPLACES_NOTHING: Final = "known"


def is_indexed(name: str) -> bool:
    """Whether the index says something of a file of that name in a partition's folder or at the top."""
    return name in _INDEXED or name.startswith(f"{names.PASSES}/")


class KnownFiles:
    """A `StateStore` that knows what some partitions' files say, and asks for nothing of it again."""

    def __init__(self, store: StateStore, known: Mapping[str, Files]) -> None:
        self._store = store
        self._known = known

    def read(self, name: str) -> Versioned | None:
        """See `StateStore.read`. What it knows of has a version that nothing can replace."""
        place, rest = names.place_of(name)
        if place not in self._known or not is_indexed(rest):
            return self._store.read(name)
        if rest not in self._known[place]:
            return None
        text = self._known[place][rest]
        return self._store.read(name) if text is None else Versioned(text.encode(), _REPLACES_NOTHING)

    def list(self, prefix: str) -> "list[str]":
        """See `StateStore.list`."""
        partition, _, rest = prefix.partition("/")
        if partition in self._known and rest == names.PASSES:
            return sorted(f"{partition}/{name}" for name in self._known[partition] if name.startswith(names.PASSES))
        return self._store.list(prefix)

    def folders(self) -> Sequence[str]:
        """See `StateStore.folders`."""
        return self._store.folders()

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """See `StateStore.write`."""
        return self._store.write(name, content, replacing)

    def append(self, name: str, content: bytes) -> None:
        """See `StateStore.append`."""
        self._store.append(name, content)

    def appender(self, file: names.AppendedFile) -> Appender:
        """See `StateStore.appender`."""
        return self._store.appender(file)

    def delete(self, name: str, replacing: str | None = None) -> None:
        """See `StateStore.delete`."""
        self._store.delete(name, replacing)

    def exclusive(self, name: str) -> AbstractContextManager[Fence]:
        """See `StateStore.exclusive`."""
        return self._store.exclusive(name)

    def locate(self, name: str) -> str:
        """See `StateStore.locate`."""
        return self._store.locate(name)
