"""How a command's result is put: lines, tables, exit codes, alike for all commands."""

from collections.abc import Mapping, Sequence
from typing import Final

from rich.table import Table

from imgmig_dagster.errors import ImgmigError

SHOWN_FAULTS: Final = 20
"""So many keys are printed; all of them are in the report."""


def error_lines(errors: Sequence[ImgmigError]) -> list[str]:
    """What ended runs early; the same words once."""
    return [f"error: {error}" for error in dict.fromkeys(map(str, errors))]


def exit_code(errors: Sequence[ImgmigError], clean: bool) -> int:
    """What the command ends with."""
    # A service that is away outranks a refusal, which outranks a finding.
    return max((error.exit_code for error in errors), default=0 if clean else 1)


def counts_line(counts: Mapping[str, int]) -> str:
    """How many of each there are."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"


def table_of(first: str, *others: str) -> Table:
    """A table with these columns, figures but for the first one."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column(first, no_wrap=True)
    for name in others:
        table.add_column(name, justify="right", overflow="fold")
    return table


def add_row(table: Table, *cells: object) -> None:
    """A line of a table."""
    table.add_row(*(_cell(cell) for cell in cells))


def _cell(value: object) -> str:
    if value is None:
        return ""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:,.0f}" if is_number else str(value)


def add_total(table: Table, *cells: object) -> None:
    """The last line of a table."""
    table.add_section()
    add_row(table, "total", *cells)
