"""Counts a run's requests, their latency and throttling. The record's size does not grow with the run's length."""

import math
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import accumulate
from typing import Final

# The E12 series of preferred numbers, 12 to a decade, from 0.1 ms to 100 s: a bucket's upper end is at most a quarter
# above any value in it. Source: IEC 60063.
_E12: Final = (10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82)
_BOUNDS_S: Final = tuple(value * 10.0**decade for decade in range(-5, 1) for value in _E12)
_LAST: Final = len(_BOUNDS_S) - 1
_NAMES: Final = tuple(f"{bound * 1000:g}" for bound in _BOUNDS_S)
_SLOT_S: Final = 60
_MAX_SLOTS: Final = 120


@dataclass(frozen=True)
class Percentiles:
    """The latency of requests in milliseconds, each the upper end of its bucket: at most a quarter too high."""

    requests: int
    p50_ms: float
    p95_ms: float
    p99_ms: float


@dataclass(frozen=True)
class TrafficRecord:
    """DynamoDB's answers, as counts that can be summed over runs, passes and partitions.

    `reads` and `writes` count answered requests by the upper end of their latency's bucket in milliseconds, as the run
    saw it: from the send to the parsed reply. `throttled` counts throttled replies by the beginning of a slot of
    `slot_s` seconds, in seconds since 1970. The slots double where they would be more than 120.
    """

    reads: Mapping[str, int] = field(default_factory=dict)
    writes: Mapping[str, int] = field(default_factory=dict)
    throttled: Mapping[str, int] = field(default_factory=dict)
    slot_s: int = _SLOT_S

    def __add__(self, other: "TrafficRecord") -> "TrafficRecord":
        """Reads and writes together."""
        slot_s = max(self.slot_s, other.slot_s)
        throttled = _slots(self.throttled, slot_s) + _slots(other.throttled, slot_s)
        while len(throttled) > _MAX_SLOTS:
            slot_s *= 2
            throttled = _slots(throttled, slot_s)
        return TrafficRecord(
            dict(Counter(self.reads) + Counter(other.reads)),
            dict(Counter(self.writes) + Counter(other.writes)),
            dict(throttled),
            slot_s,
        )

    def latency(self) -> dict[str, Percentiles]:
        """The percentiles of `read` and `write`, where there were any."""
        kinds = {"read": self.reads, "write": self.writes}
        return {kind: _percentiles(buckets) for kind, buckets in kinds.items() if buckets}

    def as_numbers(self) -> dict[str, int | float]:
        """The percentiles under one name each: ``read_requests``, ``read_p50_ms``, ..., ``write_p99_ms``."""
        return {
            f"{kind}_{name}": value
            for kind, percentiles in self.latency().items()
            for name, value in asdict(percentiles).items()
        }


class Traffic:
    """A run's requests so far; `now` gives seconds since 1970.

    `requests` and `writes_sent` count each try. A write that is not counted cannot have reached the table. A `part`
    also counts for the whole. `on_answer` receives each answer: whether it was a read, and its seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time, whole: "Traffic | None" = None) -> None:
        self._whole = whole
        self.on_answer: Callable[[bool, float], None] | None = None
        self.requests = 0
        self.writes_sent = 0
        self.retries = 0
        self.throttles = 0
        self.read_units = 0.0
        self.write_units = 0.0
        self._now = now
        self._reads = [0] * len(_BOUNDS_S)
        self._writes = [0] * len(_BOUNDS_S)
        self._throttled: Counter[int] = Counter()

    def part(self) -> "Traffic":
        """A separate count of some of the run's requests."""
        return Traffic(self._now, self)

    def sending(self, is_read: bool) -> None:
        """Count a request that is about to leave."""
        self.requests += 1
        self.writes_sent += not is_read
        if self._whole is not None:
            self._whole.sending(is_read)

    def answered(self, is_read: bool, seconds: float) -> None:
        """Count a request that was answered; on the hot path of every request."""
        # A longer time counts as the last bound.
        (self._reads if is_read else self._writes)[bisect_left(_BOUNDS_S, seconds, 0, _LAST)] += 1
        if self.on_answer is not None:
            self.on_answer(is_read, seconds)
        if self._whole is not None:
            self._whole.answered(is_read, seconds)

    def throttled(self) -> None:
        """Count a reply that asked to slow down."""
        self.throttles += 1
        self._throttled[int(self._now()) // _SLOT_S * _SLOT_S] += 1
        if self._whole is not None:
            self._whole.throttled()

    def retried(self) -> None:
        """Count a request that is about to be tried again after a transient error."""
        self.retries += 1
        if self._whole is not None:
            self._whole.retried()

    def paid(self, units: float, is_read: bool) -> None:
        """Count capacity units."""
        if is_read:
            self.read_units += units
        else:
            self.write_units += units
        if self._whole is not None:
            self._whole.paid(units, is_read)

    def record(self) -> TrafficRecord:
        """The latencies and the throttling so far."""
        throttled = {str(slot): count for slot, count in self._throttled.items()}
        return TrafficRecord() + TrafficRecord(_named(self._reads), _named(self._writes), throttled)


def _named(counts: Sequence[int]) -> dict[str, int]:
    return {name: count for name, count in zip(_NAMES, counts, strict=True) if count}


def _slots(throttled: Mapping[str, int], slot_s: int) -> Counter[str]:
    counts: Counter[str] = Counter()
    for second, count in throttled.items():
        counts[str(int(second) // slot_s * slot_s)] += count
    return counts


def _percentiles(buckets: Mapping[str, int]) -> Percentiles:
    bounds = sorted(buckets, key=float)
    seen = list(accumulate(buckets[bound] for bound in bounds))

    def percentile(share: float) -> float:
        return float(bounds[bisect_left(seen, math.ceil(share * seen[-1]))])

    return Percentiles(seen[-1], percentile(0.50), percentile(0.95), percentile(0.99))
