"""Turns what the operating system refuses to do with a file into one line: the place, the cause, what to do."""

import errno
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from os import PathLike, strerror
from pathlib import Path
from typing import Final

from imgmig_dagster.errors import FilesUnavailable, ImgmigError

_FULL: Final = "free some space there"
_NOT_OURS: Final = "it, or a folder above it, belongs to another user, or is mounted noexec: work as that user"
_WRONG_KIND: Final = "there is a file where a folder should be, or a folder where a file should be: move it away"
_REMEDIES: Final = {
    errno.ENOSPC: _FULL,
    errno.EDQUOT: f"the quota is used up: {_FULL}",
    errno.EFBIG: "raise the limit of the size of files (ulimit -f)",
    errno.EACCES: _NOT_OURS,
    errno.EPERM: _NOT_OURS,
    errno.EROFS: "its file system is read-only: mount it with write access",
    errno.ENOENT: "a folder above it is missing: make it",
    errno.ENOTDIR: _WRONG_KIND,
    errno.EISDIR: _WRONG_KIND,
    errno.EEXIST: _WRONG_KIND,
    errno.ENAMETOOLONG: "its name is too long",
    errno.ELOOP: "a symbolic link there leads nowhere or in a circle: remove it",
    errno.EBADMSG: "it is damaged: move it away, or bring it back from a backup",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "too many files are open on this machine: end other programs",
}
_NAME: Final = "check its name, and the current directory"
_ANY: Final = "see what is wrong with the disk"
# SQLite gives no errno, and Python 3.10 no error code: SQLite's messages, and what they mean for our own file.
_SQLITE: Final = {
    "database or disk is full": errno.ENOSPC,
    "attempt to write a readonly database": errno.EACCES,
    "unable to open database file": errno.EACCES,
    "database disk image is malformed": errno.EBADMSG,
    "file is not a database": errno.EBADMSG,
}


@contextmanager
def refusals_as(
    kind: type[ImgmigError], place: PathLike[str] | str, otherwise: str, reads: bool = False
) -> Iterator[None]:
    """Raise one of our errors for what the operating system, or SQLite, refuses in this context.

    `place` is named where the refusal names none; `otherwise` is another remedy. `reads` is as in `refusal`.
    """
    try:
        yield
    except (OSError, sqlite3.Error) as error:
        if isinstance(error, (ConnectionError, TimeoutError)):
            raise  # not about a file
        raise kind(f"{refusal(error, place, reads)}, or {otherwise}. Then give the same command again") from None


@contextmanager
def scratch_folder(prefix: str) -> Iterator[Path]:
    """A folder for files that are deleted at the end of the context.

    Raises:
        FilesUnavailable: no temporary folder can be written. For what is refused later see `in_scratch`.
    """
    with ExitStack() as made:
        with in_scratch("the temporary folder"):
            folder = made.enter_context(tempfile.TemporaryDirectory(prefix=prefix, ignore_cleanup_errors=True))
        yield Path(folder)


def in_scratch(place: PathLike[str] | str) -> AbstractContextManager[None]:
    """Raises what is refused of a temporary file as our error."""
    return refusals_as(FilesUnavailable, place, "name another folder by TMPDIR")


def refusal(error: OSError | sqlite3.Error, place: PathLike[str] | str | None = None, reads: bool = False) -> str:
    """What was refused, where, and what to do about it; `reads`: it is a file that the user named for reading."""
    if isinstance(error, sqlite3.Error):
        number, named = _SQLITE.get(str(error)), None
        what = str(error) if number else type(error).__name__
    else:
        number, named = error.errno, error.filename
        what = strerror(number) if number is not None else type(error).__name__
    where = named if isinstance(named, str) else place
    remedy = _NAME if reads and number == errno.ENOENT else _REMEDIES.get(number or 0, _ANY)
    if reads:
        return f"{where or 'a file'} cannot be read: {what}; {remedy}"
    return f"{where or 'a file'} cannot be used ({what}): {remedy}"
