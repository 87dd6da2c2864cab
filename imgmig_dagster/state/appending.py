"""Adds lines to a log or an audit record in a bucket, where nothing can be appended to an object.

In a directory lines go to the end of a file: `store.LocalStateStore`.
"""

import threading
from pathlib import PurePosixPath
from typing import Final

from imgmig_dagster.state.names import AppendedFile
from imgmig_dagster.state.store import ABSENT, StateStore

_OBJECT_BYTES: Final = 128 * 1024


class ObjectsOfLines:
    """Lines as objects that one run owns. The run replaces its last object, with more lines, until it is 128 KiB long.

    So their number grows with the bytes, and none is ever read.
    """

    def __init__(self, store: StateStore, file: AppendedFile) -> None:
        self._store = store
        self._file = file
        self._number = 1
        self._content = b""
        self._version = ABSENT
        self._locked = threading.Lock()

    def append(self, lines: bytes) -> None:
        """See `Appender`."""
        with self._locked:
            if len(self._content) >= _OBJECT_BYTES:
                self._begin_new()
            suffix = PurePosixPath(self._file.name).suffix
            name, content = f"{self._file.folder}/{self._number:06d}{suffix}", self._content + lines
            try:
                # With the version: a request that arrives late must not bring back the older object.
                self._version = self._store.write(name, content, self._version)
            except BaseException:
                self._begin_new()  # it may have been carried out
                raise
            self._content = content

    def _begin_new(self) -> None:
        self._number, self._content, self._version = self._number + 1, b"", ABSENT
