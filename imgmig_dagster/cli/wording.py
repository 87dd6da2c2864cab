"""Words the results of all commands alike: lines, tables, documents, exit codes.

The result declares each figure's name (`figures.py`).
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table

from imgmig_dagster.cli.console import CommandResult
from imgmig_dagster.errors import ImgmigError, PartitionBusy
from imgmig_dagster.figures import figures_of, values
from imgmig_dagster.reporting.cutover import Cutover
from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.reporting.partition_summary import Verdict, count

SHOWN_FAULTS: Final = 20
"""This many keys are printed; the report has all of them."""
_COLOURS: Final = {
    "PASS": "[green]PASS[/]",
    "FAIL": "[red]FAIL[/]",
    "NOT VERIFIED": "[yellow]NOT VERIFIED[/]",
    "STALE": "[yellow]STALE[/]",
}


def finding(
    errors: Sequence[ImgmigError],
    clean: bool,
    document: Mapping[str, Any],
    lines: Sequence[str],
    table: Table | None = None,
) -> CommandResult:
    """A command's result; the errors that ended its runs early come last."""
    busy = [error for error in errors if isinstance(error, PartitionBusy)]
    others = [error for error in errors if not isinstance(error, PartitionBusy)]
    output_lines = [f"error: {error}" for error in dict.fromkeys(map(str, others))]
    if busy:
        also = f". The same of {count(len(busy) - 1, 'other partition')}" if len(busy) > 1 else ""
        output_lines.append(f"error: {busy[0]}{also}")
    # An unreachable service outranks a refusal, which outranks a finding. Another run at work is no fault of this one.
    code = max((error.exit_code for error in others or busy), default=0 if clean else 1)
    return CommandResult(code, {**document, "errors": [str(error) for error in errors]}, [*lines, *output_lines], table)


def figure_table(kind: Any, results: Sequence[Any], *attributes: str, total: object | None = None) -> Table:
    """A line of these figures for each partition, and one of their totals."""
    declared = figures_of(kind)
    table = table_of("partition", *(declared[name].label for name in attributes))
    for each in results:
        add_row(table, each.partition, *values(each, *attributes).values())
    if total is not None:
        table.add_section()
        add_row(table, "total", *values(total, *attributes).values())
    return table


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


def verdict_line(verdict: Verdict, cutover: Cutover) -> str:
    """The verdict on the data, and whether production may cut over."""
    return f"Verdict: {verdict.value}. Cutover: {cutover.value}"


def blocker_lines(report: SummaryReport) -> list[str]:
    """The first blockers of PASS, with what to type."""
    return [f"blocked by: {each.what} ({', '.join(each.commands)})" for each in report.blockers[:SHOWN_FAULTS]]


def review_lines(report: SummaryReport) -> list[str]:
    """The blockers of the cutover, with what to type."""
    return [f"before cutover: {each.what} ({', '.join(each.commands)})" for each in report.cutover_blockers]


def moment(text: str | None) -> str:
    """An ISO 8601 time in UTC, to the second; nothing for none."""
    return f"{text[:19].replace('T', ' ')} UTC" if text else ""


def counts_line(counts: Mapping[str, int]) -> str:
    """How many of each there are."""
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count) or "nothing"


def _cell(value: object) -> str:
    if value is None:
        return ""
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    return f"{value:,.0f}" if is_number else _COLOURS.get(str(value), str(value))
