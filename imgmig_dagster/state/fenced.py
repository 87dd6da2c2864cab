"""The state as the holder of a lock sees it: what it writes once the lock is lost is refused."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from imgmig_dagster.fence import Fence
from imgmig_dagster.state.names import AppendedFile
from imgmig_dagster.state.store import Appender, StateStore, Versioned


class FencedStateStore:
    """A `StateStore` behind a fence. A run that was taken for dead must not replace what its successor has written.

    What it appends replaces nothing, and says what became of it.
    """

    def __init__(self, store: StateStore, fence: Fence) -> None:
        self._store = store
        self._fence = fence

    def read(self, name: str) -> Versioned | None:
        """See `StateStore.read`."""
        return self._store.read(name)

    def list(self, prefix: str) -> "list[str]":
        """See `StateStore.list`."""
        return self._store.list(prefix)

    def folders(self) -> Sequence[str]:
        """See `StateStore.folders`."""
        return self._store.folders()

    def locate(self, name: str) -> str:
        """See `StateStore.locate`."""
        return self._store.locate(name)

    def exclusive(self, name: str) -> AbstractContextManager[Fence]:
        """See `StateStore.exclusive`."""
        return self._store.exclusive(name)

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """See `StateStore.write`; `StateChanged` too if the lock is lost."""
        self._fence.check()
        return self._store.write(name, content, replacing)

    def append(self, name: str, content: bytes) -> None:
        """See `StateStore.append`."""
        self._store.append(name, content)

    def appender(self, file: AppendedFile) -> Appender:
        """See `StateStore.appender`."""
        return self._store.appender(file)

    def delete(self, name: str, replacing: str | None = None) -> None:
        """See `StateStore.delete`; `StateChanged` too if the lock is lost."""
        self._fence.check()
        self._store.delete(name, replacing)
