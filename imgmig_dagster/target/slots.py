"""Slots for requests in flight. Waiting requests get one in turn, partition by partition."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager
from typing import TypeAlias

from imgmig_dagster.target.in_flight import InFlightLimit

_Turn: TypeAlias = "asyncio.Future[None]"


class Slots:
    """As many slots as the limit allows now. If several queues wait, each gets one in turn.

    So a partition with a few requests does not wait for the hundreds of another one. For one event loop.
    """

    def __init__(self, limit: InFlightLimit) -> None:
        self._limit = limit
        self._taken = 0
        self._waiting: dict[Hashable, deque[_Turn]] = {}  # the first queue is the next one

    @property
    def taken(self) -> int:
        """How many are held now."""
        return self._taken

    @asynccontextmanager
    async def slot(self, queue: Hashable) -> AsyncIterator[None]:
        """Hold a slot while the context lasts; wait for one in that queue."""
        await self._take(queue)
        try:
            yield
        finally:
            self._taken -= 1
            self._let_out()

    async def _take(self, queue: Hashable) -> None:
        turn: _Turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(queue, deque()).append(turn)
        self._let_out()
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():  # the slot was given just before
                self._taken -= 1
                self._let_out()
            raise

    def _let_out(self) -> None:
        while self._waiting and self._taken < self._limit.limit:
            queue = next(iter(self._waiting))
            turns = self._waiting.pop(queue)
            turn = turns.popleft()
            if turns:
                self._waiting[queue] = turns  # behind the others
            if not turn.cancelled():
                self._taken += 1
                turn.set_result(None)
