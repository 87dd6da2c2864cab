"""Settings are read when a run begins: what is missing is named then, and no secret goes into what Dagster stores."""

from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer

CANARY = "canary-5ecret"


def run_of(stage: Stage, instance: dg.DagsterInstance) -> dg.ExecuteInProcessResult:
    job = build_definitions(stage).resolve_job_def("dry_run")
    return job.execute_in_process(instance=instance, partition_key=MARCH, raise_on_error=False)


def error_of(result: dg.ExecuteInProcessResult) -> str:
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.error
    return failure.error.to_string()


@pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PROD])
def test_a_run_names_every_setting_that_its_stage_misses(
    clean_environment: pytest.MonkeyPatch, instance: dg.DagsterInstance, stage: Stage
) -> None:
    clean_environment.setenv("IMGMIG_SOURCE_SCHEMA", "public")
    error = error_of(run_of(stage, instance))
    assert f"SettingsError: settings of stage {stage.value}: " in error
    for name in ("url in [source]", "table in [target]", "url in [state]"):
        assert f"{name} is missing" in error
    assert f"imgmig init --stage {stage.value} writes stages/{stage.value}.toml" in error


def test_settings_of_a_stage_come_from_its_file_too_and_the_environment_wins(platform: Platform) -> None:
    platform.source.insert(image(number) for number in range(3))
    names = [name for name in platform.environment if name.startswith(("IMGMIG_", "AWS_")) and "AWS_C" not in name]
    file = Path(".env.staging")
    lines = [f"{name}={platform.environment[name]}" for name in names if name != "IMGMIG_TARGET_TABLE"]
    lines.append("IMGMIG_ALLOW_INSECURE=loopback")
    for name in names:
        platform.monkeypatch.delenv(name)
    file.write_text("\n".join(lines))
    error = error_of(run_of(Stage.STAGING, platform.instance))
    assert "table in [target] is missing" in error
    assert "url in [source]" not in error

    file.write_text("\n".join([*lines, "IMGMIG_TARGET_TABLE=another-table"]))
    assert load_settings(Stage.STAGING).target.table == "another-table"
    platform.monkeypatch.setenv("IMGMIG_TARGET_TABLE", platform.target.name)
    assert run_of(Stage.STAGING, platform.instance).success
    with pytest.raises(SettingsError, match=r"url in \[source\] is missing"):
        load_settings(Stage.PROD)  # another stage's file is not read


def test_no_secret_reaches_run_configs_events_errors_state_or_reports(platform: Platform, tmp_path: Path) -> None:
    platform.source.insert(image(number) for number in range(3))
    url = platform.environment["IMGMIG_SOURCE_URL"].replace("imgmig_reader@", f"imgmig_reader:{CANARY}@")
    assert CANARY in url
    platform.set(IMGMIG_SOURCE_URL=url, AWS_SECRET_ACCESS_KEY=CANARY, AWS_SESSION_TOKEN=CANARY)
    settings = load_settings(Stage.DEV)
    assert CANARY not in f"{settings!r} {settings} {settings.shown(IMAGE)} {settings.aws()!r}"
    for job in ("migrate", "verify"):
        platform.succeed(job, MARCH)
    for job in ("census", "draw_spot_check", "report"):
        platform.succeed(job)
    # Errors of every other kind of service.
    platform.set(IMGMIG_TARGET_TABLE="no-such-table")
    assert not platform.run("migrate", MARCH).success
    platform.set(IMGMIG_SOURCE_SCHEMA="no_such_schema")
    assert not platform.run("migrate", MARCH).success
    platform.set(IMGMIG_STATE_URL=f"https://user:{CANARY}@host/")
    assert not platform.run("migrate", MARCH).success

    assert CANARY not in platform.event_log()
    files = [path for path in (tmp_path / "state").rglob("*") if path.is_file()]
    assert len(files) > 10
    for path in files:
        assert CANARY.encode() not in path.read_bytes(), path


def test_a_ledgers_values_are_printed_only_where_they_are_asked_for_now(
    platform: Platform, commands: CommandServer
) -> None:
    platform.source.insert([image(4, updated_at="infinity")])
    platform.set(IMGMIG_SHOW_VALUES="true")
    assert commands.run("migrate", environment=platform.environment).exit_code == 1
    # A retry that gets anywhere writes the entry again; this one leaves it as it is.
    platform.set(IMGMIG_TARGET_TABLE="no-such-table")
    printed = []
    for shows in ("true", "false"):
        platform.set(IMGMIG_SHOW_VALUES=shows)
        refused = commands.run("retry-failures", "--json", environment=platform.environment)
        assert refused.exit_code == 2
        printed += [each["value"] for each in refused.document["failures"][MARCH]]
    assert printed == [str(2**63 - 1), None], "infinity, as the driver of PostgreSQL has it"


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://imgmig:{CANARY}%zz@127.0.0.1:1/images",
        f"postgresql://imgmig:{CANARY}%@127.0.0.1:1/images",
        f"postgresql://imgmig:a@{CANARY}@127.0.0.1:1/images",
        f"postgresql://imgmig:a/{CANARY}@127.0.0.1:1/images",
        f"postgresql://imgmig:a?x={CANARY}@127.0.0.1:1/images",
        f"postgresql://imgmig:a#{CANARY}@127.0.0.1:1/images",
        f"postgresql://imgmig:{CANARY} x@127.0.0.1:1/images",
        f"postgresql://imgmig:{CANARY}",
        f"postgres//imgmig:{CANARY}@127.0.0.1:1/images",
        f"host=127.0.0.1 port=1 password={CANARY}",
    ],
)
def test_a_source_url_that_libpq_cannot_read_does_not_give_its_password_away(platform: Platform, url: str) -> None:
    platform.set(IMGMIG_SOURCE_URL=url)
    result = platform.run("migrate", MARCH)
    assert not result.success
    assert "SettingsError: settings of stage dev: IMGMIG_SOURCE_URL: not a URL such as" in error_of(result)
    assert CANARY not in platform.event_log()


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://user:p%40ss%2Fword%25@db.example.com:5432/images?sslmode=verify-full&application_name=a%20b",
        "postgres://user@[::1]:5432/images",
        "postgresql://first:5432,second:5433/images?target_session_attrs=primary",
        "postgresql:///images?host=/var/run/postgresql",
        "postgresql://localhost",
    ],
)
def test_urls_as_libpq_reads_them_are_taken(platform: Platform, url: str) -> None:
    platform.set(IMGMIG_SOURCE_URL=url)
    assert load_settings(Stage.DEV).source_url.get_secret_value() == url
