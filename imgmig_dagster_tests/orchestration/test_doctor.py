"""``imgmig doctor``: a table for people, a document for machines, and what it ends with."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster.defs.examinations import dagster_examinations
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer, free_port

DEPLOY = Path(__file__).parents[2] / "deploy"


def test_a_healthy_stage_a_broken_one_and_one_that_is_away(
    commands: CommandServer, platform: Platform, tmp_path: Path
) -> None:
    platform.source.insert([image(1)])
    platform.set(AWS_ENDPOINT_URL=platform.environment["AWS_ENDPOINT_URL_DYNAMODB"])

    healthy = commands.run("doctor", environment={**platform.environment, "COLUMNS": "80"}, folder=tmp_path)
    assert (healthy.exit_code, healthy.told) == (0, "")
    assert "Stage dev: " in healthy.stdout
    assert "0 fail" in healthy.stdout
    remedy = (
        f"-> aws dynamodb update-continuous-backups --table-name {platform.target.name} "
        "--point-in-time-recovery-specification PointInTimeRecoveryEnabled=true"
    )
    assert remedy in [line.strip() for line in healthy.stdout.splitlines()], "it can be copied whole"
    assert "…" not in healthy.stdout

    broken = {**platform.environment, "IMGMIG_TARGET_TABLE": "no-such-table"}
    told = commands.run("doctor", "--json", environment=broken, folder=tmp_path)
    assert told.exit_code == 1
    found = {(each["service"], each["thing"]): each["health"] for each in told.document["diagnoses"]}
    assert (found["DynamoDB", "table"], found["PostgreSQL", "table"]) == ("fail", "ok")
    assert told.document["fail"] == list(found.values()).count("fail")

    nobody = {**platform.environment, "HOME": str(tmp_path), "AWS_EC2_METADATA_DISABLED": "true"}
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        nobody[name] = ""
    told = commands.run("doctor", "--json", environment=nobody, folder=tmp_path)
    without = [each["service"] for each in told.document["diagnoses"] if "no AWS credentials" in each["found"]]
    assert without == sorted({*without}), "each service tells it once"

    away = {**platform.environment, "IMGMIG_SOURCE_URL": "postgresql://nobody@127.0.0.1:1/x"}
    told = commands.run("doctor", "--json", environment=away, folder=tmp_path)
    assert told.exit_code == 3
    (gone,) = [each for each in told.document["diagnoses"] if each["unreachable"]]
    assert gone["service"] == "PostgreSQL"
    assert [each for each in told.document["diagnoses"] if each["health"] != "ok" and not each["remedy"]] == []


def without_yaml(home: Path) -> None:
    home.mkdir()


def without_folder(_home: Path) -> None:
    pass


def with_a_variable_that_is_not_set(home: Path) -> None:
    home.mkdir()
    (home / "dagster.yaml").write_text((DEPLOY / "dagster.yaml").read_text())


def with_a_storage_that_is_away(home: Path) -> None:
    home.mkdir()
    url = "postgresql+psycopg2://dagster:canary@127.0.0.1:1/dagster"
    (home / "dagster.yaml").write_text(f"storage: {{postgres: {{postgres_url: '{url}'}}}}\n")


@pytest.mark.parametrize(
    ("arrange", "exit_code", "says"),
    [
        (without_folder, 2, "there is no folder {home}: imgmig init --stage dev --dagster-home {home} makes it"),
        (without_yaml, 2, "no dagster.yaml in {home}: imgmig init --stage dev --dagster-home {home} makes it"),
        (with_a_variable_that_is_not_set, 2, "reads the variable DAGSTER_POSTGRES_URL, which is not set: export it"),
        (with_a_storage_that_is_away, 3, "Dagster's storage, which {home}/dagster.yaml names, does not answer"),
    ],
)
def test_what_is_wrong_with_dagsters_home_is_one_line_with_its_remedy_in_every_command(
    commands: CommandServer,
    platform: Platform,
    tmp_path: Path,
    arrange: Callable[[Path], None],
    exit_code: int,
    says: str,
) -> None:
    home = tmp_path / "home"
    arrange(home)
    platform.set(DAGSTER_HOME=str(home), AWS_ENDPOINT_URL=platform.environment["AWS_ENDPOINT_URL_DYNAMODB"])
    for command in (["report"], ["spot-check"], ["ui", "--port", str(free_port())]):
        told = commands.run(*command, environment=platform.environment, folder=tmp_path)
        assert (told.exit_code, told.stdout) == (exit_code, "")
        assert len(told.told.splitlines()) == 1, told.stderr
        assert says.format(home=home) in told.stderr
        assert "canary" not in told.stderr

    told = commands.run("doctor", "--json", environment=platform.environment, folder=tmp_path)
    (fault,) = [
        each for each in told.document["diagnoses"] if each["service"] == "Dagster" and each["health"] == "fail"
    ]
    assert says.format(home=home) in fault["found"]
    assert fault["remedy"]
    assert told.exit_code == (3 if exit_code == 3 else 1)


def test_a_home_that_is_not_named_is_told_with_what_to_copy(
    commands: CommandServer, platform: Platform, tmp_path: Path
) -> None:
    del platform.environment["DAGSTER_HOME"]
    for command in ("status", "ui"):
        told = commands.run(command, environment=platform.environment, folder=tmp_path)
        assert told.exit_code == 2
        assert "DAGSTER_HOME is not set for stage dev: imgmig init --stage dev --dagster-home FOLDER" in told.stderr


def test_the_doctor_warns_of_a_launcher_that_would_fail_the_command_lines_runs(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.setenv("DAGSTER_HOME", str(tmp_path))
    found = {}
    for module in ("dagster_aws.ecs", "imgmig_dagster.defs.launcher"):
        launcher = {"module": module, "class": "EcsRunLauncher"}
        (tmp_path / "dagster.yaml").write_text(
            json.dumps({"run_launcher": launcher, "run_monitoring": {"enabled": True}, "telemetry": {"enabled": False}})
        )
        found[module] = [look.diagnose() for look in dagster_examinations(Stage.STAGING)]
    assert [(each.thing, each.health.value) for each in found["dagster_aws.ecs"]] == [
        ("home", "ok"),
        ("storage", "warn"),
        ("pools", "warn"),
        ("run monitoring", "fail"),
        ("several hosts", "ok"),
    ]
    assert found["imgmig_dagster.defs.launcher"][3].health.value == "ok"


def test_a_folder_of_state_is_refused_where_runs_are_spread_over_several_hosts(
    commands: CommandServer, platform: Platform, tmp_path: Path
) -> None:
    home = tmp_path / "spreading"
    home.mkdir()
    launcher = {"module": "imgmig_dagster.defs.celery_launcher", "class": "CeleryRunLauncher"}
    (home / "dagster.yaml").write_text(json.dumps({"run_launcher": launcher, "telemetry": {"enabled": False}}))
    platform.set(DAGSTER_HOME=str(home))
    platform.source.insert([image(1)])
    told = commands.run("dry-run", "--partition", MARCH, environment=platform.environment, folder=tmp_path)
    assert told.exit_code == 2
    assert "url in [state] names a folder" in told.stdout
    assert "s3://bucket/prefix" in told.stdout
    (several_hosts,) = [look.diagnose() for look in dagster_examinations(Stage.DEV) if look.thing == "several hosts"]
    assert several_hosts.health.value == "fail"
