"""A table's partitions: the key of each, and its window of rows. `defs.table` tells Dagster of them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from typing import Protocol

from imgmig_dagster.mapping.declaration import DeclaredPartitions, Grain
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.window import UNDATED_WINDOW, Window, from_microseconds


class Partitions(Protocol):
    """The partitions of a table, in order."""

    def window(self, key: str) -> Window:
        """The window of one partition; `KeyError` for a key that there is not."""

    def windows(self) -> Sequence[Window]:
        """All windows, in order."""


@dataclass(frozen=True)
class TimeWindows:
    """Windows of time, in UTC, the current one included; new ones appear as time goes on.

    `start` is moved back to the beginning of its month or week, so that no row before it is in no partition. Weeks
    begin on Sunday, as Dagster's do.
    """

    grain: Grain
    start: date

    def window(self, key: str) -> Window:
        """See `Partitions.window`."""
        try:
            day = date.fromisoformat(key)
        except ValueError:
            raise KeyError(key) from None
        if day < self.first or self._beginning(day) != day:
            raise KeyError(key)
        return Window(key, _midnight(day), _midnight(self._next(day)))

    def windows(self) -> Sequence[Window]:
        """See `Partitions.windows`; each begins where the one before it ends. There is one before its time comes."""
        day, today = self.first, datetime.now(tz=timezone.utc).date()
        found: list[Window] = []
        while day <= today or not found:
            following = self._next(day)
            found.append(Window(day.isoformat(), _midnight(day), _midnight(following)))
            day = following
        return found

    @property
    def first(self) -> date:
        """The first day of the first partition, which is its key."""
        return self._beginning(self.start)

    def _beginning(self, day: date) -> date:
        if self.grain == "monthly":
            return day.replace(day=1)
        # isoweekday() counts Sunday as 7.
        return day - timedelta(days=day.isoweekday() % 7) if self.grain == "weekly" else day

    def _next(self, day: date) -> date:
        if self.grain == "monthly":
            return (day + timedelta(days=31)).replace(day=1)
        return day + timedelta(days=7 if self.grain == "weekly" else 1)


@dataclass(frozen=True)
class Listed:
    """Partitions that are listed when they are declared, each with its window."""

    listed: Mapping[str, Window]

    def window(self, key: str) -> Window:
        """See `Partitions.window`."""
        return self.listed[key]

    def windows(self) -> Sequence[Window]:
        """See `Partitions.windows`."""
        return list(self.listed.values())


def partitions_of(declared: DeclaredPartitions, order: Order) -> Partitions:
    """The partitions from the first day's to the current one; or the buckets."""
    if declared.buckets is not None:
        return _listed([_bucket(number, declared.buckets) for number in range(declared.buckets)])
    if declared.start is None or declared.grain is None:
        raise ValueError("the first partition is not known")
    timed = TimeWindows(declared.grain, declared.start)
    # Windows of time hold no row without one.
    return _listed([*timed.windows(), UNDATED_WINDOW]) if order.has_undated else timed


def _listed(windows: Sequence[Window]) -> Listed:
    return Listed({window.partition: window for window in windows})


def _bucket(number: int, of: int) -> Window:
    key = f"bucket-{number:0{len(str(of - 1))}}"
    return Window(key, from_microseconds(number * 1_000_000), from_microseconds((number + 1) * 1_000_000))


def _midnight(day: date) -> datetime:
    return datetime.combine(day, time.min, timezone.utc)
