"""Server processes that outlive the process that started them, and how they are found again."""

import contextlib
import os
import random
import signal
import socket
import time
from contextlib import suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final, Protocol

from imgmig_dagster.errors import SandboxError

HOST: Final = "127.0.0.1"

# Only a hang takes this long: on a busy machine a server may need half a minute to start.
_PATIENCE_SECONDS: Final = 180.0
# How long to wait for the preferred port before another one is taken.
_PORT_PATIENCE_SECONDS: Final = 5.0
# Below the ports that Linux gives to outgoing connections: one of those may take a server's port while it restarts.
_PORTS: Final = range(20_000, 32_000)
_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.5


@dataclass(frozen=True)
class Listener:
    """A process, and the loopback port that it listens on."""

    pid: int
    port: int


class Service(Protocol):
    """One of the sandbox's servers."""

    @property
    def name(self) -> str:
        """What a person calls it."""

    @property
    def log(self) -> Path:
        """Where it writes its errors."""

    def find(self) -> Listener | None:
        """The process that an earlier call launched, if it is alive and still ours; it may not answer yet."""

    def launch(self, port: int) -> Listener:
        """Start it on that port; it need not answer yet. Raises `ServerDied` if it ends at once."""

    def stop(self) -> None:
        """End it if it runs."""

    def answers(self, listener: Listener) -> bool:
        """Whether the server speaks its protocol on its port."""


class ServerDied(SandboxError):
    """A server ended while it was starting: a port taken in the meantime, a predecessor still shutting down."""


def attach_or_start(service: Service, preferred_port: int | None) -> Listener:
    """The running server, or a new one, on `preferred_port` if that is free; it answers on return.

    A live process that does not answer is waited for and then reported, never replaced: a second server
    beside it would look empty. Raises `SandboxError` after three minutes without an answer.
    """
    found = service.find()
    if found:
        with suppress(ServerDied):  # it was about to end when it was found
            _wait_for_answer(service, found)
            return found
    for attempt in range(1, _ATTEMPTS + 1):
        port = _free_port(preferred_port)
        try:
            launched = service.launch(port)
            _wait_for_answer(service, launched)
        except ServerDied:
            if attempt == _ATTEMPTS:
                raise
            # Between choosing a port and binding it another process may take it. A killed PostgreSQL blocks a new one
            # until its children have released its shared memory, and init has reaped it: 2 s here, longer on a busy
            # machine.
            time.sleep(_PAUSE_SECONDS * attempt)
        else:
            return launched
    raise AssertionError("unreachable: the last attempt returns or raises")


def _wait_for_answer(service: Service, listener: Listener) -> None:
    deadline = time.monotonic() + _PATIENCE_SECONDS
    while not service.answers(listener):
        if not command_line(listener.pid):
            raise ServerDied(f"{service.name} ended while it was starting:\n{last_lines(service.log)}")
        if time.monotonic() > deadline:
            raise SandboxError(
                f"{service.name} (pid {listener.pid}) does not answer on {HOST}:{listener.port}; see {service.log}, "
                "then run `imgmig sandbox stop` and start it again"
            )
        time.sleep(0.02)


def command_line(pid: int) -> list[str]:
    """The arguments of a live process; empty if there is none, or only its zombie.

    A server is recognised by its command line, which names the sandbox's folder. A start time would change
    with every step of the clock, and a pid alone is reused.
    """
    import psutil  # type: ignore[import-untyped]

    try:
        return list(psutil.Process(pid).cmdline())
    except psutil.Error:
        return []


def kill(pid: int) -> None:
    """SIGKILL; returns when the process is dead. The caller has checked whose it is."""
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)
    # Not until the pid is gone: in a container the zombie may stay for seconds, or for ever.
    while command_line(pid):
        time.sleep(0.01)


def last_lines(log: Path, count: int = 15) -> str:
    """The end of a log file, for an error message; a note if there is none."""
    try:
        lines = log.read_text(errors="replace").splitlines()
    except OSError:
        lines = []
    return "\n".join(lines[-count:]) or f"(nothing in {log})"


def require(package: str) -> Path:
    """The folder of an installed package of the extra ``sandbox``, which is not imported: that has side effects."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise SandboxError(f"{package} is missing: the sandbox needs `pip install 'imgmig-dagster[sandbox]'`")
    return Path(spec.submodule_search_locations[0])


def _free_port(preferred: int | None) -> int:
    """`preferred` if it can be bound, else one that no outgoing connection is given before the server binds it."""
    deadline = time.monotonic() + _PORT_PATIENCE_SECONDS
    # A killed server's socket closes a moment after the process has vanished.
    while preferred and time.monotonic() < deadline:
        if _is_free(preferred):
            return preferred
        time.sleep(0.02)
    for port in random.sample(_PORTS, len(_PORTS)):
        if _is_free(port):
            return port
    raise SandboxError(f"no TCP port from {_PORTS.start} to {_PORTS.stop - 1} is free on {HOST}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # As the servers themselves do: connections of a predecessor in TIME_WAIT do not block the port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True
