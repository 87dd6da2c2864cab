"""Partitions are time windows of the source's order column, in UTC; the current one is included."""

from collections.abc import Sequence
from datetime import date, timedelta

import dagster as dg

from imgmig_dagster.partitioning import Partitioning
from imgmig_dagster.window import Window


def partitions_of(partitioning: Partitioning) -> dg.TimeWindowPartitionsDefinition:
    """The partitions from the one that holds `partition_start` to the one that holds today.

    The start is moved back to the beginning of its month or week: Dagster would otherwise begin with the next one,
    and leave the rows before it to no partition.
    """
    start = partitioning.partition_start
    if partitioning.partition_grain == "monthly":
        return dg.MonthlyPartitionsDefinition(start_date=start.replace(day=1).isoformat(), timezone="UTC", end_offset=1)
    if partitioning.partition_grain == "weekly":
        return dg.WeeklyPartitionsDefinition(start_date=_sunday(start).isoformat(), timezone="UTC", end_offset=1)
    return dg.DailyPartitionsDefinition(start_date=start.isoformat(), timezone="UTC", end_offset=1)


def window_of(partitions: dg.TimeWindowPartitionsDefinition, key: str) -> Window:
    """The time window of one partition."""
    found = partitions.time_window_for_partition_key(key)
    return Window(key, found.start, found.end)


def windows_of(partitions: dg.TimeWindowPartitionsDefinition) -> Sequence[Window]:
    """All windows, in order; each begins where the one before it ends."""
    return [window_of(partitions, key) for key in partitions.get_partition_keys()]


def _sunday(day: date) -> date:
    # Dagster's weeks begin on Sunday; isoweekday() counts it as 7.
    return day - timedelta(days=day.isoweekday() % 7)
