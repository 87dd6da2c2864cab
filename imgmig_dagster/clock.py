"""The time as a run sees it, passed in: no test of a run waits for real."""

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
