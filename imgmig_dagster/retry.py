"""When a failed call is made again. Time and chance are passed in, so that no test waits for real."""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class RetryPolicy:
    """Exponential backoff with jitter: `delays` are seconds, one per retry; jitter only lengthens them.

    `deadline` is how long a call may go without progress while the service pushes back, in seconds.
    """

    delays: tuple[float, ...] = (0.1, 0.2, 0.4)
    jitter: float = 0.5
    deadline: float = 15 * 60.0
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    random: Callable[[], float] = random.random

    @property
    def attempts(self) -> int:
        """The first try and its retries."""
        return len(self.delays) + 1

    def delay(self, retry: int) -> float:
        """Seconds before retry number `retry` (from 0); past the last one, the last delay."""
        return self.delays[min(retry, len(self.delays) - 1)] * (1 + self.jitter * self.random())
