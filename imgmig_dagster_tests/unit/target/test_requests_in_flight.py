"""The number of requests in flight follows the latency of a server."""

import asyncio
from collections.abc import Sequence
from itertools import chain, repeat

import pytest

from imgmig_dagster_tests.arrange import FakeClock, Target, item_of
from imgmig_dagster_tests.fault_proxy import Action, Call, FaultProxy, Forward, Reply, error, unprocessed
from imgmig_dagster_tests.unit.target.opened import opened

CEILING = 15
GROWING = range(10, CEILING)
FALLING = range(CEILING, 12, -1)


class Waves:
    """Answers so many calls at a time, all of which must be there first, and says that they took so long."""

    def __init__(self, clock: FakeClock, waves: Sequence[tuple[int, float]]) -> None:
        self._clock = clock
        self._waves = iter(waves)
        self._arrived: int
        self._answered: asyncio.Event
        self._size: int
        self._seconds: float
        self._next()

    async def answer(self, call: Call, forward: Forward) -> Reply:
        reply = await forward(call.body)
        answered = self._answered
        self._arrived += 1
        if self._arrived == self._size:
            self._clock.now += self._seconds
            self._next()
            answered.set()
        await asyncio.wait_for(answered.wait(), 20)
        return reply

    def _next(self) -> None:
        self._arrived = 0
        self._answered = asyncio.Event()
        self._size, self._seconds = next(self._waves, (0, 0.0))


@pytest.mark.parametrize("first_pass", [True, False], ids=["written", "refused by their condition"])
async def test_more_are_in_flight_while_latency_stays_and_fewer_when_it_grows(
    target: Target, proxy: FaultProxy, first_pass: bool
) -> None:
    clock = FakeClock()
    sizes = [*GROWING, CEILING, *FALLING, 12, 12]
    seconds = chain(repeat(0.005, len(GROWING) + 1), repeat(0.015))
    waves = Waves(clock, list(zip(sizes, seconds, strict=False)))
    items = [item_of(number) for number in range(sum(sizes))]
    if not first_pass:
        for item in items:
            target.put(item)
    proxy.inject(waves.answer, "PutItem", times=len(items))

    async with opened(target, proxy.url, clock, requests_in_flight=CEILING) as table:
        found = await asyncio.gather(*(table.put_new(item) for item in items))
        assert [standing is None for standing in found] == [first_pass] * len(items)
        assert table.sender.in_flight.limit == 12
    assert proxy.most_in_flight == CEILING


@pytest.mark.parametrize("answer", [error("ThrottlingException"), unprocessed(25)], ids=["a refusal", "nothing done"])
async def test_a_table_that_throttles_gets_half_of_them(target: Target, proxy: FaultProxy, answer: Action) -> None:
    proxy.inject(answer, "BatchWriteItem")

    async with opened(target, proxy.url, FakeClock(), requests_in_flight=CEILING) as table:
        assert await table.put_many([item_of(number) for number in range(25)], lambda _count: None) == []
        assert table.sender.in_flight.limit == 5
