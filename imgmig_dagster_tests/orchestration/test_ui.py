"""``imgmig ui``: Dagster's UI comes up, and nothing of it is left behind."""

import json
import os
import signal
import socket
from pathlib import Path
from typing import Any
from urllib.error import URLError
from urllib.request import Request, urlopen

from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.commands import CommandServer, free_port, processes, wait_until

LOADED = """{ workspaceOrError { ... on Workspace { locationEntries {
    name loadStatus locationOrLoadError { __typename ... on RepositoryLocation {
        repositories { assetNodes { id } jobs { name } schedules { name } } } } } } } }"""


def answers(url: str) -> bool:
    try:
        with urlopen(f"{url}/server_info", timeout=30) as reply:  # noqa: S310  # our own http
            return "dagster_webserver_version" in json.load(reply)
    except (URLError, OSError):
        return False


def graphql(url: str, query: str) -> dict[str, Any]:
    request = Request(  # noqa: S310
        f"{url}/graphql", json.dumps({"query": query}).encode(), headers={"Content-Type": "application/json"}
    )
    with urlopen(request, timeout=120) as reply:  # noqa: S310
        found: dict[str, Any] = json.load(reply)["data"]
        return found


def test_the_ui_comes_up_with_the_definitions_and_sigterm_ends_all_of_it(
    commands: CommandServer, services: Services, tmp_path: Path
) -> None:
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # A company's proxy knows nothing of this machine's loopback.
    proxies = {f"{scheme}_proxy": "http://127.0.0.1:9" for scheme in ("http", "https", "grpc")}
    environment = {"IMGMIG_SANDBOX_DIR": str(services.sandbox.root), **proxies}
    command = commands.start("ui", "--port", str(port), environment=environment, folder=tmp_path)
    wait_until(lambda: answers(url))
    (location,) = graphql(url, LOADED)["workspaceOrError"]["locationEntries"]
    assert (location["name"], location["loadStatus"]) == ("imgmig_dagster", "LOADED")
    (repository,) = location["locationOrLoadError"]["repositories"]
    assert len(repository["assetNodes"]) == 11
    assert {"migrate", "verify"} <= {job["name"] for job in repository["jobs"]}
    wait_until(lambda: f"Dagster's UI for stage dev: {url}" in command.stdout.read_text())

    (dagster_dev,) = processes(parent=command.pid)
    try:
        assert len(processes(session=dagster_dev)) > 2, "the web server, the daemon, the code server"
        command.send(signal.SIGTERM)
        finished = command.wait()
        assert finished.exit_code == 0
        assert "Traceback" not in finished.stderr
        assert processes(session=dagster_dev) == set()
    finally:
        for pid in processes(session=dagster_dev):
            os.kill(pid, signal.SIGKILL)
    assert not answers(url)
    assert services.sandbox.status().postgres_running, "the sandbox stays"


def test_a_port_that_is_taken_is_refused_at_once(commands: CommandServer, services: Services, tmp_path: Path) -> None:
    environment = {"IMGMIG_SANDBOX_DIR": str(services.sandbox.root)}
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        finished = commands.run("ui", "--port", str(port), environment=environment, folder=tmp_path)
    assert finished.exit_code == 3
    assert f"port {port} cannot be used (Address already in use); choose another by --port" in finished.stderr
