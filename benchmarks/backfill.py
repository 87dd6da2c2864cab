"""Many partitions as the UI launches them: as a backfill, or as one run from the Launchpad."""

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
_BACKFILL: Final = """mutation($parameters: LaunchBackfillParams!) {
    launch: launchPartitionBackfill(backfillParams: $parameters) {
        __typename ... on LaunchBackfillSuccess { id: backfillId } ... on PythonError { message } } }"""
_STATUS_OF_BACKFILL: Final = """query($id: String!) {
    found: partitionBackfillOrError(backfillId: $id) { ... on PartitionBackfill { status } } }"""
_RUN: Final = """mutation($parameters: ExecutionParams!) {
    launch: launchRun(executionParams: $parameters) {
        __typename ... on LaunchRunSuccess { run { id } } ... on PythonError { message } } }"""
_STATUS_OF_RUN: Final = "query($id: ID!) { found: runOrError(runId: $id) { ... on Run { status } } }"
_SUCCEEDED: Final = ("COMPLETED_SUCCESS", "SUCCESS")
_GOES_ON: Final = ("REQUESTED", "COMPLETING", "IN_PROGRESS", "QUEUED", "NOT_STARTED", "STARTING", "STARTED")


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
    """Launch a backfill of `migrate`'s assets for these partitions, and wait until Dagster says that it succeeded."""
    assets = [{"path": [name]} for name in _ASSETS]
    return _seconds(url, _BACKFILL, {"assetSelection": assets, "partitionNames": partitions}, _STATUS_OF_BACKFILL)


def seconds_of_one_run(url: str, partitions: Sequence[str]) -> float:
    """Launch the job `migrate` for these adjoining partitions, as its page's link does, and wait until it succeeded."""
    ends = {"start": partitions[0], "end": partitions[-1]}
    tags = [{"key": f"dagster/asset_partition_range_{end}", "value": key} for end, key in ends.items()]
    job = {"repositoryLocationName": "imgmig_dagster", "repositoryName": "__repository__", "jobName": "migrate"}
    parameters = {"selector": job, "runConfigData": {}, "executionMetadata": {"tags": tags}}
    return _seconds(url, _RUN, parameters, _STATUS_OF_RUN)


def _seconds(url: str, launch: str, parameters: Mapping[str, Any], status_of: str) -> float:
    started = time.monotonic()
    launched = _graphql(url, launch, {"parameters": parameters})["launch"]
    found = launched.get("run", launched)
    if "id" not in found:
        raise RuntimeError(f"the launch was refused: {launched}")
    while time.monotonic() - started < _ENDED_WITHIN_S:
        status = _graphql(url, status_of, {"id": found["id"]})["found"]["status"]
        if status in _SUCCEEDED:
            return time.monotonic() - started
        if status not in _GOES_ON:
            raise RuntimeError(f"it ended as {status}")
        time.sleep(0.25)
    raise RuntimeError(f"it did not end within {_ENDED_WITHIN_S} s")


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
