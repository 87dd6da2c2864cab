"""A stage's files, replaced whole, and only by a writer that read the version before. `s3` has them in a bucket."""

import contextlib
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final, Protocol

from imgmig_dagster.errors import StateChanged, StateUnavailable
from imgmig_dagster.fence import Fence
from imgmig_dagster.files import refusals_as
from imgmig_dagster.state.lock_holder import busy, name_holder
from imgmig_dagster.state.names import AppendedFile

ABSENT = "absent"
"""The version of a file that does not exist."""
_LOG_BYTES: Final = 16 * 1024 * 1024


@dataclass(frozen=True)
class Versioned:
    """A file's content and the version that a later write can name as the one it replaces."""

    content: bytes
    version: str


@dataclass(frozen=True)
class Appender:
    """One run's way to add lines to a file: all of them at its end, or an error and none.

    `place` is where a person finds them: a path, or the URL of a folder. Lines that nobody waits for should be added at
    least `interval` seconds apart; 0 if adding costs nothing.
    """

    place: str
    interval: float
    append: Callable[[bytes], None]


class StateStore(Protocol):
    """One stage's state. Names are relative paths such as ``2024-03-01/evidence.json``."""

    def read(self, name: str) -> Versioned | None:
        """The file, or None where there is none."""

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """Replace the file atomically and durably, and return its new version.

        With `replacing`, only if its version is that one (`ABSENT`: only if there is no file).

        Raises:
            StateChanged: the file has another version.
        """

    def append(self, name: str, content: bytes) -> None:
        """Add to the end of a file that has few lines; created if missing. Not durable at once."""

    def appender(self, file: AppendedFile) -> Appender:
        """Adds lines to a file that grows with the rows, and that nothing here reads back."""

    def list(self, prefix: str) -> "list[str]":
        """The names below a folder, sorted."""

    def folders(self) -> Sequence[str]:
        """The folders at the top, sorted."""

    def delete(self, name: str, replacing: str | None = None) -> None:
        """Remove the file if it is there; with `replacing`, only if its version is that one.

        Raises:
            StateChanged: the file has another version.
        """

    def exclusive(self, name: str) -> contextlib.AbstractContextManager[Fence]:
        """Hold the named lock, which a dead process loses. The fence says whether it is still held.

        Raises:
            PartitionBusy: another process holds it.
        """

    def locate(self, name: str) -> str:
        """Where a person finds the file: a path or a URL."""


class StageState(StateStore, Protocol):
    """The state of a stage, which holds those of its tables."""

    def below(self, folder: str) -> StateStore:
        """What is in a folder at the top."""


class LocalStateStore:
    """State in a local directory: temporary file, fsync, rename; flock against other processes.

    Files are 0600 and directories 0700: some hold rows. What the operating system refuses is `StateUnavailable`.
    """

    def __init__(self, root: Path) -> None:
        self._root = root

    def read(self, name: str) -> Versioned | None:
        """See `StateStore.read`."""
        path = self._path(name)
        with _refusals(path), contextlib.suppress(FileNotFoundError):
            content = path.read_bytes()
            return Versioned(content, _version(content))
        return None

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """See `StateStore.write`."""
        path = self._path(name)
        with _refusals(path), self._locked(path.parent / ".write.lock", wait=True):
            if replacing is not None:
                current = self.read(name)
                if (current.version if current else ABSENT) != replacing:
                    raise replaced(str(path))
            # One name for the folder, whose lock is held: the next write overwrites what a killed process left.
            temporary = path.parent / ".new"
            try:
                descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
                with os.fdopen(descriptor, "wb") as file:
                    file.write(content)
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            except BaseException:
                temporary.unlink(missing_ok=True)
                raise
            self._sync_folder(path.parent)
        return _version(content)

    def append(self, name: str, content: bytes) -> None:
        """See `StateStore.append`."""
        path = self._path(name)
        with _refusals(path):
            self._make_folder(path.parent)
            # One write to a file opened for appending: lines of concurrent runs do not mix.
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            try:
                _append_whole(descriptor, content)
            finally:
                os.close(descriptor)

    def appender(self, file: AppendedFile) -> Appender:
        """See `StateStore.appender`."""

        def append(lines: bytes) -> None:
            self.append(file.name, lines)
            if file.keep:
                with contextlib.suppress(OSError):  # the lines are written, and a file that cannot be renamed grows on
                    self._rotate(self._path(file.name), file.keep)

        return Appender(self.locate(file.name), 0.0, append)

    def _rotate(self, path: Path, keep: int) -> None:
        # A process that has the file open under its old name continues in it: no line is lost.
        if path.stat().st_size < _LOG_BYTES:
            return
        with self._locked(path.parent / ".write.lock", wait=True):
            if path.stat().st_size < _LOG_BYTES:  # another process did it
                return
            for number in range(keep, 0, -1):
                earlier = path.with_name(f"{path.name}.{number - 1}") if number > 1 else path
                with contextlib.suppress(FileNotFoundError):
                    earlier.replace(path.with_name(f"{path.name}.{number}"))

    def list(self, prefix: str) -> "list[str]":
        """See `StateStore.list`."""
        folder = self._path(prefix)
        with _refusals(folder):
            return sorted(
                (Path(above) / name).relative_to(self._root).as_posix()
                for above, _folders, files in os.walk(folder, onerror=_raise_unless_absent)
                for name in files
                if not name.startswith(".")
            )

    def folders(self) -> Sequence[str]:
        """See `StateStore.folders`."""
        with _refusals(self._root), contextlib.suppress(FileNotFoundError):
            return sorted(entry.name for entry in self._root.iterdir() if entry.is_dir())
        return []

    def below(self, folder: str) -> "LocalStateStore":
        """See `StageState.below`."""
        return LocalStateStore(self._path(folder))

    def delete(self, name: str, replacing: str | None = None) -> None:
        """See `StateStore.delete`."""
        path = self._path(name)
        with _refusals(path), self._locked(path.parent / ".write.lock", wait=True):
            if replacing is not None and (current := self.read(name)) and current.version != replacing:
                raise replaced(str(path))
            path.unlink(missing_ok=True)

    def locate(self, name: str) -> str:
        """See `StateStore.locate`."""
        return str(self._path(name))

    @contextlib.contextmanager
    def exclusive(self, name: str) -> Iterator[Fence]:
        """See `StateStore.exclusive`; the kernel frees a dead process's lock."""
        path = self._path(name)
        with contextlib.ExitStack() as held:
            with _refusals(path):  # and not what the holder of the lock does with other files
                descriptor = held.enter_context(self._locked(path, wait=False))
                name_holder(descriptor)
            yield Fence(_FileLock(path, descriptor))

    @contextlib.contextmanager
    def _locked(self, path: Path, wait: bool) -> Iterator[int]:
        self._make_folder(path.parent)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            except BlockingIOError:
                raise busy(str(path), os.pread(descriptor, 4096, 0)) from None
            yield descriptor
        finally:
            os.close(descriptor)

    def _path(self, name: str) -> Path:
        relative = PurePosixPath(name)
        if relative.is_absolute() or ".." in relative.parts:
            raise ValueError(f"not a name of a state file: {name!r}")
        return self._root / relative

    def _make_folder(self, folder: Path) -> None:
        if not folder.is_dir():
            # Not parents=True: the folders above would get the default mode.
            self._make_folder(folder.parent)
            folder.mkdir(exist_ok=True, mode=0o700)

    @staticmethod
    def _sync_folder(folder: Path) -> None:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


class _FileLock:
    """A lock that the kernel keeps for as long as the process lives. It is lost with its file: who locks another one
    by the same name knows nothing of it.
    """

    def __init__(self, path: Path, descriptor: int) -> None:
        self._path = path
        self._locked = os.fstat(descriptor)

    def is_certain(self) -> bool:
        """See `fence.Lock`."""
        with contextlib.suppress(OSError):
            return os.path.samestat(self._locked, self._path.stat())
        return False

    def confirm(self) -> None:
        """See `fence.Lock`."""
        if not self.is_certain():
            raise replaced(str(self._path))


def _refusals(path: Path) -> contextlib.AbstractContextManager[None]:
    return refusals_as(StateUnavailable, path, "name another place by url in [state]")


def _append_whole(descriptor: int, content: bytes) -> None:
    """Write all of it, or nothing: half a line would spoil the next one too."""
    written = 0
    try:
        while written < len(content):
            written += os.write(descriptor, content[written:])
    except OSError:
        end = os.lseek(descriptor, 0, os.SEEK_CUR)
        if written and os.fstat(descriptor).st_size == end:
            os.ftruncate(descriptor, end - written)
        raise


def _raise_unless_absent(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def replaced(place: str) -> StateChanged:
    """The error for a file that another run has replaced or removed."""
    return StateChanged(
        f"{place} was replaced by another writer, or removed: this run must not go on. See by imgmig status whether "
        "another run works on the partition; if none does, give the same command again"
    )


def _version(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
