"""A backfill as the UI launches one, from the daemon's queue."""

import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final

import requests

from benchmarks.before import Version

_ASSETS: Final = ("source_images", "migrated_images")
_READY_WITHIN_S: Final = 120
_ENDED_WITHIN_S: Final = 1_200
_LAUNCH: Final = """mutation($parameters: LaunchBackfillParams!) {
    launchPartitionBackfill(backfillParams: $parameters) {
        __typename ... on LaunchBackfillSuccess { backfillId } ... on PythonError { message } } }"""
_STATUS: Final = """query($id: String!) {
    partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""


@contextmanager
def user_interface(version: Version) -> Iterator[str]:
    """`imgmig ui` over a version's sandbox, with its daemon; gives its URL."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command, environment = version.command("ui", "--port", str(port)), version.environment()
    server = subprocess.Popen(
        command, env=environment, cwd=version.sandbox.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        _wait_until_ready(url, server)
        yield url
    finally:
        server.send_signal(signal.SIGTERM)
        server.wait(timeout=60)


def seconds_of_backfill(url: str, partitions: Sequence[str]) -> float:
    """Launch `migrate`'s assets for these partitions, and wait until all of them have succeeded."""
    started = time.monotonic()
    assets = [{"path": [name]} for name in _ASSETS]
    launched = _graphql(url, _LAUNCH, {"parameters": {"assetSelection": assets, "partitionNames": partitions}})
    reply = launched["launchPartitionBackfill"]
    if "backfillId" not in reply:
        raise RuntimeError(f"the backfill was refused: {reply}")
    while time.monotonic() - started < _ENDED_WITHIN_S:
        status = _graphql(url, _STATUS, {"id": reply["backfillId"]})["partitionBackfillOrError"]["status"]
        if status == "COMPLETED_SUCCESS":
            return time.monotonic() - started
        if status not in ("REQUESTED", "COMPLETING", "IN_PROGRESS"):
            raise RuntimeError(f"the backfill ended as {status}")
        time.sleep(0.25)
    raise RuntimeError(f"the backfill did not end within {_ENDED_WITHIN_S} s")


def _wait_until_ready(url: str, server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + _READY_WITHIN_S
    while server.poll() is None and time.monotonic() < deadline:
        try:
            requests.get(f"{url}/server_info", timeout=2).raise_for_status()
        except requests.RequestException:
            time.sleep(0.2)
        else:
            return
    raise RuntimeError("imgmig ui did not come up")


def _graphql(url: str, query: str, variables: Mapping[str, Any]) -> Any:
    reply = requests.post(f"{url}/graphql", json={"query": query, "variables": variables}, timeout=30)
    found = reply.json()
    if found.get("errors"):
        raise RuntimeError(f"Dagster refused a query: {found['errors']}")
    return found["data"]
