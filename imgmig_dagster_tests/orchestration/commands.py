"""Runs the command line in processes of its own, forked from one that has imported everything already.

Each command is a real process: signals, exit codes, output and a death by SIGKILL are its own. What a fork saves is
the import of Dagster, two seconds a command.
"""

import contextlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import pytest

# It guards against a hang, and says nothing of speed: on a busy machine a command takes many times its usual time.
_PATIENCE_S = 300.0
MAIN = "from imgmig_dagster.cli import main; main()"


@dataclass(frozen=True)
class Finished:
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str

    @property
    def told(self) -> str:
        """Standard error, without what it says of deprecated variables."""
        return "".join(line for line in self.stderr.splitlines(keepends=True) if " is deprecated: " not in line)

    @property
    def document(self) -> dict[str, Any]:
        """The JSON document, which has to be all of standard output."""
        found: dict[str, Any] = json.loads(self.stdout)
        return found


Imgmig: TypeAlias = Callable[..., Finished]
"""Runs a command of `imgmig` with these arguments, to its end."""


@dataclass(frozen=True)
class Running:
    """A command that was started."""

    server: "CommandServer"
    pid: int
    stdout: Path
    stderr: Path

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def wait(self, patience_s: float = _PATIENCE_S) -> Finished:
        """Wait until it ends; kills it, and fails the test, after `patience_s` seconds."""
        exit_code = self.server.ask({"wait": self.pid, "patience_s": patience_s})
        output = self.stdout.read_text(), self.stderr.read_text()
        if exit_code is None:
            pytest.fail(f"the command did not end within {patience_s} s: {output}")
        return Finished(exit_code, *output)


class CommandServer:
    """Forks commands. Close it."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._count = 0
        self._lock = threading.Lock()
        self._process = subprocess.Popen(
            # Isolated (-I): neither the current directory nor PYTHON* variables reach the commands, as for an installed
            # script.
            [sys.executable, "-I", str(Path(__file__).with_name("command_server.py")), str(Path(__file__).parents[2])],
            # As bare as can be: what is imported here must not have read the environment.
            env={"PATH": os.environ["PATH"]},
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        assert self._read() == "ready\n"

    def start(
        self, *arguments: str, environment: Mapping[str, str], folder: Path | None = None, code: str = MAIN
    ) -> Running:
        """Start ``imgmig`` with these arguments and exactly this environment, or other code."""
        self._count += 1
        stdout, stderr = (self._folder / f"{self._count}.{name}" for name in ("stdout", "stderr"))
        pid = self.ask(
            {
                "arguments": arguments,
                "environment": {"PATH": os.environ["PATH"], **environment},
                "folder": str(folder or self._folder),
                "stdout": str(stdout),
                "stderr": str(stderr),
                "code": code,
            }
        )
        return Running(self, pid, stdout, stderr)

    def run(
        self, *arguments: str, environment: Mapping[str, str], folder: Path | None = None, code: str = MAIN
    ) -> Finished:
        """Run ``imgmig`` to its end."""
        return self.start(*arguments, environment=environment, folder=folder, code=code).wait()

    def ask(self, request: Mapping[str, Any]) -> Any:
        with self._lock:
            assert self._process.stdin
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
            return json.loads(self._read())

    def close(self) -> None:
        """End the server, and the commands that still run."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.close()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout=120)
        self._process.kill()
        self._process.wait()
        self._process.stdout.close()

    def _read(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline()


_SERVER_KEY = pytest.StashKey[CommandServer]()


def shared_server(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CommandServer:
    """The one server of the session, for the fixtures of several folders."""
    config = request.config
    if _SERVER_KEY not in config.stash:
        config.stash[_SERVER_KEY] = CommandServer(tmp_path_factory.mktemp("commands"))
        config.add_cleanup(config.stash[_SERVER_KEY].close)
    return config.stash[_SERVER_KEY]


def wait_until(holds: Any, patience_s: float = _PATIENCE_S) -> None:
    """Wait until a condition holds."""
    deadline = time.monotonic() + patience_s
    while not holds():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.01)


def free_port() -> int:
    """A port of loopback that nobody listens on, and that no outgoing connection gets."""
    while True:
        port = random.randrange(10_000, 20_000)
        with socket.socket() as opened, contextlib.suppress(OSError):
            opened.bind(("127.0.0.1", port))
            return port


def processes(parent: int | None = None, session: int | None = None) -> set[int]:
    """The living processes with this parent or of this session, from Linux's /proc."""
    found = set()
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except OSError:
            continue
        state, parent_pid, _group, session_id, *_ = rest.rpartition(") ")[2].split()
        if state != "Z" and (int(parent_pid) == parent or int(session_id) == session):
            found.add(int(pid))
    return found
