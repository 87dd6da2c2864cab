"""A partition's time window, the unit of work, resume, evidence and retry; and the times that go with it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Final

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=timezone.utc)
UNDATED: Final = "undated"
"""The key of the partition whose rows have no time."""


@dataclass(frozen=True)
class Window:
    """The rows whose order column is in ``[start, end)``; `partition` is the key that names it.

    The window named `UNDATED` has the rows whose order column is NULL; as a span of time it is empty.
    """

    partition: str
    start: datetime
    end: datetime

    @property
    def is_undated(self) -> bool:
        """Whether its rows are those without a time."""
        return self.partition == UNDATED

    def describe(self) -> str:
        """The window as text, for fingerprints and messages."""
        if self.is_undated:
            return "[no time]"
        return f"[{self.start.isoformat()}, {self.end.isoformat()})"


UNDATED_WINDOW: Final = Window(UNDATED, _EPOCH, _EPOCH)


def dated(windows: Sequence[Window]) -> list[Window]:
    """The windows without that of the rows that have no time."""
    return [window for window in windows if not window.is_undated]


def span(windows: Sequence[Window]) -> tuple[datetime, datetime]:
    """Where the first window of a time starts, and where the last one ends."""
    with_time = dated(windows)
    return with_time[0].start, with_time[-1].end


def to_microseconds(moment: datetime) -> int:
    """An aware datetime as microseconds since 1970, exactly."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_microseconds(timestamp_us: int) -> datetime:
    """The inverse of `to_microseconds`; `OverflowError` outside the years 1 to 9999."""
    return _EPOCH + timedelta(microseconds=timestamp_us)


def now() -> str:
    """The time as checkpoints, evidence and reports have it: ISO 8601 in UTC, to the millisecond."""
    return datetime.now(tz=timezone.utc).isoformat(timespec="milliseconds")


def seconds_between(earlier: str, later: str) -> float:
    """The seconds between two ISO 8601 times of the state."""
    return (datetime.fromisoformat(later) - datetime.fromisoformat(earlier)).total_seconds()
