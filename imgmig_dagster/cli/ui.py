"""``imgmig ui``: Dagster's UI, and the daemon that runs backfills and schedules, on loopback."""

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Final
from urllib.error import URLError
from urllib.request import ProxyHandler, build_opener

import typer

from imgmig_dagster.cli.console import Output
from imgmig_dagster.cli.options import StageOption
from imgmig_dagster.cli.options import chosen as chosen_stage
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.files import in_scratch, scratch_folder
from imgmig_dagster.sandbox.attaching import attach
from imgmig_dagster.sandbox.ui_marks import marked
from imgmig_dagster.stage.config import child_environment, dagster_home, load_settings, sandbox_root, uses_sandbox
from imgmig_dagster.stage.dagster_home import check_dagster_home
from imgmig_dagster.stage.stages import Stage

_HOST: Final = "127.0.0.1"
_READY_WITHIN_S: Final = 120
# As workspace.yaml in the checkout, but for an installed package and any current directory.
_WORKSPACE: Final = """load_from:
  - python_module:
      module_name: imgmig_dagster.definitions
      attribute: defs
      location_name: imgmig_dagster
"""


class UiFailed(ImgmigError):
    """Dagster's UI ended unexpectedly, or does not answer."""

    exit_code = 3


def ui(
    stage: StageOption = None,
    port: Annotated[int, typer.Option("--port", min=1, max=65_535, help="Port on 127.0.0.1.")] = 3_000,
) -> None:
    """Start Dagster's UI on 127.0.0.1, and the sandbox if the stage uses it; Ctrl-C ends the UI."""
    chosen = chosen_stage(stage)
    attach(chosen)
    load_settings(chosen)
    home = dagster_home(chosen)
    check_dagster_home(home, chosen)
    _check_free(port)
    from imgmig_dagster.local_runs.instance import open_instance

    # This reports a fault of the instance in one line; `dagster dev` would need forty.
    with open_instance(home):
        pass
    output = Output(json=False)
    with scratch_folder("imgmig-ui-") as folder:
        workspace = folder / "workspace.yaml"
        with in_scratch(workspace):
            workspace.write_text(_WORKSPACE, encoding="utf-8")
        marking = marked(sandbox_root(), port) if uses_sandbox(chosen) else nullcontext()
        with marking:
            _serve(chosen, port, workspace, output)


def _check_free(port: int) -> None:
    # dagster dev lives on without its web server, and another one on this port would answer in its place.
    with socket.socket() as attempt:
        attempt.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            attempt.bind((_HOST, port))
        except OSError as error:
            raise UiFailed(f"port {port} cannot be used ({error.strerror}); choose another by --port") from None


def _serve(stage: Stage, port: int, workspace: Path, output: Output) -> None:
    options = {
        "--workspace": str(workspace),
        "--host": _HOST,
        "--port": str(port),
        "--log-level": "warning",
        "--code-server-log-level": "warning",
    }
    server = subprocess.Popen(  # noqa: S603
        [sys.executable, "-m", "dagster", "dev", *(word for option in options.items() for word in option)],
        env=child_environment(stage),
        stdin=subprocess.DEVNULL,
        # A session of its own: the terminal's Ctrl-C reaches this process alone, which then ends the whole group.
        start_new_session=True,
        preexec_fn=_restore_signals,
    )
    try:
        _wait_until_ready(server, port)
        url = f"http://{_HOST}:{port}"
        output.say(f"Dagster's UI for stage {stage.value}: {url}  (Ctrl-C ends it)")
        output.say(f"Look first at {url}/assets: migration_report has the verdict, verification_report each partition")
        if code := server.wait():
            raise UiFailed(f"dagster dev ended with code {code}; its messages are above")
    except KeyboardInterrupt:
        output.say("Stopping ...")
    finally:
        _end_group(server)


def _restore_signals() -> None:
    # A script's background processes ignore these signals, and `dagster dev` would never end.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)


def _wait_until_ready(server: subprocess.Popen[bytes], port: int) -> None:
    direct = build_opener(ProxyHandler({}))  # no proxy knows this machine's loopback
    deadline = time.monotonic() + _READY_WITHIN_S
    while time.monotonic() < deadline:
        if server.poll() is not None:
            raise UiFailed(f"dagster dev ended with code {server.returncode}; its messages are above")
        try:
            with direct.open(f"http://{_HOST}:{port}/server_info", timeout=2):
                return
        except (URLError, OSError):
            time.sleep(0.2)
    raise UiFailed(f"Dagster's UI did not answer on port {port} within {_READY_WITHIN_S} s")


def _end_group(server: subprocess.Popen[bytes]) -> None:
    """End the server and its children: politely, then firmly."""
    for number, patience_s in ((signal.SIGINT, 15.0), (signal.SIGTERM, 5.0), (signal.SIGKILL, 5.0)):
        try:
            os.killpg(server.pid, number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + patience_s
        while time.monotonic() < deadline:
            server.poll()
            try:
                os.killpg(server.pid, 0)
            except ProcessLookupError:
                return
            time.sleep(0.1)
