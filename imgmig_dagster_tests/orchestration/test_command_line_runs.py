"""Runs that the command line executes, as Dagster's other processes see them: monitored, re-executed, found dead."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.tags import TAGS_TO_MAYBE_OMIT_ON_RETRY
from dagster._core.workspace.context import WorkspaceProcessContext
from dagster._core.workspace.load_target import EmptyWorkspaceTarget
from dagster._daemon.monitoring.run_monitoring import execute_run_monitoring_iteration

from imgmig_dagster.local_runs.instance import InstanceUnavailable
from imgmig_dagster.local_runs.invocation import Heart, Invocation, Lifeline, fail_dead_runs
from imgmig_dagster.local_runs.runner import JobRunner
from imgmig_dagster_tests.arrange import access, image
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform, dagster_home
from imgmig_dagster_tests.orchestration.commands import CommandServer, wait_until
from imgmig_dagster_tests.orchestration.invocations import begun, begun_by, long_ago
from imgmig_dagster_tests.orchestration.servers import LAUNCHES_AT_ONCE, web_server

DEPLOY = Path(__file__).parents[2] / "deploy"
REEXECUTE = """mutation { launchRunReexecution(reexecutionParams: {parentRunId: "%s", strategy: ALL_STEPS}) {
    __typename ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } } }"""


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A folder with the instance of deploy/local."""
    return dagster_home(tmp_path / "dagster_home", (DEPLOY / "local" / "dagster.yaml").read_text())


@pytest.fixture
def local(home: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.from_config(str(home)) as instance:
        yield instance


def stored(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRun:
    run = instance.get_run_by_id(run_id)
    assert run
    return run


def status_of(instance: dg.DagsterInstance, run_id: str) -> dg.DagsterRunStatus:
    return stored(instance, run_id).status


def test_a_run_that_re_executes_a_commands_run_is_not_taken_for_the_commands(
    platform: Platform, home: Path, local: dg.DagsterInstance
) -> None:
    with JobRunner(platform.definitions, home) as runner:
        parent = local.get_run_by_id(runner.run("migrate", [MARCH]).run_id)
    assert parent
    assert parent.tags["dagster/max_runtime"] == "0", "its beat tells whether it lives"
    # As `create_reexecuted_run` does.
    copied = {name: value for name, value in parent.tags.items() if name not in TAGS_TO_MAYBE_OMIT_ON_RETRY}
    again = begun(platform, local, copied)

    with JobRunner(platform.definitions, home):
        pass

    assert status_of(local, again) is dg.DagsterRunStatus.STARTED


def test_a_storage_that_goes_away_meanwhile_is_the_runs_error(platform: Platform, home: Path) -> None:
    with JobRunner(platform.definitions, home) as runner:
        (home / "history" / "runs.db").write_bytes(100 * b"no database")
        result = runner.run("dry_run", [MARCH])

    assert isinstance(result.error, InstanceUnavailable)
    assert "a file of SQLite below" in str(result.error)


def test_a_dead_command_is_known_at_once_in_its_own_folder_and_elsewhere_once_it_is_silent(
    platform: Platform, home: Path, local: dg.DagsterInstance, tmp_path: Path
) -> None:
    ours, elsewhere = Lifeline(home / "invocations"), Lifeline(tmp_path / "another")
    with ours.hold(local) as alive:
        lives = begun_by(platform, local, alive)
        assert fail_dead_runs(local, ours) == fail_dead_runs(local, elsewhere) == fail_dead_runs(local) == []
        assert status_of(local, lives) is dg.DagsterRunStatus.STARTED
    # What a killed process leaves: the lock is nobody's, the last beat stands.
    assert fail_dead_runs(local, elsewhere) == fail_dead_runs(local) == [], "it was heard of a moment ago"
    assert fail_dead_runs(local, ours) == [lives]
    assert status_of(local, lives) is dg.DagsterRunStatus.FAILURE

    lost = begun_by(platform, local, alive)
    alive.beat(local, long_ago())
    assert fail_dead_runs(local, elsewhere) == [lost]


def test_a_commands_run_that_is_terminated_in_the_ui_interrupts_the_command(
    platform: Platform, local: dg.DagsterInstance, tmp_path: Path
) -> None:
    with Lifeline(tmp_path / "another").hold(local) as other, Lifeline(tmp_path / "own").hold(local) as own:
        theirs, ours = begun_by(platform, local, other), begun_by(platform, local, own)
        heart = Heart(own, local)
        # As each launcher's `terminate` does first.
        local.report_run_canceling(stored(local, theirs))
        heart.beat()
        heart.beat()
        local.report_run_canceling(stored(local, ours))
        heart.beat()
        with pytest.raises(KeyboardInterrupt):
            heart.beat()


def test_run_monitoring_on_ecs_leaves_a_commands_run_alone_until_the_command_is_silent(
    services: Services, platform: Platform, tmp_path: Path
) -> None:
    url = "postgresql+psycopg2://{PGUSER}@{PGHOST}:{PGPORT}/dagster".format(**services.environment)
    platform.set(
        DAGSTER_POSTGRES_URL=url,
        IMGMIG_LOGS_BUCKET="logs",
        IMGMIG_RUN_TASK_DEFINITION="monitored",
        AWS_ENDPOINT_URL=services.dynamodb_url,
        AWS_DEFAULT_REGION="us-east-1",
    )
    task = {**json.loads((DEPLOY / "ecs/task-definition.json").read_text()), "family": "monitored"}
    replace(access(services.dynamodb_url), endpoint_urls=(("ecs", services.dynamodb_url),)).client(
        "ecs"
    ).register_task_definition(**task)
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "dagster.yaml").read_text())
    with (
        dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(tmp_path))) as instance,
        WorkspaceProcessContext(instance, EmptyWorkspaceTarget()) as workspace,
        Lifeline(tmp_path / "invocations").hold(instance) as invocation,
    ):
        of_the_command = begun_by(platform, instance, invocation)
        of_a_lost_task = begun(platform, instance, {})

        def monitor() -> None:
            assert list(execute_run_monitoring_iteration(workspace, logging.getLogger("monitor")))

        monitor()
        assert status_of(instance, of_the_command) is dg.DagsterRunStatus.STARTED
        assert status_of(instance, of_a_lost_task) is dg.DagsterRunStatus.FAILURE, "it monitors"
        invocation.beat(instance, long_ago())
        monitor()
        assert status_of(instance, of_the_command) is dg.DagsterRunStatus.FAILURE


def test_a_failed_run_of_the_command_line_is_re_executed_from_the_ui(
    platform: Platform, commands: CommandServer, home: Path, local: dg.DagsterInstance, tmp_path: Path
) -> None:
    platform.source.insert([image(1)])
    (home / "dagster.yaml").write_text(LAUNCHES_AT_ONCE)
    platform.set(DAGSTER_HOME=str(home), IMGMIG_TARGET_TABLE="no-such-table")
    assert commands.run("migrate", environment=platform.environment, folder=tmp_path).exit_code == 2
    (failed,) = local.get_runs()
    platform.set(IMGMIG_TARGET_TABLE=platform.target.name)

    with web_server(platform.environment, tmp_path) as graphql:
        launched = graphql(REEXECUTE % failed.run_id)["launchRunReexecution"]
        assert launched["__typename"] == "LaunchRunSuccess", launched
        again = str(launched["run"]["runId"])
        wait_until(lambda: status_of(local, again) in (dg.DagsterRunStatus.SUCCESS, dg.DagsterRunStatus.FAILURE))
    assert status_of(local, again) is dg.DagsterRunStatus.SUCCESS
    run = local.get_run_by_id(again)
    assert run
    assert Invocation.of(run) is None, "no command executes it"
    assert run.tags["dagster/partition"] == MARCH
    assert platform.target.item(1)
