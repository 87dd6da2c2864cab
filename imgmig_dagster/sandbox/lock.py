"""The lock on a sandbox's folder: one process at a time changes the sandbox."""

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from imgmig_dagster.errors import SandboxError
from imgmig_dagster.files import refusals_as


@contextlib.contextmanager
def locked(root: Path) -> Iterator[None]:
    """Hold the lock on a file in the sandbox's folder; make the folder if it is missing.

    Raises:
        SandboxError: the folder cannot be used, or what is done in it is refused.
    """
    try:
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise SandboxError(
            f"the sandbox folder {root} cannot be used ({error.strerror}): "
            "if another user made it, delete it as that user, or set IMGMIG_SANDBOX_DIR to another folder"
        ) from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        with refusals_as(SandboxError, root, "set IMGMIG_SANDBOX_DIR to another folder"):
            yield
    finally:
        os.close(descriptor)
