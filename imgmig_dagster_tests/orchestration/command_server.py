"""The program behind `commands.CommandServer`: imports everything, and forks a process for each command.

It reads requests, one JSON a line, from standard input: to start a command, or to wait for one.
"""

import atexit
import gc
import importlib
import json
import os
import signal
import sys
import threading
import time
from typing import Any

# What a command would import first.
_IMPORTED = (
    "dagster_postgres.run_storage",
    "dagster_postgres.event_log",
    "dagster_postgres.schedule_storage",
    "imgmig_dagster.cli.stage_session",
    "imgmig_dagster.local_runs.runner",
    "imgmig_dagster.defs.build",
    "imgmig_dagster.reporting.render",
    "matplotlib.figure",
    "matplotlib.backends.backend_svg",
)


def serve(checkout: str) -> None:
    # The code under test is the checkout that the tests are of.
    sys.path.insert(0, checkout)
    for name in _IMPORTED:
        importlib.import_module(name)
    gc.freeze()
    answer("ready")
    running: set[int] = set()
    for line in sys.stdin:
        request = json.loads(line)
        if "wait" in request:
            pid = request["wait"]
            exit_code = wait(pid, request["patience_s"])
            if exit_code is None:
                end(pid)
            running.discard(pid)
            answer(json.dumps(exit_code))
        elif pid := os.fork():
            running.add(pid)
            answer(str(pid))
        else:
            become(request)
    for pid in running:
        end(pid)


def answer(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def wait(pid: int, patience_s: float) -> int | None:
    """The exit code of a process, None if it does not end in time."""
    deadline = time.monotonic() + patience_s
    while time.monotonic() < deadline:
        found, status = os.waitpid(pid, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.005)
    return None


def end(pid: int) -> None:
    # Politely at first: `imgmig ui` has a session of its own to end.
    os.kill(pid, signal.SIGTERM)
    if wait(pid, 60) is None:
        os.killpg(pid, signal.SIGKILL)
        wait(pid, 60)


def become(request: dict[str, Any]) -> None:
    """Turn this process into the command that was asked for."""
    os.setsid()
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["folder"])
    for descriptor, name in enumerate(("/dev/null", request["stdout"], request["stderr"])):
        opened = os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    sys.argv = ["imgmig", *request["arguments"]]
    run(request["code"])


def run(code: str) -> None:
    # To the end as Python would, but for taking apart all that was imported: a tenth of a second a command.
    exit_code: Any = 0
    try:
        exec(code, {"__name__": "__main__"})  # noqa: S102
    except SystemExit as ended:
        exit_code = ended.code or 0
    except BaseException:
        sys.excepthook(*sys.exc_info())
        exit_code = 1
    try:
        threading._shutdown()  # type: ignore[attr-defined]
        atexit._run_exitfuncs()
        sys.stdout.flush()
        sys.stderr.flush()
    except Exception:
        sys.excepthook(*sys.exc_info())
        exit_code = 120
    os._exit(exit_code)


if __name__ == "__main__":
    serve(sys.argv[1])
