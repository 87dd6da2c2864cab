"""The documents' commands for the sandbox and stage dev, in a sandbox of the test's own; see `test_documents.py`."""

import csv
from collections.abc import Iterator
from pathlib import Path

import pytest

from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import COLUMNS
from imgmig_dagster_tests.orchestration.arrange import images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer
from imgmig_dagster_tests.orchestration.stories import OWN_TABLE, PHOTOS, SANDBOX, Desk, follow


@pytest.fixture
def desk(commands: CommandServer, tmp_path: Path) -> Iterator[Desk]:
    """A folder with nothing but the documents' files of rows; its sandbox is deleted whatever happens."""
    root = tmp_path / ".imgmig"
    for name in ("my-images.csv", "images.csv"):
        with (tmp_path / name).open("w", newline="") as file:
            writer = csv.DictWriter(file, COLUMNS)
            writer.writeheader()
            # So many that the application seldom writes to the same one twice within a recheck delay.
            writer.writerows([*images_of(2, range(300)), *images_of(3, range(300, 600))])
    # The settings of a stage whose application writes at the same time.
    environment = {"IMGMIG_DUAL_WRITE": "true"}
    yield Desk(commands, tmp_path, "dev", LocalStateStore(root / "state" / "dev" / "images"), environment)
    Sandbox(root).delete()


def test_the_sandbox_and_stage_dev_in_it(desk: Desk) -> None:
    follow(desk, SANDBOX)
    assert [file.name for file in (desk.folder / ".imgmig").iterdir()] == ["lock"]


@pytest.fixture
def own_table(commands: CommandServer, tmp_path: Path) -> Iterator[Desk]:
    """A folder with nothing but a file of SQL; its sandbox is deleted whatever happens."""
    root = tmp_path / ".imgmig"
    (tmp_path / "photos.sql").write_text(PHOTOS, encoding="utf-8")
    yield Desk(commands, tmp_path, "dev", LocalStateStore(root / "state" / "dev" / "photos"), {})
    Sandbox(root).delete()


def test_a_table_of_ones_own(own_table: Desk) -> None:
    follow(own_table, OWN_TABLE)
