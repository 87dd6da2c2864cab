"""Whatever a person can get wrong about files: one line that names the place and the remedy, told once."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster.config import Stage, child_environment, hand_on_dagster_variables
from imgmig_dagster_tests.full_disk import LIMITED
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished

Imgmig = Callable[..., Finished]
MAIN = "from imgmig_dagster.cli.app import main; main()"


@pytest.fixture
def imgmig(commands: CommandServer, platform: Platform, tmp_path: Path) -> Imgmig:
    def run(*arguments: str, code: str = MAIN, **variables: str) -> Finished:
        environment = {**platform.environment, **variables}
        finished = commands.start(*arguments, environment=environment, folder=tmp_path, code=code).wait()
        assert "Traceback" not in finished.stdout + finished.stderr
        return finished

    return run


def errors_of(finished: Finished) -> "list[str]":
    return [line for line in (finished.stdout + finished.stderr).splitlines() if "error" in line]


def test_a_full_disk_is_told_once_and_loses_nothing(platform: Platform, imgmig: Imgmig) -> None:
    months = {2: FEBRUARY, 3: MARCH, 4: APRIL}
    platform.source.insert(row for month in months for row in images_of(month, range(month * 200, month * 200 + 200)))

    full = imgmig("migrate", code=LIMITED.format(size=4_000) + MAIN)

    assert full.exit_code == 3
    (told,) = errors_of(full)
    assert str(platform.state.locate(FEBRUARY)) in told
    assert "IMGMIG_STATE_URL" in told
    assert imgmig("migrate").exit_code == 0
    assert imgmig("verify", "--json").document["verdicts"]["match"] == 600


def test_a_state_folder_that_is_a_file(imgmig: Imgmig, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")

    found = imgmig("status", IMGMIG_STATE_URL=(tmp_path / "a file").as_uri())

    assert found.exit_code == 3
    (told,) = errors_of(found)
    assert f"{tmp_path}/a file" in told
    assert "a file stands where a folder should be" in told


def test_a_home_of_dagster_that_cannot_be_written(imgmig: Imgmig, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("")
    (home / "invocations").write_text("a file")

    found = imgmig("status", DAGSTER_HOME=str(home))

    assert found.exit_code == 3
    assert "invocations" in found.stderr
    assert "DAGSTER_HOME" in found.stderr


@pytest.mark.parametrize(
    ("arguments", "exit_code"),
    [
        (("certificate", "show", "{folder}"), 2),
        (("certificate", "show", "{folder}/nothing.json"), 2),
        (("sandbox", "seed", "--csv", "{folder}"), 2),
        (("spot-check", "--review", "{folder}/nothing.json"), 2),
    ],
)
def test_a_file_that_cannot_be_read(
    imgmig: Imgmig, tmp_path: Path, arguments: "tuple[str, ...]", exit_code: int
) -> None:
    sandbox = str(tmp_path / "sandbox")
    found = imgmig(*(each.format(folder=tmp_path) for each in arguments), IMGMIG_SANDBOX_DIR=sandbox)
    # Seeding starts it, before the file is read.
    assert imgmig("sandbox", "delete", "--yes", IMGMIG_SANDBOX_DIR=sandbox).exit_code == 0

    assert found.exit_code == exit_code
    assert str(tmp_path) in found.stderr.replace("\n", "").replace("│", "")


@pytest.mark.parametrize("command", ["status", "doctor", "report", "throttle", "certificate show"])
def test_what_runs_nothing_starts_no_sandbox(commands: CommandServer, tmp_path: Path, command: str) -> None:
    """As after `imgmig sandbox delete`."""
    root = tmp_path / "sandbox"

    found = commands.run(
        *command.split(), environment={"IMGMIG_SANDBOX_DIR": str(root), "HOME": str(tmp_path)}, folder=tmp_path
    )

    assert found.exit_code == 3
    assert found.stderr.strip() == f"error: there is no sandbox in {root}: run `imgmig sandbox start` first"
    assert not root.exists()


def test_a_storage_that_the_stages_file_names_reaches_dagster(
    clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """dagster.yaml's `env:` reads the environment of the process alone."""
    (tmp_path / ".env.staging").write_text("DAGSTER_POSTGRES_URL=postgresql://d@h/d\nDAGSTER_HOME=/home/dagster\n")
    clean_environment.delenv("DAGSTER_POSTGRES_URL", raising=False)
    clean_environment.setenv("DAGSTER_HOME", "/elsewhere")

    assert child_environment(Stage.STAGING)["DAGSTER_POSTGRES_URL"] == "postgresql://d@h/d"
    clean_environment.setenv("DAGSTER_POSTGRES_URL", "")
    del os.environ["DAGSTER_POSTGRES_URL"]
    hand_on_dagster_variables(Stage.STAGING)
    assert os.environ["DAGSTER_POSTGRES_URL"] == "postgresql://d@h/d"
    assert os.environ["DAGSTER_HOME"] == "/elsewhere"


@pytest.mark.parametrize("url", [None, "postgresql://d:secret@127.0.0.1:9/d"])
def test_a_storage_that_cannot_be_opened_is_one_line(imgmig: Imgmig, tmp_path: Path, url: "str | None") -> None:
    home = tmp_path / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("storage:\n  postgres:\n    postgres_url:\n      env: DAGSTER_POSTGRES_URL\n")

    found = imgmig("status", DAGSTER_HOME=str(home), **({"DAGSTER_POSTGRES_URL": url} if url else {}))

    assert found.exit_code == 3
    (told,) = (line for line in found.stderr.splitlines() if line.startswith("error"))
    assert f"{home}/dagster.yaml" in told
    assert "DAGSTER_POSTGRES_URL" in told
    assert "secret" not in told
