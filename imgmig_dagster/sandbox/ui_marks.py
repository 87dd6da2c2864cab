"""Which of Dagster's UIs use the sandbox: each holds a file for as long as its process lives, however that ends."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def marked(root: Path, port: int) -> Iterator[None]:
    """Mark that the UI on this port of loopback uses the sandbox in this folder."""
    root.mkdir(parents=True, exist_ok=True)
    path = root / f"ui-{port}.lock"
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        try:
            yield
        finally:
            path.unlink(missing_ok=True)


def uis_on(root: Path) -> list[str]:
    """The addresses of the UIs that use the sandbox in this folder now."""
    return [f"http://127.0.0.1:{path.stem.removeprefix('ui-')}" for path in root.glob("ui-*.lock") if _is_held(path)]


def _is_held(path: Path) -> bool:
    with contextlib.suppress(FileNotFoundError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False
