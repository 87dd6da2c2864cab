"""Runs in this process as the command line makes them: how each ends, and what a death leaves behind."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster import errors
from imgmig_dagster.defs import assets
from imgmig_dagster.local_runs.runner import JobRunner, merged
from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.fault_proxy import FaultProxy, error
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for a Dagster instance with the default storage."""
    folder = tmp_path_factory.mktemp("dagster_home")
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return folder


def test_results_tell_success_failed_checks_and_errors_apart(platform: Platform, home: Path) -> None:
    platform.source.insert(image(number) for number in range(5))
    with JobRunner(platform.definitions, home) as runner:
        migrated = runner.run("migrate", [MARCH])
        assert (migrated.status, migrated.error, migrated.interrupted) == (dg.DagsterRunStatus.SUCCESS, None, False)
        platform.target.delete(3)
        verified = runner.run("verify", [MARCH])
        assert (verified.status, verified.error, verified.interrupted) == (dg.DagsterRunStatus.FAILURE, None, False)
        platform.target.delete(4)
        drawn = runner.run("draw_spot_check", config={"spot_check": {"count": 5, "seed": 1}})
        assert (drawn.status, drawn.error) == (dg.DagsterRunStatus.SUCCESS, None), "its check does not block"
        platform.set(IMGMIG_TARGET_TABLE="no-such-table")
        refused = runner.run("migrate", [MARCH])
        assert refused.status is dg.DagsterRunStatus.FAILURE
        assert isinstance(refused.error, errors.TargetRefused)
    with dg.DagsterInstance.from_config(str(home)) as instance:
        runs = {run.run_id: run for run in instance.get_runs()}
        assert set(runs) >= {result.run_id for result in (migrated, verified, drawn, refused)}
        assert runs[migrated.run_id].tags["dagster/partition"] == MARCH
        assert runs[migrated.run_id].job_name == "migrate"
        assert runs[migrated.run_id].tags[".dagster/repository"] == "__repository__@imgmig_dagster"


def tear_the_checkpoint(platform: Platform, _proxy: FaultProxy) -> None:
    platform.state.write(f"{MARCH}/migration-progress.json", b"{torn")


def reject_every_row(platform: Platform, _proxy: FaultProxy) -> None:
    platform.source.insert(image(number, updated_at="infinity") for number in range(100, 210))


def deny_access(platform: Platform, proxy: FaultProxy) -> None:
    platform.through(proxy.url)
    proxy.inject(error("AccessDeniedException"), "BatchWriteItem", times=10)


def stop_dynamodb(platform: Platform, _proxy: FaultProxy) -> None:
    platform.through("http://127.0.0.1:9")


def lose_the_unique_index(platform: Platform, _proxy: FaultProxy) -> None:
    platform.source.execute("ALTER TABLE {t} DROP CONSTRAINT images_pkey")


def misspell_the_state(platform: Platform, _proxy: FaultProxy) -> None:
    platform.set(IMGMIG_STATE_URL="ftp://somewhere")


def put_a_file_in_the_way(platform: Platform, _proxy: FaultProxy) -> None:
    (Path.cwd() / "a-file").touch()
    platform.set(IMGMIG_STATE_URL=(Path.cwd() / "a-file").as_uri())


def refuse_a_file_that_nobody_thought_of(platform: Platform, _proxy: FaultProxy) -> None:
    def refuse(*_arguments: object) -> None:
        raise PermissionError(13, "Permission denied", "/some/where")

    platform.monkeypatch.setattr(assets, "count_source", refuse)


def do_what_nobody_foresaw(platform: Platform, _proxy: FaultProxy) -> None:
    platform.monkeypatch.setattr(assets, "count_source", lambda *_arguments: 1 / 0)


@pytest.mark.parametrize(
    ("fault", "kind", "exit_code", "message"),
    [
        (tear_the_checkpoint, errors.CheckpointRefused, 2, "partition 2024-03-01: the checkpoint "),
        (reject_every_row, errors.TooManyFailures, 1, "partition 2024-03-01: 110 of 115 rows failed"),
        (deny_access, errors.TargetRefused, 2, "DynamoDB refused BatchWriteItem: AccessDeniedException"),
        (stop_dynamodb, errors.TargetUnavailable, 3, "DynamoDB cannot be reached"),
        (lose_the_unique_index, errors.DoesNotFit, 2, ""),
        (misspell_the_state, errors.SettingsError, 2, "url in [state]"),
        (put_a_file_in_the_way, errors.StateUnavailable, 3, "/"),
        (
            refuse_a_file_that_nobody_thought_of,
            errors.FilesUnavailable,
            3,
            "/some/where cannot be used (Permission denied)",
        ),
        (do_what_nobody_foresaw, errors.RunFailed, 1, "an unexpected ZeroDivisionError"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_an_error_comes_out_of_the_run_as_its_own_kind_with_its_own_words(
    platform: Platform,
    proxy: FaultProxy,
    home: Path,
    fault: Callable[[Platform, FaultProxy], None],
    kind: type[errors.ImgmigError],
    exit_code: int,
    message: str,
) -> None:
    platform.source.insert(image(number) for number in range(5))
    fault(platform, proxy)
    with JobRunner(platform.definitions, home) as runner:
        result = runner.run("migrate", [MARCH])
    assert type(result.error) is kind, result.error
    assert result.error.exit_code == exit_code
    assert str(result.error).startswith(message)
    assert "Error: " not in str(result.error).split(":")[0]


def test_the_error_of_a_run_is_the_one_that_was_raised(platform: Platform, home: Path) -> None:
    raised = errors.SourceRefused("the table: has no: such column")

    def refuse(*_arguments: object) -> None:
        raise raised

    platform.monkeypatch.setattr(assets, "count_source", refuse)
    with JobRunner(platform.definitions, home) as runner:
        assert runner.run("migrate", [MARCH]).error is raised


def test_config_of_a_run_adds_to_the_config_of_its_job(platform: Platform, home: Path) -> None:
    platform.source.insert([image(1)])
    with JobRunner(platform.definitions, home) as runner:
        repaired = runner.run("repair", [MARCH], {"repair_report": {"source_wins": True}})
        with dg.DagsterInstance.from_config(str(home)) as instance:
            [record] = instance.get_run_records(dg.RunsFilter(run_ids=[repaired.run_id]))
    config: Any = record.dagster_run.run_config
    assert config["ops"]["repair_report"]["config"] == {"apply": True, "source_wins": True, "partitions": []}


def test_configs_are_merged_value_by_value() -> None:
    job = {"ops": {"a": {"config": {"apply": True, "listed": [1, 2]}}, "b": {"config": {"x": 1}}}}
    caller = {"ops": {"a": {"config": {"listed": [3], "confirm": None}}}, "loggers": {}}
    assert merged(job, caller) == {
        "ops": {"a": {"config": {"apply": True, "listed": [3], "confirm": None}}, "b": {"config": {"x": 1}}},
        "loggers": {},
    }
    assert job["ops"]["a"] == {"config": {"apply": True, "listed": [1, 2]}}, "what is merged stays as it was"


def test_a_partition_that_another_run_holds_is_busy(platform: Platform, home: Path) -> None:
    with platform.state.exclusive(f"{MARCH}/run.lock"), JobRunner(platform.definitions, home) as runner:
        result = runner.run("migrate", [MARCH])
    assert isinstance(result.error, errors.PartitionBusy)


def test_a_home_without_an_instance_is_refused(platform: Platform, tmp_path: Path) -> None:
    with (
        pytest.raises(errors.SettingsError, match=r"DAGSTER_HOME: there is no dagster\.yaml"),
        JobRunner(platform.definitions, tmp_path),
    ):
        pass


def test_a_runner_outside_its_with_is_an_error(platform: Platform, home: Path) -> None:
    with pytest.raises(RuntimeError, match="outside"):
        JobRunner(platform.definitions, home).run("migrate", [MARCH])
