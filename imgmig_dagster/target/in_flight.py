"""How many requests may be in flight, by the service's latency and throttling.

The rule is TCP Vegas' (Brakmo and Peterson, 1995), as Netflix's concurrency-limits applies it to requests. Latency
without load times throughput is what the service works on. More than that in flight waits in a queue of the service or
of our event loop. A short queue keeps both busy; a long one only makes everybody wait. Throttling halves the limit at
once. `slots` lets the requests out, `rate_limit` paces their units.
"""

from collections import Counter, defaultdict
from typing import Final

FIRST_LIMIT: Final = 10
# The queue should have between this many requests; a share of the limit, if that is more.
_SHORT_QUEUE, _SHORT_SHARE = 4, 0.2
_LONG_QUEUE, _LONG_SHARE = 8, 0.4
# An operation is measured in a round that has this many answers of it. One lookup of one key among lookups of a hundred
# says nothing about them.
_LEAST_MEASURED: Final = 4
# A latency that has risen for good must not count as a queue for ever: after this many rounds it is measured again,
# with half as many in flight.
_ROUNDS_BETWEEN_PROBES: Final = 200
_PROBE_ROUNDS: Final = 2  # the first one still gets the answers to what was sent before


class InFlightLimit:
    """`limit` is how many requests may be in flight now, from 1 to `ceiling`.

    It changes by one request a round, and grows only while it is used up. A round has as many answers as may be in
    flight, about one latency. Latencies are compared within one operation.
    """

    def __init__(self, ceiling: int) -> None:
        self._ceiling = ceiling
        self._limit = min(FIRST_LIMIT, ceiling)
        self._unloaded_s: dict[str, float] = {}  # by operation: the shortest mean of a round
        self._answers = Counter[str]()
        self._seconds: defaultdict[str, float] = defaultdict(float)
        self._round_began: float | None = None
        self._rounds = 0
        self._probe_rounds_left = 0
        self._throttled = False

    @property
    def limit(self) -> int:
        """How many requests may be in flight."""
        return max(1, self._limit // 2) if self._probe_rounds_left else self._limit

    def answered(self, operation: str, sent_at: float, now: float) -> None:
        """A request was answered; both times in seconds, by one clock."""
        if self._round_began is None:
            self._round_began = sent_at
        self._answers[operation] += 1
        self._seconds[operation] += now - sent_at
        if self._answers.total() >= self.limit:
            self._end_round(now - self._round_began)
            self._round_began = now

    def throttled(self) -> None:
        """The service pushed back. Requests that are in flight together are throttled together: that is one signal."""
        if not self._throttled:
            self._throttled = True
            self._limit = max(1, self._limit // 2)

    def _end_round(self, elapsed_s: float) -> None:
        if self._probe_rounds_left < _PROBE_ROUNDS:
            self._measure()
        if self._probe_rounds_left:
            self._probe_rounds_left -= 1
        elif not self._throttled:
            self._adapt(is_used_up=sum(self._seconds.values()) >= elapsed_s * self._limit / 2)
        self._throttled = False
        self._answers.clear()
        self._seconds.clear()
        self._rounds += 1
        if self._rounds % _ROUNDS_BETWEEN_PROBES == 0:
            self._unloaded_s.clear()
            self._probe_rounds_left = _PROBE_ROUNDS

    def _measure(self) -> None:
        for operation, answers in self._answers.items():
            if answers >= min(_LEAST_MEASURED, self.limit):
                mean_s = self._seconds[operation] / answers
                self._unloaded_s[operation] = min(mean_s, self._unloaded_s.get(operation, mean_s))

    def _adapt(self, is_used_up: bool) -> None:
        known = self._answers.keys() & self._unloaded_s.keys()
        seconds = sum(self._seconds[operation] for operation in known)
        unloaded_s = sum(self._answers[operation] * self._unloaded_s[operation] for operation in known)
        queue = self._limit * (1 - unloaded_s / seconds) if seconds else 0.0
        if queue > max(_LONG_QUEUE, _LONG_SHARE * self._limit):
            self._limit -= 1
        elif is_used_up and queue < max(_SHORT_QUEUE, _SHORT_SHARE * self._limit):
            self._limit = min(self._limit + 1, self._ceiling)
