"""deploy/: what Dagster, PostgreSQL and AWS are given is what they take and what the code needs, no more."""

import json
import re
import shlex
from dataclasses import replace
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import click
import dagster as dg
import psycopg
import pytest
import yaml  # type: ignore[import-untyped]
from celery.bin.celery import celery as celery_command
from dagster._cli import cli as dagster_command
from dagster._config import process_config
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.dagster_run import DagsterRunStatus
from dagster._daemon.cli import cli as daemon_command
from dagster_aws.ecs import EcsRunLauncher
from dagster_aws.s3 import S3ComputeLogManager
from dagster_webserver.cli import dagster_webserver as webserver_command
from psycopg import sql

from imgmig_dagster.defs.examinations import dagster_examinations
from imgmig_dagster.stage.config import stage_values
from imgmig_dagster.stage.settings import Sections
from imgmig_dagster.stage.stage_template import stage_file_text
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.arrange import access, image, item_of, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, Call, FaultProxy, holds, reset_after
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform, images_of

DEPLOY = Path(__file__).parents[2] / "deploy"


@pytest.fixture
def storage(services: Services, clean_environment: pytest.MonkeyPatch) -> None:
    environment = services.environment
    url = "postgresql+psycopg2://{PGUSER}@{PGHOST}:{PGPORT}/dagster".format(**environment)
    clean_environment.setenv("DAGSTER_POSTGRES_URL", url)
    for variable in ("IMGMIG_CELERY_BROKER", "IMGMIG_CELERY_BACKEND"):
        clean_environment.setenv(variable, "redis://127.0.0.1:6379/0")


def instance_of(file: Path, home: Path) -> InstanceRef:
    (home / "dagster.yaml").write_text(file.read_text())
    return InstanceRef.from_dir(str(home))


@pytest.mark.usefixtures("storage")
@pytest.mark.parametrize("file", ["dagster.yaml", "compose/dagster.yaml", "celery/dagster.yaml"])
def test_an_instance_of_each_file_is_dagsters_own_reading_of_it(file: str, tmp_path: Path) -> None:
    with dg.DagsterInstance.from_ref(instance_of(DEPLOY / file, tmp_path)) as instance:
        assert type(instance.run_storage).__name__ == "PostgresRunStorage"
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        assert type(instance.schedule_storage).__name__ == "PostgresScheduleStorage"
        assert instance.get_runs_count(dg.RunsFilter(statuses=[DagsterRunStatus.QUEUED])) == 0, "it answers"
        pools = instance.get_concurrency_config().pool_config.default_pool_limit
        queue = instance.get_concurrency_config().run_queue_config
        assert pools
        assert queue
        (backfills,) = queue.tag_concurrency_limits
        assert backfills["key"] == "dagster/backfill"
        assert 1 < backfills["limit"] < pools < queue.max_concurrent_runs, "there is a place left beside a backfill"
        assert (instance.run_monitoring_enabled, instance.telemetry_enabled) == (True, False)
        assert instance.run_monitoring_max_runtime_seconds == 86_400
        # A host that is gone takes its runs along: by Celery they are retried, and no run that ended by itself is.
        spread = file == "celery/dagster.yaml"
        assert (instance.nux_enabled, instance.run_retries_enabled) == (False, spread)
        assert instance.run_retries_retry_on_asset_or_op_failure is not spread
        assert instance.run_monitoring_max_resume_run_attempts == 0


def test_the_instance_of_one_machine_needs_nothing_but_its_folder(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.setenv("DAGSTER_HOME", str(tmp_path))
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "local" / "dagster.yaml").read_text())
    found = [look.diagnose() for look in dagster_examinations(Stage.STAGING)]
    assert [(each.thing, each.health.value) for each in found] == [
        ("home", "ok"),
        ("storage", "ok"),
        ("pools", "ok"),
        ("run monitoring", "ok"),
    ]


@pytest.mark.usefixtures("storage")
def test_the_launcher_and_the_logs_of_aws_take_their_config(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    clean_environment.setenv("IMGMIG_LOGS_BUCKET", "logs")
    clean_environment.setenv("IMGMIG_RUN_TASK_DEFINITION", "imgmig-run")
    ref = instance_of(DEPLOY / "dagster.yaml", tmp_path)
    for data, kind in ((ref.run_launcher_data, EcsRunLauncher), (ref.compute_logs_data, S3ComputeLogManager)):
        assert data
        assert data.class_name == kind.__name__
        result = process_config(kind.config_type(), data.config_dict)  # type: ignore[no-untyped-call]
        assert result.success, result.errors
    (container,) = json.loads((DEPLOY / "ecs/task-definition.json").read_text())["containerDefinitions"]
    config = yaml.safe_load((DEPLOY / "dagster.yaml").read_text())
    assert config["run_launcher"]["config"]["container_name"] == container["name"]


@pytest.mark.usefixtures("storage")
def test_workers_and_launcher_of_celery_read_one_file(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    clean_environment.setenv("IMGMIG_LOGS_BUCKET", "logs")
    (tmp_path / "dagster.yaml").write_text((DEPLOY / "celery" / "dagster.yaml").read_text())
    clean_environment.setenv("DAGSTER_HOME", str(tmp_path))
    clean_environment.setenv("STAGE", "staging")
    command = shlex.split(services_of("celery/worker.yaml")["worker"]["entrypoint"])
    module, _, name = command[command.index("-A") + 1].partition(":")
    app = getattr(import_module(module), name)
    assert {"execute_job", "resume_job"} <= set(app.tasks)
    assert (app.conf.broker_url, app.conf.result_backend) == ("redis://127.0.0.1:6379/0",) * 2
    assert (app.conf.worker_max_tasks_per_child, app.conf.worker_disable_prefetch) == (1, True)
    assert app.conf.result_expires > 86_400, "a run that lasts as long as it may is still known to have started"
    celery_command.make_context("celery", command[1:3])


def test_the_reader_role_may_read_one_table_and_nothing_else(services: Services) -> None:
    """The statements of the file, with psql's variables put in, rolled back at the end."""
    text = (DEPLOY / "reader_role.sql").read_text().replace("imgmig_reader", "imgmig_made_by_deploy")
    for name, value in {"database": "images", "schema": "public", "table": "images"}.items():
        text = text.replace(f':"{name}"', f'"{value}"')
    with psycopg.connect(**psql(services)) as connection:
        connection.execute("CREATE TABLE not_for_readers (x int)")
        connection.execute(text.encode())
        rights = sql.SQL("SELECT has_table_privilege('imgmig_made_by_deploy', {}, {})")
        held = {
            (table, privilege)
            for table in ("images", "not_for_readers")
            for privilege in ("SELECT", "INSERT", "UPDATE", "DELETE", "TRUNCATE")
            if connection.execute(rights.format(table, privilege)).fetchone() == (True,)
        }
        ((settings,),) = connection.execute("SELECT rolconfig FROM pg_roles WHERE rolname = 'imgmig_made_by_deploy'")
        connection.rollback()
    assert held == {("images", "SELECT")}
    assert "default_transaction_read_only=on" in settings


def psql(services: Services) -> dict[str, Any]:
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    return {name: services.environment[variable] for name, variable in names.items()}


def allowed(policy: str, service: str) -> set[str]:
    statements = json.loads((DEPLOY / "iam" / f"{policy}.json").read_text())["Statement"]
    assert all(statement["Resource"] != "*" and statement["Effect"] == "Allow" for statement in statements)
    actions = {action for statement in statements for action in statement["Action"]}
    assert not [action for action in actions if "*" in action]
    return {action.removeprefix(f"{service}:") for action in actions if action.startswith(f"{service}:")}


def test_the_policies_allow_exactly_the_calls_that_the_code_makes(platform: Platform, proxy: FaultProxy) -> None:
    # Rows that are new, stale, and one that vanishes behind its item's lost reply; then one by itself, and a batch.
    platform.source.insert(images_of(3, range(3)))
    platform.target.put(item_of(0, width={"N": "1"}))
    platform.through(proxy.url)
    platform.set(IMGMIG_WRITE_MODE="conditional")
    proxy.inject(reset_after, NEW_ITEMS, when=holds(row_id(2)))
    proxy.before(lambda: platform.source.delete(2), NEW_ITEMS, when=holds(row_id(2)))
    platform.succeed("dry_run", MARCH)
    platform.run("migrate", MARCH)
    platform.source.insert([image(6)])
    platform.succeed("migrate", MARCH)
    platform.set(IMGMIG_WRITE_MODE="batch")
    platform.source.insert([image(7)])
    platform.succeed("migrate", MARCH)
    reading = len(proxy.calls)
    platform.run("verify", MARCH)
    for job in ("census", "draw_spot_check", "report"):
        platform.run(job)

    by_doctor = {
        *("DescribeTable", "DescribeContinuousBackups", "DescribeTimeToLive", "DescribeKinesisStreamingDestination"),
    }

    def asked_for(calls: list[Call]) -> set[str]:
        # An operation of PartiQL is allowed by what its statements do.
        by_statement = {"BatchExecuteStatement": "PartiQLInsert"}
        return {by_statement.get(call.operation, call.operation) for call in calls} | by_doctor

    assert asked_for(proxy.calls) == allowed("migrator", "dynamodb")
    assert asked_for(proxy.calls[reading:]) == allowed("verifier", "dynamodb")
    assert allowed("reader", "dynamodb") == set()
    assert allowed("reader", "s3") == {"GetObject", "ListBucket"}


@pytest.mark.parametrize("policy", ["migrator", "verifier"])
def test_the_doctor_may_look_into_every_bucket_that_it_asks_for(policy: str) -> None:
    statements = json.loads((DEPLOY / "iam" / f"{policy}.json").read_text())["Statement"]
    listed = [resource for each in statements if "s3:ListBucket" in each["Action"] for resource in each["Resource"]]
    assert {resource.rpartition(":")[2] for resource in listed} == {"BUCKET", "REPORTS_BUCKET", "PICTURES_BUCKET"}


def test_every_placeholder_of_the_task_is_one_word_to_replace() -> None:
    text = (DEPLOY / "ecs/task-definition.json").read_text()
    assert not re.search(r"\b\d{12}\b|amazonaws\.com/imgmig:latest", text), "no account of anybody, no moving tag"


def test_the_task_of_a_run_is_one_that_ecs_registers(services: Services) -> None:
    """botocore knows every field and its type; what is required beside which is by moto's rules."""
    ecs = replace(access(services.dynamodb_url), endpoint_urls=(("ecs", services.dynamodb_url),)).client("ecs")
    task = json.loads((DEPLOY / "ecs/task-definition.json").read_text())
    registered = ecs.register_task_definition(**task)["taskDefinition"]
    assert registered["taskDefinitionArn"].endswith(f"task-definition/{task['family']}:1")
    assert registered["containerDefinitions"][0]["secrets"] == task["containerDefinitions"][0]["secrets"]


def services_of(file: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / file).read_text())["services"]
    return found


COMPOSES = ("compose/docker-compose.yaml", "celery/central.yaml")


@pytest.mark.parametrize("file", COMPOSES)
def test_what_compose_mounts_is_there_and_what_it_publishes_is_on_loopback(file: str) -> None:
    services = services_of(file)
    bound = [volume.split(":")[0] for service in services.values() for volume in service.get("volumes", [])]
    files = [path for path in bound if path.startswith(".") and path != "../../stages"]
    assert len(files) < len(bound), "the stages' files are read there too"
    assert {Path(path).name for path in files} == {"dagster.yaml", "workspace.yaml"}
    assert all((DEPLOY / file).parent.joinpath(path).is_file() for path in files)
    ports = {name: service.get("ports", []) for name, service in services.items()}
    # What the hosts of the workers reach is on the address that whoever deploys it names.
    for name, port in {"database": 5432, "redis": 6379}.items() if file == "celery/central.yaml" else ():
        assert ports.pop(name) == [f"${{IMGMIG_CENTRAL_ADDRESS:?}}:{port}:{port}"]
    assert ports["web"]
    assert all(port.startswith("127.0.0.1:") for published in ports.values() for port in published)


def test_the_central_host_sets_every_variable_of_the_instance() -> None:
    named = set(re.findall(r"env: (\w+)", (DEPLOY / "celery/dagster.yaml").read_text()))
    for file, name in (
        ("celery/central.yaml", "daemon"),
        ("celery/central.yaml", "web"),
        ("celery/worker.yaml", "worker"),
    ):
        assert named <= set(services_of(file)[name]["environment"])


@pytest.mark.parametrize("file", COMPOSES)
@pytest.mark.parametrize(
    ("service", "program"),
    [("code", dagster_command), ("daemon", daemon_command), ("web", webserver_command)],
)
def test_each_program_of_compose_knows_its_options(
    service: str, program: click.Command, file: str, tmp_path: Path
) -> None:
    workspace = tmp_path / "workspace.yaml"
    workspace.write_text((DEPLOY / "compose/workspace.yaml").read_text())
    command = services_of(file)[service]["entrypoint"].replace("/app/workspace.yaml", str(workspace))
    name, *words = shlex.split(command)
    assert name in {script.name for script in entry_points(group="console_scripts")}
    while isinstance(program, click.Group):
        found = program.get_command(click.Context(program), words[0])
        assert found, f"{name} has no command {words[0]}"
        program, words = found, words[1:]
    program.make_context(name, words)


def test_the_image_is_built_of_files_that_are_there() -> None:
    copied = re.findall(r"^COPY (?:--\S+ )*(.+) \S+$", (DEPLOY / "Dockerfile").read_text(), re.MULTILINE)
    sources = [source for line in copied for source in line.split()]
    assert "pyproject.toml" in sources
    assert [source for source in sources if not (DEPLOY.parent / source).exists()] == []


@pytest.mark.parametrize("stage", [Stage.STAGING, Stage.PROD])
def test_a_stages_example_holds_every_setting_and_is_taken_as_it_is(
    clean_environment: pytest.MonkeyPatch, stage: Stage
) -> None:
    clean_environment.setenv("IMGMIG_STAGES", str(DEPLOY / "stages"))
    said = stage_values(stage)
    values = {(section, key): value for section, keys in said.sections().items() for key, value in keys.items()}

    assert (DEPLOY / "stages" / f"{stage.value}.toml").read_text() == stage_file_text(stage, values)
    assert said.validated(Sections, said.sections()).target.table == f"images-{stage.value}"
