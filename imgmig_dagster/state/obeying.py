"""Obeys `imgmig throttle` while a run talks to the target: whatever opens the table does it in here."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol

from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.throttle import read_throttle

# Within 2 s a run obeys: this, and the half second that a waiting request may sleep.
_POLL_S: Final = 1.0


class Limiter(Protocol):
    """What paces a run's requests: see `target.rate_limit`."""

    def limit(self, ceiling: float | None, paused: bool = False) -> None:
        """Change the ceiling, or let nothing out at all."""


@asynccontextmanager
async def obeying_throttle(state: StateStore, limiter: Limiter, settings_rate: float | None) -> AsyncIterator[None]:
    """Obey what `imgmig throttle` asks for, from the beginning and while the context lasts."""

    async def obey() -> None:
        asked = await asyncio.to_thread(read_throttle, state)
        limiter.limit(settings_rate if asked.rate is None else asked.rate, asked.paused)

    async def follow() -> None:
        while True:
            await asyncio.sleep(_POLL_S)
            # What was asked for last stays in force while the state store is away.
            with suppress(ImgmigError, OSError):
                await obey()

    await obey()
    following = asyncio.create_task(follow())
    try:
        yield
    finally:
        following.cancel()
        await asyncio.wait([following])
    if not following.cancelled():
        following.result()  # raises what ended it: from then on nothing was obeyed
