"""A run over many partitions that a person launches, terminates and re-executes in Dagster's UI."""

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster_tests.arrange import row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, holds
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import wait_until
from imgmig_dagster_tests.orchestration.servers import LAUNCHES_AT_ONCE, web_server

ENDED = {dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED}
LAUNCHED = "{ __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } }"
LAUNCH = f"""mutation {{ launchRun(executionParams: {{
    selector: {{repositoryLocationName: "imgmig_dagster", repositoryName: "__repository__", jobName: "migrate"}},
    executionMetadata: {{tags: [
        {{key: "dagster/asset_partition_range_start", value: "{FEBRUARY}"}},
        {{key: "dagster/asset_partition_range_end", value: "{APRIL}"}}]}}}}) {LAUNCHED} }}"""
TERMINATE = 'mutation { terminateRun(runId: "%s") { __typename } }'
FROM_FAILURE = f"""mutation {{ launchRunReexecution(reexecutionParams: {{
    parentRunId: "%s", strategy: FROM_FAILURE}}) {LAUNCHED} }}"""


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

    def _status(self, run_id: str) -> dg.DagsterRunStatus:
        run = self._instance.get_run_by_id(run_id)
        assert run
        return run.status


@pytest.fixture
def ui(platform: Platform, proxy: FaultProxy, tmp_path: Path) -> Iterator[Ui]:
    """The UI over three partitions of three images."""
    for month in (2, 3, 4):
        platform.source.insert(images_of(month, range(10 * month, 10 * month + 3)))
    home = tmp_path / "dagster_home"
    home.mkdir()
    (home / "dagster.yaml").write_text(LAUNCHES_AT_ONCE)
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
