"""Output for people: a progress bar on a terminal (`progress_bars`), plain lines elsewhere, or one JSON document."""

import os
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from textwrap import fill
from typing import IO, Any, Final, NoReturn

import orjson
import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from imgmig_dagster.cli.progress_bars import OverallProgress, Watched, above, live, phases, progress_bar, rate_of
from imgmig_dagster.errors import ImgmigError, PartitionBusy
from imgmig_dagster.progress import Ended, Progress, every_seconds

_PLAIN_LINE_INTERVAL_S: Final = 5.0
_PLAIN_WIDTH: Final = 160


@dataclass(frozen=True)
class CommandResult:
    """What a command found: `exit_code` for the shell, `document` for machines, `table` and `lines` for people."""

    exit_code: int
    document: dict[str, Any]
    lines: list[str] = field(default_factory=list)
    table: Table | None = None


class _PatientConsole(Console):
    """Stops writing when its reader leaves: `imgmig migrate | head` must not end a migration."""

    def on_broken_pipe(self) -> None:
        self.quiet = True
        _discard(self.file)


class Output:
    """Where a command's output goes. With `json`, standard output holds the document alone."""

    def __init__(self, json: bool) -> None:
        self._json = json
        self._console = _PatientConsole(stderr=json, highlight=False)
        if not self._console.is_terminal:
            # A file or a pipe has no width: cutting columns to 80 characters would lose figures.
            self._console.width = _PLAIN_WIDTH

    def say(self, line: str) -> None:
        """One line for a person; on a terminal it is broken between words, unless it is indented: to be copied."""
        if self._console.is_terminal and not line.startswith("  "):
            # rich would break paths and addresses too
            line = fill(line, self._console.width, break_long_words=False, break_on_hyphens=False)
        self._console.print(escape(line), soft_wrap=True)

    def show(self, finding: CommandResult) -> None:
        """The result, as a table and lines or as JSON."""
        if self._json:
            write_document(finding.document)
        else:
            self._show(finding)

    def show_all(self, findings: Mapping[str, CommandResult]) -> None:
        """The results for several tables: a heading for each, or one document."""
        if self._json:
            write_document({"tables": {name: finding.document for name, finding in findings.items()}})
            return
        for name, finding in findings.items():
            self.say(f"Table {name}:")
            self._show(finding)

    def _show(self, finding: CommandResult) -> None:
        if finding.table is not None:
            self._console.print(finding.table)
        for line in finding.lines:
            self.say(line)

    @contextmanager
    def progress(self, verb: str, total: int) -> Iterator[Watched]:
        """Shows the progress of all partitions together during the context; on a terminal also each one in progress.

        Other work than `verb`'s, such as reading the inventory before a migration, is not shown.
        """
        whole = OverallProgress(verb, total)
        if self._console.is_terminal:
            with progress_bar(self._console) as bar:
                yield live(bar, whole)
        else:
            lines = every_seconds(
                _PLAIN_LINE_INTERVAL_S, lambda progress: self.say(f"{progress.line()}, {_note(progress)}")
            )
            yield Watched(whole.sum_up(lines), lambda _ended: None, self.say)

    @contextmanager
    def phases(self) -> Iterator[Watched]:
        """Shows the progress of each phase of one job during the context, such as those of a census."""
        if self._console.is_terminal:
            with progress_bar(self._console) as bar:
                yield Watched(phases(bar), lambda _ended: None, above(bar))
        else:
            yield Watched(
                every_seconds(
                    _PLAIN_LINE_INTERVAL_S, lambda progress: self.say(f"{progress.line()}, {_left(progress)}")
                ),
                lambda _ended: None,
                self.say,
            )


@dataclass
class Relay:
    """Passes progress on to the current listener, and keeps how the partitions of the last run ended."""

    watched: Watched | None = None
    ended: list[Ended] = field(default_factory=list)

    def __call__(self, progress: Progress) -> None:
        """Report the progress of a partition."""
        if self.watched is not None:
            self.watched.progress(progress)

    def end(self, ended: Ended) -> None:
        """Report how a partition ended."""
        self.ended.append(ended)
        if self.watched is not None:
            self.watched.end(ended)

    def notice(self, line: str) -> None:
        """Show a line about the run, such as that the stage is paused."""
        if self.watched is not None:
            self.watched.notice(line)


def write_document(document: Mapping[str, Any]) -> None:
    """The one document of a command that was asked for JSON, on standard output."""
    try:
        sys.stdout.write(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode() + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)


def _discard(stream: IO[str]) -> None:
    # Python would fail again when it flushes the stream at its end.
    os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


def _note(progress: Progress) -> str:
    return f"{progress.partition}: {rate_of(progress)}"


def _left(progress: Progress) -> str:
    """The rate, and how long the phase still takes at it."""
    if not progress.rate:
        return rate_of(progress)
    return f"{rate_of(progress)}, {timedelta(seconds=round((progress.total - progress.done) / progress.rate))} left"


def print_error(message: str) -> None:
    """An error, for a person, on standard error."""
    Console(stderr=True, highlight=False).print(f"[bold red]error:[/] {escape(message)}", soft_wrap=True)


def print_warning(message: str) -> None:
    """What a person should change, on standard error."""
    Console(stderr=True, highlight=False).print(escape(message), soft_wrap=True)


def finish(output: Output, finding: CommandResult) -> NoReturn:
    """Show a command's finding, and end the command with its exit code."""
    output.show(finding)
    raise typer.Exit(finding.exit_code)


def worst_of(exit_codes: Iterable[int]) -> int:
    """The exit code of several: that another run is at work counts only where nothing is worse."""
    codes = set(exit_codes)
    return max(codes - {PartitionBusy.exit_code}, default=0) or max(codes, default=0)


def finish_all(output: Output, tables: Sequence[str], find: Callable[[str], CommandResult]) -> NoReturn:
    """Show what a command finds of each table, and end it with the worst exit code.

    Of several an error ends its own table alone, and the document has each by its name.
    """
    if len(tables) == 1:
        finish(output, find(tables[0]))
    found = {name: _found(find, name) for name in tables}
    output.show_all(found)
    raise typer.Exit(worst_of(each.exit_code for each in found.values()))


def _found(find: Callable[[str], CommandResult], table: str) -> CommandResult:
    try:
        return find(table)
    except ImgmigError as error:
        return CommandResult(error.exit_code, {"errors": [str(error)]}, [f"error: {error}"])
