"""ministack's server, in a process of its own: an emulator of DynamoDB that refuses what DynamoDB refuses.

It pins botocore, and so lives in a virtual environment of its own, which the Makefile makes from a lock file.
"""

import contextlib
import http.client
import os
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
_ENVIRONMENT: Final = Path(__file__).parents[1] / ".venv-ministack"
_START_SECONDS: Final = 300


class NotStartedError(Exception):
    """ministack is not installed, or does not start; the message says which."""


@contextlib.contextmanager
def ministack(folder: Path) -> Iterator[str]:
    """The server's URL. It keeps its log in `folder`, and no data anywhere.

    Raises:
        NotStartedError: see there.
    """
    python = _ENVIRONMENT / "bin" / "python"
    if not (_ENVIRONMENT / "installed").exists():
        raise NotStartedError("ministack is not installed: make .venv-ministack/installed")
    port = _free_port()
    environment = {
        "PATH": os.defpath,
        "HOME": str(folder),
        "TMPDIR": str(folder),
        # It listens on all interfaces unless told otherwise.
        "BIND_HOST": HOST,
        "GATEWAY_PORT": str(port),
        "SERVICES": "dynamodb",
        "LOG_LEVEL": "ERROR",
        "DOCKER_HOST": "unix:///nonexistent",
    }
    with (folder / "ministack.log").open("w") as log:
        process = subprocess.Popen([python, "-m", "ministack"], env=environment, cwd=folder, stdout=log, stderr=log)
        try:
            _wait_for(port, process)
            yield f"http://{HOST}:{port}"
        finally:
            process.terminate()
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _wait_for(port: int, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while process.poll() is None and time.monotonic() < deadline:
        connection = http.client.HTTPConnection(HOST, port, timeout=30)
        try:
            connection.request("GET", "/_ministack/health")
            connection.getresponse()
        except (OSError, http.client.HTTPException):
            time.sleep(0.1)
        else:
            return
        finally:
            connection.close()
    raise NotStartedError(f"ministack does not answer on port {port}")


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])
