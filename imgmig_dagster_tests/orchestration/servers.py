"""Dagster's own programs, as processes of a test's."""

import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imgmig_dagster_tests.orchestration.commands import processes, wait_until


def program(*arguments: str) -> list[str]:
    """A program of this environment, with its arguments."""
    name, *options = arguments
    return [str(Path(sys.executable).with_name(name)), *options]


@contextmanager
def running(command: list[str], environment: dict[str, str], log: Path, port: int | None = None) -> Iterator[int]:
    """A server in a session of its own, which SIGTERM has to end with all that it started.

    With `port`, the context begins once it listens there.
    """
    with log.open("w") as opened:
        server = subprocess.Popen(
            command, env=environment, stdin=subprocess.DEVNULL, stdout=opened, stderr=opened, start_new_session=True
        )
    try:
        if port is not None:
            wait_until(lambda: listens(port))
        yield server.pid
        server.terminate()
        server.wait(timeout=300)
        wait_until(lambda: not processes(session=server.pid))
    finally:
        for pid in processes(session=server.pid):
            os.kill(pid, signal.SIGKILL)
        server.wait()


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0
