"""The tables of the documents: every setting stands in the README once, and no table says of one thing two things."""

import re
from pathlib import Path

import pytest

from imgmig_dagster.config import Settings
from imgmig_dagster_tests.orchestration.documents import DOCUMENTS, REPOSITORY

# Measured, and written by programs: a row there has its name in more than one cell.
WRITTEN_BY_PROGRAMS = {"benchmarks.md", "test-results.md"}
OUTSIDE_OF_SETTINGS = {"DAGSTER_HOME", "IMGMIG_SANDBOX_DIR"}


def tables_of(document: Path) -> "list[list[str]]":
    """The first cells of each table."""
    blocks = re.findall(r"(?:^\|.*\n)+", document.read_text(encoding="utf-8"), re.MULTILINE)
    return [[row.split("|")[1].strip() for row in block.splitlines()[2:]] for block in blocks]


def test_every_setting_is_in_the_readme_once_and_nothing_else_is() -> None:
    documented = [
        name
        for table in tables_of(REPOSITORY / "README.md")
        for cell in table
        for name in re.findall(r"`([A-Z_]+)`", cell)
    ]
    fields = Settings.model_fields.items()
    settings = ["STAGE" if name == "stage" else f"IMGMIG_{name.upper()}" for name, _ in fields if name[:4] != "aws_"]
    assert sorted(documented) == sorted([*settings, "IMGMIG_AWS_ACCOUNT", *OUTSIDE_OF_SETTINGS])


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda document: document.name)
def test_no_table_has_two_rows_of_one_name(document: Path) -> None:
    if document.name in WRITTEN_BY_PROGRAMS:
        return
    doubled = [cell for table in tables_of(document) for cell in {*table} if cell and table.count(cell) > 1]
    assert doubled == []
