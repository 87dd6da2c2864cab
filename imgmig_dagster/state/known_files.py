"""Answers from copies of the files of some partitions and of the whole table, instead of the store.

`index` makes the copies.
"""

from collections.abc import Mapping
from typing import Final, TypeAlias

from imgmig_dagster.state import names
from imgmig_dagster.state.forwarding import ForwardingStateStore
from imgmig_dagster.state.store import StateStore, Versioned

Files: TypeAlias = Mapping[str, str | None]
"""The indexed files in a partition's folder, or at the top, by name; None if only the file itself has the text."""

OF_TABLE: Final = frozenset({names.CENSUS, names.LAST_WRITE, names.LATE_WRITES})
COPIED: Final = OF_TABLE | frozenset({names.MIGRATION_PROGRESS, names.FAILURES, names.EVIDENCE})
_WITH_VALUES: Final = frozenset({names.MISMATCHES})
"""Files with values of rows, which are personal data: only their existence is noted."""
_INDEXED: Final = COPIED | _WITH_VALUES
_REPLACES_NOTHING: Final = "known"


def is_indexed(name: str) -> bool:
    """Whether the index covers a file of that name in a partition's folder or at the top."""
    return name in _INDEXED or name.startswith(f"{names.PASSES}/")


class KnownFiles(ForwardingStateStore):
    """A `StateStore` that knows what some partitions' files say, and does not read them again."""

    def __init__(self, store: StateStore, known: Mapping[str, Files]) -> None:
        super().__init__(store)
        self._known = known

    def read(self, name: str) -> Versioned | None:
        """See `StateStore.read`. A known file has a version that no write can replace."""
        place, rest = names.place_of(name)
        if place not in self._known or not is_indexed(rest):
            return super().read(name)
        if rest not in self._known[place]:
            return None
        text = self._known[place][rest]
        return super().read(name) if text is None else Versioned(text.encode(), _REPLACES_NOTHING)

    def list(self, prefix: str) -> "list[str]":
        """See `StateStore.list`."""
        partition, _, rest = prefix.partition("/")
        if partition in self._known and rest == names.PASSES:
            return sorted(f"{partition}/{name}" for name in self._known[partition] if name.startswith(names.PASSES))
        return super().list(prefix)
