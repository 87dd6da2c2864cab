"""How fast the run may send: its share of the stage's rate, additive increase, and half the rate after a throttle.

`state.obeying` sets the share, which it keeps with the other runs; it is based on `Usage`, which is measured here.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Final

from imgmig_dagster.clock import awake_or_not
from imgmig_dagster.fair_rate import Usage

# One partition of a table accepts 1,000 write units a second. Starting lower after a throttle costs little.
_LOWEST_RATE: Final = 5.0
_INCREASE_PER_SECOND: Final = 25.0
# Requests that are in flight together are throttled together: that is one signal, not ten.
_SIGNAL_INTERVAL_S: Final = 0.25
# How often a waiting request checks, so that it obeys a changed ceiling at once.
_LONGEST_WAIT_S: Final = 0.5
# A run that waited for more of the time than this would use any share.
_HELD_BACK: Final = 0.9
# The assumed cost of a request before any was answered: a batch of small items.
_FIRST_COST: Final = 25.0
# The weight of the last request in the usual cost.
_WEIGHT: Final = 0.2


class RateLimiter:
    """Paces requests by the capacity units that the service reports for them, read units and write units alike.

    Without a ceiling nothing waits until the first throttle. Then the rate starts at half of what was reached, and
    climbs. A request pays its usual cost before it goes out, and the rest after the reply, when the number of units is
    known.
    """

    def __init__(
        self,
        ceiling: float | None = None,
        clock: Callable[[], float] = awake_or_not,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.ceiling = ceiling
        self.rate = ceiling
        self._clock = clock
        self._sleep = sleep
        self._started = clock()
        self._updated = self._started
        self._spent = 0.0
        self._balance = 0.0
        self._last_signal = -_SIGNAL_INTERVAL_S
        self._pushed_back = False
        self._paused = False
        self._until = math.inf
        self._limited_at = self._started
        self._stood_still_s = 0.0
        self._given_up: Exception | None = None
        self._typical = _FIRST_COST
        self._turn = asyncio.Lock()
        self._waiting = 0
        self._waiting_since = 0.0
        self._held_back_s = 0.0
        self._measured_at = self._started
        self._spent_before = 0.0
        self._throttled = False

    async def wait(self) -> float:
        """Return when another request may go out; requests go in the order in which they came.

        What is returned was paid for it in advance, and belongs into `spent` or `lost`. Otherwise many requests in
        flight would go out at once on a balance of zero.

        Raises:
            ImgmigError: no request may go out any more; the error that `give_up` got.
        """
        self._refill()
        if self._turn.locked() or self._holds_back():
            self._measure_waiting(+1)
            try:
                async with self._turn:  # one looks at the clock, and not all that wait
                    await self._while_held_back()
            finally:
                self._measure_waiting(-1)
        advance = 0.0 if self.rate is None else self._typical
        self._balance -= advance
        return advance

    async def _while_held_back(self) -> None:
        self._refill()
        while self._holds_back():
            if self._given_up is not None:
                raise self._given_up
            owed_s = -self._balance / self.rate if self._balance < 0 and self.rate else _LONGEST_WAIT_S
            await self._sleep(min(owed_s, _LONGEST_WAIT_S))
            self._refill()

    def limit(self, ceiling: float | None, paused: bool = False, until: float = math.inf) -> None:
        """Change the ceiling, or let nothing out at all; waiting requests follow within half a second.

        After `until`, by the limiter's clock, nothing goes out before the next call.
        """
        self._refill()
        self._stood_still_s, self._limited_at = self.stood_still_s, self._updated
        self._paused = paused
        self._until = until
        self._given_up = None
        self.ceiling = ceiling
        if not self._pushed_back:
            self.rate = ceiling
        elif ceiling is not None and self.rate is not None:
            self.rate = min(self.rate, ceiling)

    def give_up(self, cause: Exception) -> None:
        """Raise this where requests wait, until the next call of `limit`."""
        self._given_up = cause

    @property
    def stood_still_s(self) -> float:
        """For how long nothing might go out, in seconds: by a pause, or without a share of the rate."""
        since = self._limited_at if self._paused else self._until
        return self._stood_still_s + max(0.0, self._clock() - since)

    def spent(self, units: float, advance: float = 0.0) -> None:
        """Pay for a request, less what was paid in advance; 0 units for a refused one, or for none."""
        self._spent += units
        self._balance += advance - units
        if units:
            self._typical += (units - self._typical) * _WEIGHT

    def lost(self, advance: float) -> None:
        """Count a request whose reply is lost. It may have been carried out, so its advance stays paid."""
        self._spent += advance

    def throttled(self) -> None:
        """Halve the rate: the service pushed back."""
        now = self._clock()
        if now - self._last_signal < _SIGNAL_INTERVAL_S:
            return
        self._last_signal = now
        reached = self._spent / max(now - self._started, 0.1)
        self._refill()
        self._pushed_back = self._throttled = True
        halved = max(_LOWEST_RATE, (reached if self.rate is None else self.rate) / 2)
        # A share of a low ceiling may be below the lowest rate.
        self.rate = halved if self.rate is None else min(halved, self.rate)

    def usage(self) -> Usage:
        """What was used since the last call, and what would have been used without waiting."""
        self._measure_waiting(0)
        now = self._clock()
        seconds, self._measured_at = now - self._measured_at, now
        units, self._spent_before = self._spent - self._spent_before, self._spent
        held_back_s, self._held_back_s = self._held_back_s, 0.0
        throttled, self._throttled = self._throttled, False
        if seconds <= 0:
            return Usage(throttled=throttled)
        free_s = seconds - held_back_s
        demand = units / free_s if free_s > (1 - _HELD_BACK) * seconds else None
        return Usage(units / seconds, demand, throttled)

    def _holds_back(self) -> bool:
        return self._paused or self._updated >= self._until or (self.rate is not None and self._balance < 0)

    def _measure_waiting(self, more: int) -> None:
        """Add up the time in which at least one request waited."""
        if self._waiting:
            self._held_back_s += self._clock() - self._waiting_since
        self._waiting += more
        self._waiting_since = self._clock()

    def _refill(self) -> None:
        now = self._clock()
        elapsed, self._updated = now - self._updated, now
        if self.rate is None:
            self._balance = 0.0
            return
        if self.ceiling is None or self.rate < self.ceiling:
            raised = self.rate + _INCREASE_PER_SECOND * elapsed
            self.rate = raised if self.ceiling is None else min(raised, self.ceiling)
        if self.rate == self.ceiling:
            self._pushed_back = False  # it follows the ceiling at once again
        # No more than a tenth of a second's worth is saved up: a burst is what gets a table throttled.
        self._balance = min(self._balance + self.rate * elapsed, self.rate / 10)
