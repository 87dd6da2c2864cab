"""A disk that is full when the census, a pass or the sandbox needs it: one line, nothing lost, nothing left running."""

import subprocess
import sys
import tempfile
from pathlib import Path

import psutil  # type: ignore[import-untyped]
import pytest

from imgmig_dagster.errors import FilesUnavailable, StateUnavailable
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.census import take_census
from imgmig_dagster_tests.arrange import Migration, image
from imgmig_dagster_tests.full_disk import LIMITED, files_of_at_most

START = "import sys; from imgmig_dagster.sandbox import Sandbox; Sandbox(sys.argv[1]).start()"


def census_with_files_of_at_most(size: int, migration: Migration) -> None:
    async def census(work: ReadingWork) -> None:
        with files_of_at_most(size):
            await take_census(work, [migration.window])

    run = migration.verification()
    with run.source:
        run.look(census)


def test_a_census_names_the_temporary_folder(migration: Migration) -> None:
    migration.source.insert([image(1)])

    with pytest.raises(FilesUnavailable, match=r"/source/\d+.* cannot be used .*TMPDIR.* 1 rows"):
        census_with_files_of_at_most(20, migration)


def test_a_census_without_any_temporary_folder_says_so(migration: Migration, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", None)

    with pytest.raises(FilesUnavailable, match=r"temporary folder.*TMPDIR"):
        census_with_files_of_at_most(0, migration)


def test_a_pass_ends_with_the_place_and_is_resumed(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(1_500))

    with files_of_at_most(10_000), pytest.raises(StateUnavailable, match=r"url in \[state\]"):
        migration.migrate()

    assert migration.migrate(run_id="run-2").every_row_is_accounted_for
    assert migration.verify().passed


@pytest.mark.parametrize("size", [0, 5, 65_536])
def test_a_sandbox_that_cannot_be_started_leaves_no_server_running(tmp_path: Path, size: int) -> None:
    """With no room at all, with room for a part of a process's number, and for everything but the rows."""
    root = tmp_path / "sandbox"

    ended = subprocess.run(
        [sys.executable, "-c", LIMITED.format(size=size) + START, str(root)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert "SandboxError" in ended.stderr or "ServerDied" in ended.stderr
    arguments = [process.info["cmdline"] or [] for process in psutil.process_iter(["cmdline"])]
    assert [each for each in arguments if str(root) in each] == []
