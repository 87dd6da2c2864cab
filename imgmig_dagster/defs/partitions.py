"""A table's partitions: what Dagster makes of them, and the window of rows behind each key."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

import dagster as dg

from imgmig_dagster.partitioning import Partitioning
from imgmig_dagster.window import Window


class Partitions(Protocol):
    """The partitions of a table, in order."""

    @property
    def definition(self) -> dg.PartitionsDefinition[str]:
        """As Dagster knows them."""

    def window(self, key: str) -> Window:
        """The window of one partition."""

    def windows(self) -> Sequence[Window]:
        """All windows, in order."""


@dataclass(frozen=True)
class TimeWindows:
    """Windows of time, in UTC; the current one is included, and a new one appears as time goes on."""

    definition: dg.TimeWindowPartitionsDefinition

    def window(self, key: str) -> Window:
        """See `Partitions.window`."""
        found = self.definition.time_window_for_partition_key(key)
        return Window(key, found.start, found.end)

    def windows(self) -> Sequence[Window]:
        """See `Partitions.windows`; each begins where the one before it ends."""
        return [self.window(key) for key in self.definition.get_partition_keys()]


def partitions_of(partitioning: Partitioning) -> Partitions:
    """The partitions from the one that holds `partition_start` to the one that holds today.

    The start is moved back to the beginning of its month or week: Dagster would otherwise begin with the next one,
    and leave the rows before it to no partition.
    """
    start = partitioning.partition_start
    if partitioning.partition_grain == "monthly":
        start = start.replace(day=1)
        return TimeWindows(dg.MonthlyPartitionsDefinition(start.isoformat(), timezone="UTC", end_offset=1))
    if partitioning.partition_grain == "weekly":
        return TimeWindows(dg.WeeklyPartitionsDefinition(_sunday(start).isoformat(), timezone="UTC", end_offset=1))
    return TimeWindows(dg.DailyPartitionsDefinition(start.isoformat(), timezone="UTC", end_offset=1))


def _sunday(day: date) -> date:
    # Dagster's weeks begin on Sunday; isoweekday() counts it as 7.
    return day - timedelta(days=day.isoweekday() % 7)
