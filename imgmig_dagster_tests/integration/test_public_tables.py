"""The tables of public applications go from draft to census without an edit; docs/public-tables.md has the results.

The page is written again by ``IMGMIG_WRITE_PAGES=1 .venv/bin/python -m pytest`` of this file.
"""

import os
from collections.abc import Container
from pathlib import Path

import pytest

from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster_tests.conftest import NewTable, Services
from imgmig_dagster_tests.public_tables import PAGE, SCHEMAS, TABLES, Outcome, PublicTables

pytestmark = pytest.mark.skipif(not SCHEMAS.is_dir(), reason="the tables of public applications are not here")


@pytest.fixture
def tables(services: Services, new_table: NewTable, tmp_path: Path, request: pytest.FixtureRequest) -> PublicTables:
    """The tables of the application that the test is about."""
    return PublicTables(services, request.node.callspec.params["file"], new_table(), tmp_path)


@pytest.mark.parametrize("file", TABLES)
def test_what_is_drafted_is_migrated_and_proved(tables: PublicTables, file: str) -> None:
    others = 0
    for place in TABLES[file]:
        found = tables.examine(place)
        write_or_compare(found)

        rejected = sum(found.rejected.values())
        assert found.rows == 50
        assert found.match == found.rows - rejected
        assert all(each.passed is not bool(each.missing) for each in found.verified)
        census = found.census
        assert (census.missing, census.orphans, census.differing, census.unverified) == (rejected, 0, 0, 0)
        assert (census.rows_outside, census.repeated) == (0, 0)
        assert census.other_entities == others, "items of the application's other table are left alone"
        others += found.match
        assert found.trial.passed, found.trial.judgement
        assert types(found, found.trial.fields) == types(found, found.filled), "each type was corrupted, and named"


def types(found: Outcome, names: Container[str]) -> set[FieldType]:
    return {field.type for field in found.mapping.fields if field.name in names}


def write_or_compare(found: Outcome) -> None:
    """Hold the table's line of the page; or write it."""
    page = PAGE.read_text(encoding="utf-8")
    if os.environ.get("IMGMIG_WRITE_PAGES"):
        key = found.line.split(" | ")[0]
        lines = [line for line in page.splitlines() if not line.startswith(f"{key} |")]
        PAGE.write_text("\n".join([*lines, found.line]) + "\n", encoding="utf-8")
    else:
        assert found.line in page.splitlines()
