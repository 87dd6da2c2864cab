"""Runs the measures, prints the table, and writes docs/benchmarks.md: ``python -m benchmarks --help``."""

import argparse
import dataclasses
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from rich.console import Console

from benchmarks import report
from benchmarks.bench import opened
from benchmarks.measures import MEASURES
from benchmarks.scale import DEFAULT, FULL, QUICK, Scale
from imgmig_dagster.errors import Interrupted

_DOCUMENT: Final = Path("docs/benchmarks.md")
# Starting the command line, a UI and its daemon takes too long for a quick look.
_LONG: Final = ("command", "partitions", "daily", "demo", "backfill")
_CACHE: Final = Path(".imgmig/bench")


def main() -> None:
    options = _parse()
    scale = _scale(options)
    # What ends a run from outside must not leave its servers behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 160
    load = f"{os.getloadavg()[0]:.1f}"
    started = time.monotonic()
    measured = []
    with opened(scale, _CACHE.absolute(), options.before, lambda line: console.print(line, style="dim")) as bench:
        for name in options.only or _names(quick=options.quick):
            console.print(f"[bold]{name}[/]: {(MEASURES[name].__doc__ or '').splitlines()[0]}")
            measured.append(MEASURES[name](bench))
    took = time.monotonic() - started
    console.print(report.table(measured))
    console.print(f"Took {took:,.0f} s.")
    # A part, or a quick look, does not replace the figures of a whole run.
    document = options.output or (None if options.only or options.quick else _DOCUMENT)
    if document is not None:
        document.parent.mkdir(parents=True, exist_ok=True)
        command = " ".join(["python -m benchmarks", *sys.argv[1:]])
        before = document.read_text(encoding="utf-8") if document.exists() else ""
        document.write_text(report.markdown(measured, scale, command, load, took, before), encoding="utf-8")
        console.print(f"Written to {document}.")


def _names(quick: bool) -> Sequence[str]:
    return [name for name in MEASURES if name not in _LONG or not quick]


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="few rows, about a minute; prints, and writes no file")
    size.add_argument("--full", action="store_true", help="up to 1,000,000 rows; much longer")
    parser.add_argument("--repetitions", type=int, help="how often each way is measured")
    parser.add_argument("--only", nargs="+", choices=list(MEASURES), help="these measures; writes no file")
    parser.add_argument("--before", metavar="COMMIT", help="measure the demo and a backfill beside this commit")
    parser.add_argument("--output", type=Path, help=f"where the Markdown goes; by default {_DOCUMENT}")
    return parser.parse_args()


def _scale(options: argparse.Namespace) -> Scale:
    scale = FULL if options.full else QUICK if options.quick else DEFAULT
    if options.repetitions:
        scale = dataclasses.replace(scale, repetitions=options.repetitions, command_repetitions=options.repetitions)
    return scale


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
