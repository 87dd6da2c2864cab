"""The clock that a run is given: tests pass in their own, so that none waits for real."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.window import now


@dataclass(frozen=True)
class Clock:
    """`now` is ISO 8601 in UTC, `monotonic` and `sleep` are seconds."""

    now: Callable[[], str] = now
    monotonic: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


SYSTEM_CLOCK: Final = Clock()


def awake_or_not() -> float:
    """Seconds of a clock that also runs while the machine is suspended."""
    # macOS has no CLOCK_BOOTTIME; its CLOCK_MONOTONIC goes on.
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))
