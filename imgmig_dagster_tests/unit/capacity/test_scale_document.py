"""docs/scale.md shows what `imgmig plan` prints."""

import re
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from imgmig_dagster.cli.app import app

DOCUMENT = Path(__file__).parents[3] / "docs" / "scale.md"
OWN_TABLES = DOCUMENT.with_name("own-tables.md")
SHOWN = re.findall(r"```bash\n(imgmig plan [^\n]+ --markdown)\n```\n\n((?:\|[^\n]*\n)+)", DOCUMENT.read_text())


def test_there_are_tables_to_hold() -> None:
    assert len(SHOWN) == DOCUMENT.read_text().count("--markdown") == 2


@pytest.mark.parametrize(("command", "table"), SHOWN)
def test_a_table_is_what_the_command_above_it_prints(command: str, table: str) -> None:
    printed = CliRunner().invoke(app, shlex.split(command)[1:])

    assert printed.exit_code == 0
    assert printed.stdout == table
    assert len(table.splitlines()) == 2 + command.count("--rows")


def test_the_costs_of_your_own_table_are_those_of_the_first_table() -> None:
    own = re.findall(r"^\| ([\d,]+) \| ([^|]+) \| ([\d.,]+) \|$", OWN_TABLES.read_text(), re.MULTILINE)
    calculated = [[cell.strip() for cell in line.split("|")[1:-1]] for line in SHOWN[0][1].splitlines()]

    assert len(own) == 3
    assert {(cells[0], cells[1], cells[6]) for cells in calculated} >= set(own)
