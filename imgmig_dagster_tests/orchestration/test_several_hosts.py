"""Runs spread by Celery over two workers: what `make hosts` does in large, here without root and without Redis."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]

from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.throttle import change_throttle
from imgmig_dagster_tests.arrange import access, item_of
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import Platform, dagster_home, images_of
from imgmig_dagster_tests.orchestration.commands import processes, wait_until
from imgmig_dagster_tests.orchestration.servers import program, running, web_server

CELERY = Path(__file__).parents[2] / "deploy" / "celery"
BUCKET, DATABASE = "state-of-several-hosts", "several_hosts"
MONTHS = range(1, 5)
LAUNCH = """mutation { launchRun(executionParams: {
    selector: {repositoryLocationName: "imgmig_dagster", repositoryName: "__repository__", jobName: "migrate"},
    executionMetadata: {tags: [
        {key: "dagster/asset_partition_range_start", value: "%s"},
        {key: "dagster/asset_partition_range_end", value: "%s"}]}}) { __typename } }"""
BROKEN_OFF, MIGRATED = dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.SUCCESS


@pytest.fixture
def spread(services: Services, platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """Stage staging on an instance of deploy/celery/dagster.yaml, whose broker is a folder instead of Redis."""
    config = yaml.safe_load((CELERY / "dagster.yaml").read_text())
    del config["compute_logs"]
    folders = {name: str(tmp_path / "broker" / name) for name in ("messages", "control")}
    (tmp_path / "broker" / "messages").mkdir(parents=True)
    options = {
        "data_folder_in": folders["messages"],
        "data_folder_out": folders["messages"],
        "control_folder": folders["control"],
    }
    config["run_launcher"]["config"] |= {
        "broker": "filesystem://",
        "backend": f"file://{tmp_path}/broker",
        # A worker that is busy takes no other run: with Redis that is worker_disable_prefetch.
        "config_source": {"broker_transport_options": options, "task_acks_late": True},
        # What a network is given to come back is not what this test is about.
        "silence_seconds": 1,
    }
    config["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
    config["concurrency"]["runs"] |= {"max_concurrent_runs": 2, "tag_concurrency_limits": []}
    config["run_monitoring"]["poll_interval_seconds"] = 1
    home = dagster_home(tmp_path / "dagster", json.dumps(config))
    url = "postgresql+psycopg2://{PGUSER}@{PGHOST}:{PGPORT}/".format(**services.environment) + DATABASE
    access(services.dynamodb_url).client("s3").create_bucket(Bucket=BUCKET)
    platform.set(
        STAGE="staging",
        IMGMIG_ALLOW_INSECURE="loopback",
        IMGMIG_STATE_URL=f"s3://{BUCKET}/state",
        DAGSTER_HOME=str(home),
        DAGSTER_POSTGRES_URL=url,
    )
    services.owner.execute(f"CREATE DATABASE {DATABASE}")
    yield platform
    services.owner.execute(f"DROP DATABASE {DATABASE} WITH (FORCE)")


def worker(name: str) -> list[str]:
    """As deploy/celery/worker.yaml starts it."""
    command = yaml.safe_load((CELERY / "worker.yaml").read_text())["services"]["worker"]["entrypoint"]
    return program(*command.replace("worker@%h", f"{name}@here").split())


def test_the_runs_of_a_worker_that_is_killed_are_retried_on_another(
    services: Services, spread: Platform, tmp_path: Path
) -> None:
    rows = {month * 100 + number: month for month in MONTHS for number in range(20)}
    created = {number: image for number, month in rows.items() for image in images_of(month, [number])}
    spread.source.insert(created.values())
    partitions = [f"2024-{month:02}-01" for month in MONTHS]
    workspace = tmp_path / "workspace.yaml"
    client = access(services.dynamodb_url).client("s3")
    state = S3StateStore(client, BUCKET, "state/staging")
    change_throttle(state, paused=True)

    with (
        dg.DagsterInstance.from_config(spread.environment["DAGSTER_HOME"]) as instance,
        web_server(spread.environment, tmp_path) as graphql,
        running(program("dagster-daemon", "run", "-w", str(workspace)), spread.environment, tmp_path / "daemon.log"),
        running(worker("left"), spread.environment, tmp_path / "left.log"),
        ExitStack() as mortal,
    ):
        for partition in partitions:
            assert graphql(LAUNCH % (partition, partition))["launchRun"]["__typename"] == "LaunchRunSuccess"
        doomed = mortal.enter_context(running(worker("right"), spread.environment, tmp_path / "right.log"))

        def runs(*statuses: dg.DagsterRunStatus) -> list[dg.DagsterRun]:
            records = instance.get_run_records(dg.RunsFilter(job_name="migrate", statuses=statuses))
            return [record.dagster_run for record in records]

        wait_until(lambda: len(runs(dg.DagsterRunStatus.STARTED)) == 2)
        for pid in processes(session=doomed):
            os.kill(pid, signal.SIGKILL)
        wait_until(lambda: runs(BROKEN_OFF))
        change_throttle(state, paused=False)
        done = dg.AssetKey("migrated_images")
        wait_until(lambda: instance.get_materialized_partitions(done) == set(partitions))
        wait_until(lambda: not runs(dg.DagsterRunStatus.STARTED))
        (lost,), retried = runs(BROKEN_OFF), [run for run in runs(MIGRATED) if run.parent_run_id]

    assert [run.parent_run_id for run in retried] == [lost.run_id]
    assert spread.target.items() == {
        f"IMAGE#{row['id']}": item_of(number, createdAt={"S": row["created_at"][:23] + "Z"})
        for number, row in created.items()
    }
