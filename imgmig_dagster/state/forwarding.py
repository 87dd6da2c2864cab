"""Forwards every call to another state store: the base of `fenced`, `index` and `known_files`."""

from collections.abc import Sequence
from contextlib import AbstractContextManager

from imgmig_dagster.fence import Fence
from imgmig_dagster.state.names import AppendedFile
from imgmig_dagster.state.store import Appender, StateStore, Versioned


class ForwardingStateStore:
    """A `StateStore` that passes each call to another store."""

    def __init__(self, store: StateStore) -> None:
        self._store = store

    def read(self, name: str) -> Versioned | None:
        """See `StateStore.read`."""
        return self._store.read(name)

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """See `StateStore.write`."""
        return self._store.write(name, content, replacing)

    def append(self, name: str, content: bytes) -> None:
        """See `StateStore.append`."""
        self._store.append(name, content)

    def appender(self, file: AppendedFile) -> Appender:
        """See `StateStore.appender`."""
        return self._store.appender(file)

    def list(self, prefix: str) -> "list[str]":
        """See `StateStore.list`."""
        return self._store.list(prefix)

    def folders(self) -> Sequence[str]:
        """See `StateStore.folders`."""
        return self._store.folders()

    def delete(self, name: str, replacing: str | None = None) -> None:
        """See `StateStore.delete`."""
        self._store.delete(name, replacing)

    def exclusive(self, name: str) -> AbstractContextManager[Fence]:
        """See `StateStore.exclusive`."""
        return self._store.exclusive(name)

    def locate(self, name: str) -> str:
        """See `StateStore.locate`."""
        return self._store.locate(name)
