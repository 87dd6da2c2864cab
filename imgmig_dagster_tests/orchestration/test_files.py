"""Whatever a person can get wrong about files: one line that names the place and the remedy, told once."""

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.local_runs.instance import InstanceUnavailable, open_instance
from imgmig_dagster.stage.config import child_environment, hand_on_dagster_variables
from imgmig_dagster.stage.dagster_home import check_dagster_home
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.full_disk import LIMITED, as_somebody_else
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, dagster_home, images_of
from imgmig_dagster_tests.orchestration.commands import MAIN, CommandServer, Finished, Imgmig


def errors_of(finished: Finished) -> list[str]:
    return [line for line in (finished.stdout + finished.stderr).splitlines() if "error" in line]


def test_a_full_disk_is_told_once_and_loses_nothing(platform: Platform, imgmig: Imgmig) -> None:
    months = {2: FEBRUARY, 3: MARCH, 4: APRIL}
    platform.source.insert(row for month in months for row in images_of(month, range(month * 200, month * 200 + 200)))

    full = imgmig("migrate", code=LIMITED.format(size=4_000) + MAIN)

    assert full.exit_code == 3
    (told,) = errors_of(full)
    assert str(platform.state.locate("")).rstrip("/") in told, "whichever file was there first"
    assert "url in [state]" in told
    assert imgmig("migrate").exit_code == 0
    assert imgmig("verify", "--json").document["verdicts"]["match"] == 600


def test_a_state_folder_that_is_a_file(imgmig: Imgmig, tmp_path: Path) -> None:
    (tmp_path / "a file").write_text("")

    found = imgmig("status", IMGMIG_STATE_URL=(tmp_path / "a file").as_uri())

    assert found.exit_code == 3
    (told,) = errors_of(found)
    assert f"{tmp_path}/a file" in told
    assert "there is a file where a folder should be" in told


def test_a_home_of_dagster_that_cannot_be_written(imgmig: Imgmig, tmp_path: Path) -> None:
    home = dagster_home(tmp_path / "home", "")
    (home / "invocations").write_text("a file")

    found = imgmig("report", DAGSTER_HOME=str(home))

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
def test_a_file_that_cannot_be_read(imgmig: Imgmig, tmp_path: Path, arguments: tuple[str, ...], exit_code: int) -> None:
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


@pytest.mark.parametrize(
    ("content", "told"),
    [(b"this is no database at all", "not a database.*damaged"), (b"SQLite format 3\0" + 200 * b"x", "not a database")],
)
def test_a_storage_in_sqlite_that_is_damaged_is_named(
    imgmig: Imgmig, tmp_path: Path, content: bytes, told: str
) -> None:
    home = tmp_path / "home"
    (home / "history").mkdir(parents=True)
    (home / "dagster.yaml").write_text("")
    (home / "history" / "runs.db").write_bytes(content)

    found = imgmig("report", DAGSTER_HOME=str(home))

    assert found.exit_code == 3
    (line,) = (line for line in found.stderr.splitlines() if line.startswith("error"))
    assert re.search(f"SQLite below {home}.*{told}", line)


@pytest.fixture
def open_home() -> Iterator[Path]:
    """A home of Dagster, and the folders above it, that every user may write to; what is in it is its maker's."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        home.chmod(0o777)
        (home / "dagster.yaml").write_text("")
        yield home


def test_a_storage_in_sqlite_of_another_user_is_named(open_home: Path) -> None:
    open_instance(open_home).dispose()
    with as_somebody_else(), pytest.raises(InstanceUnavailable, match=r"SQLite below.*belongs to another user"):
        open_instance(open_home)


def test_a_folder_of_invocations_of_another_user_is_named(open_home: Path) -> None:
    (open_home / "invocations").mkdir(0o755)
    check_dagster_home(open_home)
    with as_somebody_else(), pytest.raises(SettingsError, match=f"{open_home}/invocations cannot be read and written"):
        check_dagster_home(open_home)


@pytest.mark.parametrize(("url", "exit_code"), [(None, 2), ("postgresql://d:secret@127.0.0.1:9/d", 3)])
def test_a_storage_that_cannot_be_opened_is_one_line(
    imgmig: Imgmig, tmp_path: Path, url: str | None, exit_code: int
) -> None:
    home = dagster_home(
        tmp_path / "home", "storage:\n  postgres:\n    postgres_url:\n      env: DAGSTER_POSTGRES_URL\n"
    )

    found = imgmig("report", DAGSTER_HOME=str(home), **({"DAGSTER_POSTGRES_URL": url} if url else {}))

    assert found.exit_code == exit_code
    (told,) = (line for line in found.stderr.splitlines() if line.startswith("error"))
    assert f"{home}/dagster.yaml" in told
    assert "DAGSTER_POSTGRES_URL" in told
    assert "secret" not in told
