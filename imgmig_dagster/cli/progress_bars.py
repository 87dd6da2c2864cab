"""Progress bars on a terminal: a line for all partitions together, for each one in progress, or for each phase of a
job.

`console` decides between them and plain lines.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace

from rich.console import Console
from rich.markup import escape
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.progress import Progress as Bar
from rich.table import Column
from rich.text import Text

from imgmig_dagster.progress import Ended, Listener, Progress
from imgmig_dagster.reporting.partition_summary import count


@dataclass(frozen=True)
class Watched:
    """Shows the progress of each partition, how it ended, and notices of the run."""

    progress: Listener
    end: Callable[[Ended], None]
    notice: Callable[[str], None]


class OverallProgress:
    """Turns the progress of each partition into that of all together."""

    def __init__(self, verb: str, total: int) -> None:
        self.verb = verb
        self.total = total
        self._done: dict[str, int] = {}

    def sum_up(self, tell: Listener) -> Listener:
        """A listener to partitions' progress that passes on the progress of all together."""

        def listen(progress: Progress) -> None:
            if progress.verb == self.verb:
                self._done[progress.partition] = progress.done
                done = sum(self._done.values())
                tell(replace(progress, done=done, total=max(self.total, done)))

        return listen


def progress_bar(console: Console) -> Bar:
    """A bar without a line yet; it leaves nothing behind."""
    return Bar(
        _ShrinkingColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(table_column=_whole()),
        TimeElapsedColumn(table_column=_whole()),
        TextColumn("ETA"),
        TimeRemainingColumn(table_column=_whole()),
        _ShrinkingColumn("{task.fields[note]}"),
        console=console,
        transient=True,
    )


class _ShrinkingColumn(TextColumn):
    """Text that is cut on a narrow screen; figures and the remaining time are not."""

    def get_table_column(self) -> Column:
        return Column(min_width=4)

    def render(self, task: Task) -> Text:
        text = super().render(task)
        text.no_wrap, text.overflow = True, "ellipsis"
        return text


def _whole() -> Column:
    return Column(no_wrap=True)


def live(bar: Bar, whole: OverallProgress) -> Watched:
    """A line for all partitions, one for each in progress, and above them the faults of those that ended."""
    everything = bar.add_task(whole.verb, total=whole.total, note="")
    under_way: dict[str, TaskID] = {}

    def sum_up(progress: Progress) -> None:
        bar.update(everything, completed=progress.done, total=progress.total)

    def show(progress: Progress) -> None:
        if progress.verb == whole.verb:
            if progress.partition not in under_way:
                under_way[progress.partition] = bar.add_task(progress.partition, total=progress.total, note="")
            task = under_way[progress.partition]
            bar.update(task, completed=progress.done, total=progress.total, note=rate_of(progress))
            whole.sum_up(sum_up)(progress)

    def end(ended: Ended) -> None:
        if ended.partition in under_way:
            bar.remove_task(under_way.pop(ended.partition))
        if ended.error is not None:
            bar.console.print(f"[red]{ended.partition}[/] failed: {escape(str(ended.error))}", soft_wrap=True)
        elif ended.red:
            bar.console.print(f"[red]{ended.partition}[/] does not hold: {', '.join(ended.red)}", soft_wrap=True)

    return Watched(show, end, above(bar))


def above(bar: Bar) -> Callable[[str], None]:
    """Shows lines that stay, above the bar."""

    def show(line: str) -> None:
        bar.console.print(f"[yellow]{escape(line)}[/]", soft_wrap=True)

    return show


def phases(bar: Bar) -> Listener:
    """A line for each phase by its verb."""
    tasks: dict[str, TaskID] = {}

    def show(progress: Progress) -> None:
        if progress.verb not in tasks:
            tasks[progress.verb] = bar.add_task(f"{progress.verb} {progress.noun}", total=progress.total, note="")
        bar.update(tasks[progress.verb], completed=progress.done, total=progress.total, note=rate_of(progress))

    return show


def rate_of(progress: Progress) -> str:
    """The rate, and what went wrong so far."""
    note = f"{progress.rate:,.0f}/s"
    if progress.retries:
        note += f", {progress.retries} {'retry' if progress.retries == 1 else 'retries'}"
    if progress.failures:
        note += f", {count(progress.failures, 'failure')}"
    return note
