"""The figures as a table on the terminal, and as docs/benchmarks.md."""

import importlib.metadata
import os
import platform
import statistics
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Final

from rich.table import Table

from benchmarks.job import Sample
from benchmarks.results import Figure, Measured
from benchmarks.scale import Scale

_PACKAGES: Final = ("dagster", "psycopg", "aiohttp", "orjson", "botocore", "boto3", "moto")
_BY_HAND: Final = "## What was tried"

_PAGE: Final = """# Benchmarks

For developers who change the hot paths, and for anyone who asks what a row costs.

Written by `{command}` ({scale} scale, {repetitions} repetitions) on {date}, in {took:,.0f} s. Do not edit it: run the
command again, or `make bench`. Only the text under "What was tried" is written by hand and kept.

## Machine

{machine}

## How it is measured

Each way runs in its own process, over the same rows of a PostgreSQL on the same machine. A first round of 1,000 rows
is not counted: imports, connections and the first use of a client are start-up, not cost per row. "CPU" is the user
and system time of that process, without the servers'. The ways take turns, and each ratio is formed within one turn.
The tables show minimum / median / maximum; the median is compared with the goal. Client cost is measured against a
server on loopback that answers at once (`benchmarks/stub.py`). The rows are the sandbox's synthetic rows, with NULLs,
ties, long and non-ASCII names.

## Figures

{figures}

## Behind the figures

{samples}

## Where the CPU of a row goes

Each stage alone, over the same rows, in µs of CPU per row, measured once without a profiler. The whole takes more
than the sum of its stages: tasks, locks, counting and waits between requests.

{stages}

## What missed its goal

{missed}

{kept}"""


def table(measured: Sequence[Measured]) -> Table:
    """For a terminal."""
    found = Table(title="Benchmarks", show_lines=False)
    for column in ("measure", "goal", "min / median / max", "verdict"):
        found.add_column(column, overflow="fold")
    for figure in _figures(measured):
        style = "red" if figure.missed else ""
        found.add_row(*_cells(figure), style=style)
    return found


def markdown(measured: Sequence[Measured], scale: Scale, command: str, load: str, took: float, before: str = "") -> str:
    """The whole document; what the one `before` has under "What was tried" stays."""
    return _PAGE.format(
        command=command,
        scale=scale.name,
        repetitions=scale.repetitions,
        date=datetime.now(tz=timezone.utc).date().isoformat(),
        took=took,
        machine=_machine(load),
        figures=_rows(("measure", "goal", "min / median / max", "verdict"), map(_cells, _figures(measured))),
        samples=_rows(
            ("way", "µs of CPU", "per second", "peak MB"),
            (row for each in measured for row in _ways(each)),
        ),
        stages="\n\n".join(_stages(each) for each in measured if each.stages),
        missed="\n".join(_missed(each) for each in measured if any(figure.missed for figure in each.figures))
        or "Nothing in this run.",
        kept=before[before.index(_BY_HAND) :] if _BY_HAND in before else "",
    )


def _figures(measured: Sequence[Measured]) -> Iterator[Figure]:
    return (figure for each in measured for figure in each.figures)


def _cells(figure: Figure) -> tuple[str, str, str, str]:
    return figure.measure, figure.goal.text if figure.goal else "–", figure.spread, figure.verdict


def _ways(measured: Measured) -> Iterator[tuple[str, ...]]:
    for name, samples in measured.samples.items():
        yield (
            f"{measured.name}: {name}, per {measured.unit}",
            _spread([sample.cpu_us_per_row for sample in samples]),
            _spread([sample.rows_per_s for sample in samples]),
            f"{max(sample.peak_mb for sample in samples):,.0f}",
        )


def _stages(measured: Measured) -> str:
    rows = ((stage, f"{1e6 * seconds / measured.stage_rows:,.1f}") for stage, seconds in measured.stages.items())
    whole = next(iter(measured.samples.values()))
    total = (f"**the whole, as measured above ({next(iter(measured.samples))})**", f"{_median_cost(whole):,.1f}")
    return _rows((measured.name, "µs per row"), [*rows, total])


def _missed(measured: Measured) -> str:
    lines = [
        f"- {figure.measure}: {figure.median:,.{figure.digits}f}{figure.unit}, and the goal is {figure.goal.text}."
        for figure in measured.figures
        if figure.missed and figure.goal
    ]
    return "\n".join(lines)


def _median_cost(samples: Sequence[Sample]) -> float:
    return statistics.median(sample.cpu_us_per_row for sample in samples)


def _spread(values: Sequence[float]) -> str:
    digits = 0 if min(values) >= 100 else 1
    return " / ".join(f"{value:,.{digits}f}" for value in (min(values), statistics.median(values), max(values)))


def _rows(head: Sequence[str], rows: Iterator[tuple[str, ...]] | Sequence[tuple[str, ...]]) -> str:
    lines = [_line(head), _line(["---"] * len(head)), *(_line(row) for row in rows)]
    return "\n".join(lines)


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _machine(before: str) -> str:
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in _PACKAGES)
    return (
        f"{_cpu_model()}, {os.cpu_count()} cores, {platform.system()} {platform.machine()}; "
        f"{platform.python_implementation()} {platform.python_version()}; {versions}; the sandbox's PostgreSQL 18. "
        f"The load average was {before} before the run: anything above 0 is other work on this machine."
    )


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or "unknown CPU"
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, "unknown CPU")
