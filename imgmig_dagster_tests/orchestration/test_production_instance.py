"""deploy/compose as it is meant to run: a code server, a daemon, a queue with a pool, and ten runs at once."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]
from dagster._core.storage.dagster_run import DagsterRunStatus, RunRecord

from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.state.throttle import change_throttle
from imgmig_dagster_tests.arrange import item_of
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import Platform, images_of
from imgmig_dagster_tests.orchestration.commands import free_port, wait_until
from imgmig_dagster_tests.orchestration.servers import listens, program, running

COMPOSE = Path(__file__).parents[2] / "deploy" / "compose"
MONTHS = range(1, 11)
ROWS_OF_A_MONTH = 30
POOL = "target"
PARTITION, BACKFILL = "dagster/partition", "dagster/backfill"


@pytest.fixture
def production(services: Services, platform: Platform, tmp_path: Path) -> Iterator[Platform]:
    """Stage staging on an instance of deploy/compose/dagster.yaml, in a database that no other run is recorded in."""
    home = tmp_path / "dagster"
    home.mkdir()
    text = (COMPOSE / "dagster.yaml").read_text().replace("/var/lib/imgmig", str(tmp_path / "volume"))
    config = yaml.safe_load(text)
    # Five seconds by default, which here would be half of the test.
    config["run_coordinator"]["config"]["dequeue_interval_seconds"] = 1
    (home / "dagster.yaml").write_text(json.dumps(config))
    url = "postgresql+psycopg2://{PGUSER}@{PGHOST}:{PGPORT}/production_instance".format(**services.environment)
    platform.set(STAGE="staging", IMGMIG_ALLOW_INSECURE="loopback", DAGSTER_HOME=str(home), DAGSTER_POSTGRES_URL=url)
    services.owner.execute("CREATE DATABASE production_instance")
    yield platform
    services.owner.execute("DROP DATABASE production_instance WITH (FORCE)")


def entrypoint(service: str, **replaced: str) -> list[str]:
    """What docker-compose.yaml runs as a service, with the places of a container replaced by those of the test."""
    command = yaml.safe_load((COMPOSE / "docker-compose.yaml").read_text())["services"][service]["entrypoint"]
    return program(*(replaced.get(word, word) for word in shlex.split(command)))


def most_at_once(records: list[RunRecord]) -> int:
    """How many of these runs were between their start and their end at the same time."""
    changes = [(record.start_time, 1) for record in records] + [(record.end_time, -1) for record in records]
    running_now, most = 0, 0
    for _moment, change in sorted(changes):
        running_now += change
        most = max(most, running_now)
    return most


def test_ten_partitions_at_once_are_all_migrated_and_never_more_run_than_the_pool_allows(
    production: Platform, tmp_path: Path
) -> None:
    numbers = [month * 100 + number for month in MONTHS for number in range(ROWS_OF_A_MONTH)]
    rows = {number: row for number in numbers for row in images_of(number // 100, [number])}
    production.source.insert(rows.values())
    partitions = [f"2024-{month:02}-01" for month in MONTHS]
    workspace, port = tmp_path / "workspace.yaml", str(free_port())
    text = (COMPOSE / "workspace.yaml").read_text()
    workspace.write_text(text.replace("host: code", "host: 127.0.0.1").replace("port: 4000", f"port: {port}"))
    environment = {**production.environment, "IMGMIG_PARTITIONS_PER_RUN": "1"}
    code = entrypoint("code", **{"0.0.0.0": "127.0.0.1", "4000": port})  # noqa: S104 - it is what is replaced
    daemon = entrypoint("daemon", **{"/app/workspace.yaml": str(workspace)})

    with (
        dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance,
        running(code, environment, tmp_path / "code.log"),
        ExitStack() as stack,
    ):
        limit = instance.get_concurrency_config().pool_config.default_pool_limit
        assert limit
        # As `dagster instance concurrency set` does: the first pass over a new instance's queue knows no other limits.
        instance.event_log_storage.set_concurrency_slots(POOL, limit)
        wait_until(lambda: listens(int(port)))
        job = ["-w", str(workspace), "-j", "migrate"]
        *of_the_backfill, ninth, tenth = partitions
        launches = [
            program("dagster", "job", "backfill", *job, "--noprompt", "--partitions", ",".join(of_the_backfill)),
            *(
                program("dagster", "job", "launch", *job, "--tags", json.dumps({PARTITION: key}))
                for key in (ninth, tenth)
            ),
        ]
        for launch in [subprocess.Popen(command, env=environment) for command in launches]:
            assert launch.wait(timeout=300) == 0
        # The whole queue stands before the daemon looks at it for the first time, and nobody gets to an end before
        # as many as there are places have started: a pause ends no run, however long a busy machine takes.
        state = LocalStateStore(tmp_path / "state" / "staging" / "images")
        change_throttle(state, paused=True)
        stack.enter_context(running(daemon, environment, tmp_path / "daemon.log"))
        # Of this job alone: a stage that is not dev verifies by itself what was migrated.
        started = dg.RunsFilter(job_name="migrate", statuses=[DagsterRunStatus.STARTED])
        wait_until(lambda: instance.get_runs_count(started) >= limit)
        change_throttle(state, paused=False)
        ended = dg.RunsFilter(job_name="migrate", statuses=[DagsterRunStatus.SUCCESS, DagsterRunStatus.FAILURE])
        wait_until(lambda: instance.get_runs_count(ended) == len(MONTHS), patience_s=600)
        records = list(instance.get_run_records(dg.RunsFilter(job_name="migrate")))
        pool = instance.event_log_storage.get_concurrency_info(POOL)
        queue = instance.get_concurrency_config().run_queue_config

    assert {record.dagster_run.status for record in records} == {DagsterRunStatus.SUCCESS}
    assert sorted(record.dagster_run.tags[PARTITION] for record in records) == partitions
    assert queue
    (of_backfills,) = queue.tag_concurrency_limits
    assert most_at_once([run for run in records if BACKFILL in run.dagster_run.tags]) <= of_backfills["limit"]
    assert 1 < most_at_once(records) == limit < queue.max_concurrent_runs
    assert (pool.slot_count, pool.claimed_slots, pool.pending_steps) == (limit, [], [])
    assert production.target.items() == {
        f"IMAGE#{row['id']}": item_of(number, createdAt={"S": row["created_at"][:23] + "Z"})
        for number, row in rows.items()
    }
