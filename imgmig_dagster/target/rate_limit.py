"""How fast the run may write: a ceiling, additive increase, and halving when the service throttles."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Final

# One partition of a table takes 1,000 write units a second; starting lower after a throttle costs little.
_LOWEST_RATE: Final = 5.0
_INCREASE_PER_SECOND: Final = 25.0
# Requests that were in flight together are throttled together: that is one signal, not ten.
_SIGNAL_INTERVAL_S: Final = 0.25
# Whoever waits looks up this often, so that a changed ceiling is obeyed at once.
_LONGEST_WAIT_S: Final = 0.5


class RateLimiter:
    """Paces requests by the capacity units that the service reports for them.

    Without a ceiling nothing is held back until the first throttle; from then on the rate starts at half of what
    was really reached, and climbs again. Units are paid after the reply, when their number is known.
    """

    def __init__(
        self,
        ceiling: float | None = None,
        clock: Callable[[], float] = time.monotonic,
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

    async def wait(self) -> None:
        """Return when another request may go out."""
        self._refill()
        while self._paused or (self.rate is not None and self._balance < 0):
            owed_s = _LONGEST_WAIT_S if self._paused or self.rate is None else -self._balance / self.rate
            await self._sleep(min(owed_s, _LONGEST_WAIT_S))
            self._refill()

    def limit(self, ceiling: float | None, paused: bool = False) -> None:
        """Change the ceiling, or let nothing out at all; what waits already follows within half a second."""
        self._refill()
        self._paused = paused
        self.ceiling = ceiling
        if not self._pushed_back:
            self.rate = ceiling
        elif ceiling is not None and self.rate is not None:
            self.rate = min(self.rate, ceiling)

    def spent(self, units: float) -> None:
        """Pay for a request that was answered."""
        self._spent += units
        self._balance -= units

    def throttled(self) -> None:
        """Halve the rate: the service pushed back."""
        now = self._clock()
        if now - self._last_signal < _SIGNAL_INTERVAL_S:
            return
        self._last_signal = now
        self._pushed_back = True
        reached = self._spent / max(now - self._started, 0.1)
        self._refill()
        halved = max(_LOWEST_RATE, (reached if self.rate is None else self.rate) / 2)
        # A share of a low ceiling may be below the lowest rate.
        self.rate = halved if self.rate is None else min(halved, self.rate)

    def _refill(self) -> None:
        now = self._clock()
        elapsed, self._updated = now - self._updated, now
        if self.rate is None:
            self._balance = 0.0
            return
        if self.ceiling is None or self.rate < self.ceiling:
            raised = self.rate + _INCREASE_PER_SECOND * elapsed
            self.rate = raised if self.ceiling is None else min(raised, self.ceiling)
        # No more than a tenth of a second's worth is saved up: a burst is what gets a table throttled.
        self._balance = min(self._balance + self.rate * elapsed, self.rate / 10)
