"""A table's partitions: their Dagster definition, and the window of rows of each key."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Protocol

import dagster as dg

from imgmig_dagster.mapping import declaration
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.window import UNDATED_WINDOW, Window, from_microseconds


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
    """Windows of time, in UTC, the current one included; new ones appear as time goes on."""

    definition: dg.TimeWindowPartitionsDefinition

    def window(self, key: str) -> Window:
        """See `Partitions.window`."""
        found = self.definition.time_window_for_partition_key(key)
        return Window(key, found.start, found.end)

    def windows(self) -> Sequence[Window]:
        """See `Partitions.windows`; each begins where the one before it ends."""
        return [self.window(key) for key in self.definition.get_partition_keys()]


@dataclass(frozen=True)
class Listed:
    """Partitions that are listed when the definitions load, each with its window."""

    definition: dg.StaticPartitionsDefinition
    listed: Mapping[str, Window]

    def window(self, key: str) -> Window:
        """See `Partitions.window`."""
        return self.listed[key]

    def windows(self) -> Sequence[Window]:
        """See `Partitions.windows`."""
        return list(self.listed.values())


def partitions_of(declared: declaration.DeclaredPartitions, order: Order) -> Partitions:
    """The partitions from the first day's to the current one; or the buckets.

    The start is moved back to the beginning of its month or week: Dagster would otherwise begin with the next one,
    and leave the rows before it to no partition.
    """
    if declared.buckets is not None:
        return _listed([_bucket(number, declared.buckets) for number in range(declared.buckets)])
    timed = _time_windows(declared)
    # Dagster's windows of time hold no row without one.
    return _listed([*timed.windows(), UNDATED_WINDOW]) if order.has_undated else timed


def _time_windows(declared: declaration.DeclaredPartitions) -> TimeWindows:
    start = declared.start
    if start is None:
        raise ValueError("the first partition is not known")
    if declared.grain == "monthly":
        start = start.replace(day=1)
        return TimeWindows(dg.MonthlyPartitionsDefinition(start.isoformat(), timezone="UTC", end_offset=1))
    if declared.grain == "weekly":
        return TimeWindows(dg.WeeklyPartitionsDefinition(_sunday(start).isoformat(), timezone="UTC", end_offset=1))
    return TimeWindows(dg.DailyPartitionsDefinition(start.isoformat(), timezone="UTC", end_offset=1))


def _listed(windows: Sequence[Window]) -> Listed:
    keys = [window.partition for window in windows]
    return Listed(dg.StaticPartitionsDefinition(keys), dict(zip(keys, windows, strict=True)))


def _bucket(number: int, of: int) -> Window:
    key = f"bucket-{number:0{len(str(of - 1))}}"
    return Window(key, from_microseconds(number * 1_000_000), from_microseconds((number + 1) * 1_000_000))


def _sunday(day: date) -> date:
    # Dagster's weeks begin on Sunday; isoweekday() counts it as 7.
    return day - timedelta(days=day.isoweekday() % 7)
