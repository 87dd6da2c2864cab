"""``imgmig plan``: calculates what a migration of so many rows takes (`capacity/`). Contacts no service."""

from collections.abc import Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any, Final

import typer

from imgmig_dagster.capacity import limits, measured
from imgmig_dagster.capacity.estimate import Estimate, estimate
from imgmig_dagster.capacity.phases import WHAT_HELPS, Phase
from imgmig_dagster.capacity.prices import NAMES, PRICES, Prices
from imgmig_dagster.capacity.workload import CapacityMode, Index, Workload
from imgmig_dagster.cli.console import CommandResult, Output, finish
from imgmig_dagster.cli.options import Json
from imgmig_dagster.cli.wording import add_row, table_of
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.stages import WriteMode

EXAMPLES: Final = (
    "Examples: imgmig plan --rows 100000000 --partitions 3650 --runs 8 --rate 20000; imgmig plan --rows 1000000 "
    "--rows 1000000000 --item-bytes 700 --index 200 --index 150:0.3 --mode provisioned --price write-hour=0.000742"
)
_HEADS: Final = (
    *("time", "bottleneck", "write units", "read units", "requests", "$ on demand", "$ provisioned", "state"),
    *("JSON for a loader", "$ ImportTable"),
)
_PHASE_HEADS: Final = ("time", "rows/s", "write units", "read units", "requests", "CPU", "bottleneck")


def plan(
    rows: Annotated[list[int], typer.Option("--rows", help="How many rows; repeated, a line of the table each.")],
    item_bytes: Annotated[
        int, typer.Option("--item-bytes", help="Bytes of an item as DynamoDB counts them, names too.")
    ] = 1_024,
    partitions: Annotated[int, typer.Option("--partitions", help="How many partitions the rows are in.")] = 1,
    runs: Annotated[int, typer.Option("--runs", help="Processes at a time, each with a core of its own.")] = 1,
    rate: Annotated[
        float | None, typer.Option("--rate", help="Ceiling of all runs together in units a second; by default none.")
    ] = None,
    write_mode: Annotated[
        WriteMode, typer.Option("--write-mode", help="batch only if nobody else writes to the table.")
    ] = WriteMode.CONDITIONAL,
    mode: Annotated[
        CapacityMode, typer.Option("--mode", help="How the table's throughput is paid for.")
    ] = CapacityMode.ON_DEMAND,
    index: Annotated[
        list[str] | None,
        typer.Option(
            "--index",
            metavar="BYTES[:SHARE]",
            help="A global secondary index: bytes of an entry, and the share of entries with its most common key.",
        ),
    ] = None,
    streams: Annotated[int, typer.Option("--streams", help="Readers of the table's stream other than Lambda.")] = 0,
    hot_share: Annotated[
        float, typer.Option("--hot-share", help="Share of the rows written at a time that have one partition key.")
    ] = 0.0,
    quota: Annotated[
        float, typer.Option("--quota", help="Units a second that AWS allows the table.")
    ] = limits.TABLE_QUOTA,
    warm: Annotated[
        float, typer.Option("--warm", help="Write units a second that the table takes at once; by default a new one's.")
    ] = limits.NEW_TABLE_WRITE_UNITS,
    source_rows: Annotated[
        float, typer.Option("--source-rows", help="Rows a second that PostgreSQL gives all runs together.")
    ] = measured.SOURCE_ROWS_PER_S,
    price: Annotated[
        list[str] | None,
        typer.Option("--price", metavar="NAME=DOLLARS", help=f"Another region's price of: {', '.join(NAMES)}."),
    ] = None,
    markdown: Annotated[
        bool, typer.Option("--markdown", help="Print the table as Markdown, and nothing else.")
    ] = False,
    json: Json = False,
) -> None:
    """Calculate what a migration takes: time, units, dollars, requests, state, and what holds it up.

    By measured figures, DynamoDB's limits and the prices of us-east-1. Needs no settings and no servers.
    """
    prices, indexes = _prices(price or ()), [_index(each) for each in index or ()]
    found = [
        estimate(
            Workload(
                rows=count,
                item_bytes=item_bytes,
                partitions=partitions,
                runs=runs,
                rate=rate,
                write_mode=write_mode,
                capacity_mode=mode,
                indexes=indexes,
                stream_readers=streams,
                hot_share=hot_share,
                quota=quota,
                warm=warm,
                source_rows_per_s=source_rows,
            ),
            prices,
        )
        for count in rows
    ]
    if markdown:
        typer.echo("\n".join(markdown_table(found)))
        return
    finish(Output(json), _finding(found))


def markdown_table(found: Sequence[Estimate]) -> list[str]:
    """A line for each estimate, as docs/scale.md has it."""
    lines = [("rows", *_HEADS), ("---",) * (1 + len(_HEADS))]
    return ["| " + " | ".join(cells) + " |" for cells in [*lines, *map(_cells, found)]]


def _finding(found: Sequence[Estimate]) -> CommandResult:
    documents = [_document(each) for each in found]
    if len(found) > 1:
        table = table_of("rows", *_HEADS)
        for each in found:
            add_row(table, *_cells(each))
        return CommandResult(0, {"estimates": documents}, [], table)
    table = table_of("", *_PHASE_HEADS)
    for phase in found[0].phases:
        add_row(table, *_phase_cells(phase))
    return CommandResult(0, documents[0], _lines(found[0]), table)


def _cells(found: Estimate) -> tuple[str, ...]:
    dollars = found.dollars
    return (
        f"{found.workload.rows:,}",
        span(found.seconds),
        found.bottleneck.value,
        f"{found.write_units:,}",
        f"{found.read_units:,}",
        f"{found.requests:,}",
        f"{dollars.writes + dollars.reads:,.2f}",
        f"{dollars.provisioned:,.2f}",
        size(found.state.bytes),
        size(found.bulk.json_bytes),
        f"{found.bulk.import_dollars:,.2f}",
    )


def _phase_cells(phase: Phase) -> tuple[str, ...]:
    return (
        phase.name,
        span(phase.seconds),
        f"{phase.rows_per_s:,.0f}",
        f"{phase.write_units:,}",
        f"{phase.read_units:,}",
        f"{phase.requests:,}",
        span(phase.cpu_s),
        phase.bottleneck.value,
    )


def _lines(found: Estimate) -> list[str]:
    dollars, state, bulk, work = found.dollars, found.state, found.bulk, found.workload
    helps = WHAT_HELPS[found.bottleneck]
    return [
        f"{work.rows:,} rows take {span(found.seconds)}. Bottleneck: {found.bottleneck.value}"
        + (f"; what helps: {helps}." if helps else "."),
        *(f"Note: {remark}." for remark in found.remarks),
        f"${dollars.total:,.2f} in all: writes ${dollars.writes:,.2f} and reads ${dollars.reads:,.2f} on demand, or "
        f"${dollars.provisioned:,.2f} for both provisioned; streams ${dollars.streams:,.2f}, requests of the state "
        f"${dollars.state:,.2f}.",
        f"A month of the table: ${dollars.storage_month:,.2f}. A census by export instead of by Scan: "
        f"${dollars.export:,.2f}, with point-in-time recovery on at ${dollars.recovery_month:,.2f} a month.",
        f"State in S3: {state.objects:,} objects, {size(state.bytes)}, ${dollars.state_month:,.2f} a month.",
        f"ImportTable instead, into a new table: {size(bulk.json_bytes)} of DynamoDB JSON, "
        f"${bulk.import_dollars:,.2f}, and the verification as above (docs/scale.md).",
    ]


def _document(found: Estimate) -> dict[str, Any]:
    phases = [
        {**asdict(phase), "allowed": {bound.value: _known(rows) for bound, rows in phase.allowed.items()}}
        for phase in found.phases
    ]
    return {**asdict(found), "phases": phases, "what_helps": WHAT_HELPS[found.bottleneck]}


def _known(rows_per_s: float) -> float | None:
    # JSON knows no infinity: what bounds nothing has no figure.
    return rows_per_s if rows_per_s != float("inf") else None


def span(seconds: float) -> str:
    """So many seconds, in the largest unit of which there are two."""
    for unit, word in ((86_400, "d"), (3_600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:,.1f} {word}"
    return f"{seconds:,.0f} s"


def size(count: int) -> str:
    """So many bytes, in the largest unit of which there are two."""
    for power, word in ((4, "TB"), (3, "GB"), (2, "MB"), (1, "KB")):
        if count >= 2 * 1_024**power:
            return f"{count / 1_024**power:,.1f} {word}"
    return f"{count:,} B"


def _index(text: str) -> Index:
    entry, _colon, share = text.partition(":")
    try:
        return Index(int(entry), float(share or 0))
    except ValueError:
        raise SettingsError(f"--index {text!r} is not BYTES or BYTES:SHARE, such as 200 or 200:0.3") from None


def _prices(texts: Sequence[str]) -> Prices:
    given = {}
    for text in texts:
        name, _equals, dollars = text.partition("=")
        try:
            given[name] = float(dollars)
        except ValueError:
            given[name] = -1.0
        if name not in NAMES or not 0 <= given[name] < float("inf"):
            raise SettingsError(f"--price {text!r} is not NAME=DOLLARS with a name of: {', '.join(NAMES)}")
    return replace(PRICES, **{name.replace("-", "_"): dollars for name, dollars in given.items()})
