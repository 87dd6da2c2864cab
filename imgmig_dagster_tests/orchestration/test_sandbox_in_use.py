"""The sandbox and those who use it: its commands, the runs of stage dev that start it, settings that do not."""

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.errors import SandboxNotRunning
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.attaching import require_running
from imgmig_dagster.sandbox.seed import SYNTHETIC_START
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import MARCH
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished

Imgmig = Callable[..., Finished]


@pytest.fixture
def stopped(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Sandbox]:
    """A sandbox of ten images, whose servers were stopped."""
    clean_environment.setenv("IMGMIG_SANDBOX_DIR", str(tmp_path / ".imgmig"))
    sandbox = Sandbox(tmp_path / ".imgmig")
    sandbox.seed_synthetic(10)
    sandbox.stop()
    yield sandbox
    sandbox.delete()


def test_a_run_in_dagster_starts_the_sandbox_and_reading_its_settings_does_not(
    stopped: Sandbox, instance: dg.DagsterInstance
) -> None:
    settings = load_settings(Stage.DEV)
    assert settings.source_url.get_secret_value() == stopped.environment()["IMGMIG_SOURCE_URL"]
    job = build_definitions(Stage.DEV).resolve_job_def("dry_run")
    assert not stopped.status().postgres_running
    with pytest.raises(SandboxNotRunning, match="does not run: imgmig sandbox start"):
        require_running(Stage.DEV)

    assert job.execute_in_process(instance=instance, partition_key=MARCH).success

    require_running(Stage.DEV)


@pytest.fixture
def in_sandbox(commands: CommandServer, services: Services, tmp_path: Path) -> Imgmig:
    """Runs a command on the session's sandbox."""

    def run(*arguments: str, root: Path | None = None) -> Finished:
        environment = {"IMGMIG_SANDBOX_DIR": str(root or services.sandbox.root)}
        finished = commands.run(*arguments, environment=environment, folder=tmp_path)
        assert "Traceback" not in finished.stdout + finished.stderr
        return finished

    return run


def test_sandbox_env_prints_what_a_shell_takes(in_sandbox: Imgmig, services: Services) -> None:
    lines = in_sandbox("sandbox", "env").stdout.splitlines()
    assert all(line.startswith("export ") for line in lines)
    words = [shlex.split(line.removeprefix("export ")) for line in lines]
    assert all(len(found) == 1 for found in words)
    assert dict(found[0].split("=", 1) for found in words) == services.sandbox.environment()


def test_sandbox_status_shows_what_runs(in_sandbox: Imgmig, services: Services) -> None:
    found = in_sandbox("sandbox", "status", "--json").document
    assert (found["postgres"]["running"], found["aws"]["running"]) == (True, True)
    assert found["aws"]["port"] == services.sandbox.status().aws_port
    assert "running on 127.0.0.1" in in_sandbox("sandbox", "status").stdout


def test_a_sandbox_that_was_never_started_has_no_variables(in_sandbox: Imgmig, tmp_path: Path) -> None:
    nowhere = tmp_path / "nowhere"
    refused = in_sandbox("sandbox", "env", root=nowhere)
    assert refused.exit_code == 3
    assert "run `imgmig sandbox start` first" in refused.stderr
    status = in_sandbox("sandbox", "status", root=nowhere)
    assert (status.exit_code, "not running" in status.stdout) == (0, True)
    assert not nowhere.exists()


def test_a_file_that_cannot_be_loaded_is_refused_and_the_rows_stay(
    in_sandbox: Imgmig, services: Services, tmp_path: Path
) -> None:
    assert in_sandbox("sandbox", "seed", "--images", "20").exit_code == 0
    missing = in_sandbox("sandbox", "seed", "--csv", "missing.csv")
    assert missing.exit_code == 2
    assert "missing.csv cannot be read: No such file or directory; check its name" in missing.stderr
    (tmp_path / "wrong.csv").write_text("id,name\n1,a\n")
    wrong = in_sandbox("sandbox", "seed", "--csv", "wrong.csv")
    assert wrong.exit_code == 2
    assert "wrong.csv, line 1: the header must name each of these columns once" in wrong.stderr
    assert services.sandbox.status().images == 20
    assert in_sandbox("sandbox", "status", "--json").document["images"] == 20
    services.sandbox.seed([], SYNTHETIC_START)
