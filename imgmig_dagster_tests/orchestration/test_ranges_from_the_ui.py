"""A run over many partitions that a person launches, terminates and re-executes in Dagster's UI."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster_tests.arrange import row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, holds
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, dagster_home, images_of
from imgmig_dagster_tests.orchestration.commands import wait_until
from imgmig_dagster_tests.orchestration.servers import LAUNCHES_AT_ONCE, web_server

ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
LAUNCHED = "{ __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }"
SHOWN = """{ assetNodeOrError(assetKey: {path: ["%s"]}) { ... on AssetNode {
    assetPartitionStatuses { ... on TimePartitionStatuses { ranges { status startKey endKey } } }
    assetChecksOrError { ... on AssetChecks { checks {
        name partitionStatuses { ... on AssetCheckTimePartitionStatuses { ranges { status startKey endKey } } } } } }
} } }"""
TERMINATE = 'mutation { terminateRun(runId: "%s") { __typename } }'
FROM_FAILURE = f"""mutation {{ launchRunReexecution(reexecutionParams: {{
    parentRunId: "%s", strategy: FROM_FAILURE}}) {LAUNCHED} }}"""


def launch_of(job: str, first: str, last: str) -> str:
    """Launches a run over these partitions, as the Launchpad does."""
    return f"""mutation {{ launchRun(executionParams: {{
        selector: {{repositoryLocationName: "imgmig_dagster", repositoryName: "__repository__", jobName: "{job}"}},
        executionMetadata: {{tags: [
            {{key: "dagster/asset_partition_range_start", value: "{first}"}},
            {{key: "dagster/asset_partition_range_end", value: "{last}"}}]}}}}) {LAUNCHED} }}"""


LAUNCH = launch_of("migrate", FEBRUARY, APRIL)


class Ui:
    """Dagster's UI over a stage, and what its runs did."""

    def __init__(self, graphql: Callable[[str], dict[str, Any]], instance: dg.DagsterInstance) -> None:
        self._graphql, self._instance = graphql, instance

    def launch(self, mutation: str) -> str:
        """Launch a run; returns its id."""
        (launched,) = self._graphql(mutation).values()
        assert launched["__typename"] == "LaunchRunSuccess", launched
        return str(launched["run"]["runId"])

    def terminate(self, run_id: str) -> None:
        assert self._graphql(TERMINATE % run_id)["terminateRun"]["__typename"] == "TerminateRunSuccess"

    def end_of(self, run_id: str) -> dg.DagsterRunStatus:
        """How the run ended, once it did."""
        wait_until(lambda: self._status(run_id) in ENDED)
        return self._status(run_id)

    def migrated(self) -> set[str]:
        return set(self._instance.get_materialized_partitions(dg.AssetKey("migrated_images")))

    def why_steps_failed(self, run_id: str) -> list[str | None]:
        """The class of the error that ended each step."""
        events = [entry.get_dagster_event() for entry in self._instance.all_logs(run_id) if entry.is_dagster_event]
        errors = [each.step_failure_data.error for each in events if each.is_step_failure]
        return [error.cls_name for error in errors if error]

    def shown(self, asset: str, check: str) -> list[list[list[str]]]:
        """What the Partitions tabs of an asset and of one of its checks show: status, first and last partition."""
        found = self._graphql(SHOWN % asset)["assetNodeOrError"]
        checks = {each["name"]: each["partitionStatuses"] for each in found["assetChecksOrError"]["checks"]}
        return [
            [[each["status"], each["startKey"], each["endKey"]] for each in statuses["ranges"]]
            for statuses in (found["assetPartitionStatuses"], checks[check])
        ]

    def _status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self._instance.get_run_by_id(run_id)
        assert run
        return run.status


@pytest.fixture
def ui(platform: Platform, proxy: FaultProxy, tmp_path: Path) -> Iterator[Ui]:
    """The UI over three partitions of three images."""
    for month in (2, 3, 4):
        platform.source.insert(images_of(month, range(10 * month, 10 * month + 3)))
    home = dagster_home(tmp_path / "dagster_home", LAUNCHES_AT_ONCE)
    platform.through(proxy.url)
    platform.set(DAGSTER_HOME=str(home))
    with (
        dg.DagsterInstance.from_config(str(home)) as instance,
        web_server(platform.environment, tmp_path) as graphql,
    ):
        yield Ui(graphql, instance)


def written(proxy: FaultProxy, before: int) -> set[str]:
    """The ids of the items that were written since."""
    return {row for call in proxy.calls[before:] if call.operation == "BatchWriteItem" for row in call.ids}


def test_a_terminated_range_keeps_its_finished_partitions_and_a_re_execution_does_the_others(
    ui: Ui, platform: Platform, proxy: FaultProxy
) -> None:
    go_on = threading.Event()
    proxy.before(lambda: go_on.wait(300), "BatchWriteItem", when=holds(row_id(30)))
    run_id = ui.launch(LAUNCH)
    wait_until(lambda: ui.migrated() == {FEBRUARY, APRIL})
    ui.terminate(run_id)
    go_on.set()
    assert ui.end_of(run_id) is dg.DagsterRunStatus.CANCELED
    assert ui.migrated() == {FEBRUARY, APRIL}

    assert ui.end_of(ui.launch(FROM_FAILURE % run_id)) is dg.DagsterRunStatus.SUCCESS
    assert ui.migrated() == {FEBRUARY, MARCH, APRIL}
    assert len(platform.target.items()) == 9


def test_a_terminated_range_shows_where_it_broke_off_and_leaves_what_it_did_not_begin(
    ui: Ui, platform: Platform, proxy: FaultProxy
) -> None:
    march, june, july, august = (f"2024-{month:02}-01" for month in (3, 6, 7, 8))
    for month in (5, 6, 7):
        platform.source.insert(images_of(month, range(10 * month, 10 * month + 3)))
    for launch in (launch_of("migrate", FEBRUARY, july), launch_of("verify", july, july)):
        assert ui.end_of(ui.launch(launch)) is dg.DagsterRunStatus.SUCCESS
    go_on, calls = threading.Event(), len(proxy.of("BatchGetItem"))
    proxy.before(lambda: go_on.wait(300), "BatchGetItem", times=4, when=lambda call: row_id(20) not in call.ids)

    run_id = ui.launch(launch_of("verify", FEBRUARY, august))
    wait_until(lambda: len(proxy.of("BatchGetItem")) - calls == 5)
    ui.terminate(run_id)
    go_on.set()
    assert ui.end_of(run_id) is dg.DagsterRunStatus.CANCELED
    done, verified_before = [FEBRUARY, FEBRUARY], [july, july]
    asset, check = ui.shown("verification_report", "zero_mismatches")
    assert asset == [["MATERIALIZED", *done], ["FAILED", march, june], ["MATERIALIZED", *verified_before]]
    assert check == [["SUCCEEDED", *done], ["SKIPPED", march, june], ["SUCCEEDED", *verified_before]]
    assert ui.why_steps_failed(run_id) == ["DagsterExecutionInterruptedError"]


def test_a_re_execution_from_failure_writes_only_what_is_not_done(
    ui: Ui, platform: Platform, proxy: FaultProxy
) -> None:
    platform.state.write(f"{MARCH}/migration-progress.json", b"{torn")
    run_id = ui.launch(LAUNCH)
    assert ui.end_of(run_id) is dg.DagsterRunStatus.FAILURE
    assert ui.migrated() == {FEBRUARY, APRIL}
    platform.state.delete(f"{MARCH}/migration-progress.json")

    before = len(proxy.calls)
    assert ui.end_of(ui.launch(FROM_FAILURE % run_id)) is dg.DagsterRunStatus.SUCCESS
    assert ui.migrated() == {FEBRUARY, MARCH, APRIL}
    assert written(proxy, before) == {row_id(number) for number in (30, 31, 32)}
    assert len(platform.target.items()) == 9
