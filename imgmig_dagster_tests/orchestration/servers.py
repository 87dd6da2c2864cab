"""Dagster's own programs, as processes of a test's."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.request import Request, urlopen

from imgmig_dagster_tests.orchestration.commands import free_port, processes, wait_until

LAUNCHES_AT_ONCE: Final = json.dumps(
    {
        "run_coordinator": {"module": "dagster.core.run_coordinator", "class": "DefaultRunCoordinator"},
        "telemetry": {"enabled": False},
    }
)
"""The `dagster.yaml` of an instance without a queue, whose web server launches by itself."""


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


@contextmanager
def web_server(environment: dict[str, str], folder: Path) -> Iterator[Callable[[str], dict[str, Any]]]:
    """Dagster's UI over our code location; yields what asks it by GraphQL, as its pages do."""
    code, web = free_port(), free_port()
    workspace = folder / "workspace.yaml"
    workspace.write_text(
        f"load_from: [{{grpc_server: {{host: 127.0.0.1, port: {code}, location_name: imgmig_dagster}}}}]\n"
    )
    server = program(*f"dagster code-server start -h 127.0.0.1 -p {code} -m imgmig_dagster.definitions -a defs".split())
    ui = program(*f"dagster-webserver -h 127.0.0.1 -p {web} -w".split(), str(workspace))

    def graphql(query: str) -> dict[str, Any]:
        url, body = f"http://127.0.0.1:{web}/graphql", json.dumps({"query": query}).encode()
        with urlopen(Request(url, body, {"Content-Type": "application/json"}), timeout=300) as reply:
            found: dict[str, Any] = json.load(reply)["data"]
            return found

    with (
        running(server, environment, folder / "code.log", code),
        running(ui, environment, folder / "web.log", web),
    ):
        yield graphql


def listens(port: int) -> bool:
    with socket.socket() as attempt:
        return attempt.connect_ex(("127.0.0.1", port)) == 0
