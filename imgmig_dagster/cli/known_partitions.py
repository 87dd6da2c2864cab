"""What `imgmig status` shows: the partitions on one screen, what blocks the verdict, what to type next.

`status` reads what is needed for it.
"""

from collections import Counter
from collections.abc import Hashable, Sequence
from itertools import groupby
from typing import Final

from rich.table import Table

from imgmig_dagster.cli.wording import add_row, table_of
from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.reporting.partition_summary import Blocker, PartitionSummary, Verdict, command

# This many kinds of blockers are explained; the report names each partition.
_EXPLAINED: Final = 3
# The order of commands that are due: after an earlier one, a later one would have to be repeated.
_IN_ORDER: Final = ("migrate", "retry-failures", "repair", "verify", "report", "spot-check")


def state(partition: PartitionSummary) -> str:
    """The verdict; instead of NOT VERIFIED: STALE if there is a verification, otherwise NONE."""
    if partition.verdict is Verdict.NOT_VERIFIED:
        return "STALE" if partition.verification else "NONE"
    return str(partition.verdict.value)


def partition_table(partitions: Sequence[PartitionSummary], at_most: int) -> tuple[Table, list[str]]:
    """A line for each partition. More than `at_most` are folded: one line for neighbours with the same values.

    If that is still too many, it shows the lines that do not pass, and the number of partitions of each kind.
    """
    alone = len(partitions) <= at_most
    stretches = [[each] for each in partitions] if alone else [[*run] for _, run in groupby(partitions, key=_kind)]
    amiss = [each for each in stretches if each[0].verdict is not Verdict.PASS]
    shown = stretches if len(stretches) <= at_most else amiss[:at_most]
    table = table_of("partition", "rows", "items", "verified", "verdict")
    for stretch in shown:
        add_row(table, *_cells(stretch))
    if len(shown) == len(stretches):
        return table, []
    counts = Counter(map(state, partitions))
    by_verdict = ", ".join(f"{number:,} {word}" for word, number in counts.items())
    return table, [f"... of {len(partitions):,} partitions: {by_verdict}"]


def blocked(report: SummaryReport) -> list[str]:
    """What blocks the verdict, with what to type, and what blocks the cutover."""
    of_partitions = _by_kind(report)
    lines = [line for group in of_partitions[:_EXPLAINED] for line in _explained(report, group)]
    if more := sum(map(len, of_partitions[_EXPLAINED:])):
        lines.append(f"... and {more:,} more partitions, for other causes: the report names each")
    return [
        *lines,
        *(f"blocked by: {each.what}" for each in _of_the_table(report)),
        *(f"before cutover: {each.what}" for each in report.cutover_blockers),
    ]


def next_command(report: SummaryReport, options: str) -> str:
    """What to type next: what blocks the verdict, else what blocks the cutover, else a look at the certificate."""
    due = [found for group in _by_kind(report) if (found := _commands(report, group))]
    due += [each.commands for each in _of_the_table(report)] or [each.commands for each in report.cutover_blockers]
    first = min((commands[0] for commands in due), key=_place, default=None)
    return first or command("certificate show", options)


def _place(typed: str) -> int:
    verb = typed.split()[1]
    return _IN_ORDER.index(verb) if verb in _IN_ORDER else len(_IN_ORDER)


def _kind(partition: PartitionSummary) -> Hashable:
    """The lines for partitions with the same blocker."""
    why = partition.invalidation.reason if partition.invalidation else None
    return state(partition), why, partition.pass_open, partition.migration is None, bool(partition.failures)


def _by_kind(report: SummaryReport) -> list[list[PartitionSummary]]:
    blocked: dict[Hashable, list[PartitionSummary]] = {}
    for each in report.partitions:
        if each.blockers:
            blocked.setdefault(_kind(each), []).append(each)
    return [*blocked.values()]


def _of_the_table(report: SummaryReport) -> list[Blocker]:
    of_partitions = {blocker for each in report.partitions for blocker in each.blockers}
    return [each for each in report.blockers if each not in of_partitions]


def _explained(report: SummaryReport, alike: Sequence[PartitionSummary]) -> list[str]:
    others = f" (and {len(alike) - 1:,} more)" if len(alike) > 1 else ""
    return [f"{alike[0].blockers[0].what}{others}", *(f"  {each}" for each in _commands(report, alike))]


def _commands(report: SummaryReport, alike: Sequence[PartitionSummary]) -> Sequence[str]:
    """The commands for partitions of one kind, for all of them at once; without a choice if these are all."""
    first, last = alike[0].partition, alike[-1].partition
    if first == last:
        return alike[0].blockers[0].commands
    chosen = "" if len(alike) == len(report.filled) else f" --from {first} --to {last}"
    return [each.replace(f" --partition {first}", chosen) for each in alike[0].blockers[0].commands]


def _cells(stretch: Sequence[PartitionSummary]) -> tuple[object, ...]:
    first, last = stretch[0].partition, stretch[-1].partition
    passes = [each.migration.in_target for each in stretch if each.migration]
    looks = [each.verification.finished_at for each in stretch if each.verification]
    return (
        first if first == last else f"{first} to {last}",
        sum(each.rows for each in stretch),
        sum(passes) if passes else None,
        min(looks)[5:16].replace("T", " ") if looks else None,
        state(stretch[0]),
    )
