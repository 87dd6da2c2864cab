"""Slots for requests: none is lost, none is given twice, and partitions take turns."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress

import pytest

from imgmig_dagster.target.in_flight import InFlightLimit
from imgmig_dagster.target.slots import Slots

FIRST, SECOND, THIRD = "2024-03-01", "2024-03-02", "2024-03-03"


class Bench:
    """Tasks that hold a slot until they are told to end; `held` names those that have one, in the order they got it."""

    def __init__(self, ceiling: int) -> None:
        self.limit = InFlightLimit(ceiling)
        self.slots = Slots(self.limit)
        self.held: list[str] = []
        self.ends: dict[str, asyncio.Event] = {}

    async def begin(self, *names: str, queue: str = FIRST) -> list[asyncio.Task[None]]:
        tasks = [asyncio.create_task(self._hold(name, queue)) for name in names]
        await self.let_all_wait()
        return tasks

    async def end(self, *names: str) -> None:
        for name in names:
            self.ends[name].set()
            await self.let_all_wait()

    async def let_all_wait(self) -> None:
        """Let every task go on until it waits."""
        for _ in range(10):
            await asyncio.sleep(0)

    async def _hold(self, name: str, queue: str) -> None:
        self.ends[name] = asyncio.Event()
        async with self.slots.slot(queue):
            self.held.append(name)
            try:
                await self.ends[name].wait()
            finally:
                self.held.remove(name)


async def cancelled_while_it_waits(bench: Bench) -> None:
    await bench.begin("a", "b")
    (waiting,) = await bench.begin("c")
    waiting.cancel()
    await bench.end("a", "b")


async def cancelled_in_the_step_in_which_it_is_let_out(bench: Bench) -> None:
    await bench.begin("a", "b")
    (waiting,) = await bench.begin("c")
    bench.ends["a"].set()
    await asyncio.sleep(0)
    assert bench.held == ["b"]  # and the waiting task has not gone on yet
    waiting.cancel()
    await bench.let_all_wait()
    await bench.end("b")


async def cancelled_while_it_holds(bench: Bench) -> None:
    for task in await bench.begin("a", "b"):
        task.cancel()
    await bench.let_all_wait()


async def an_error_while_it_holds(bench: Bench) -> None:
    with suppress(ValueError):
        async with bench.slots.slot(FIRST):
            raise ValueError


async def all_that_wait_are_cancelled(bench: Bench) -> None:
    """As an interrupted run does."""
    tasks = await bench.begin(*"abcdefgh")
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    "scenario",
    [
        cancelled_while_it_waits,
        cancelled_in_the_step_in_which_it_is_let_out,
        cancelled_while_it_holds,
        an_error_while_it_holds,
        all_that_wait_are_cancelled,
    ],
)
async def test_no_slot_is_lost_and_none_is_given_twice(scenario: Callable[[Bench], Awaitable[None]]) -> None:
    bench = Bench(2)
    await scenario(bench)
    assert bench.held == []
    tasks = await bench.begin("x", "y", "z")
    assert bench.held == ["x", "y"]
    await bench.end("x")
    assert bench.held == ["y", "z"]
    await bench.end("y", "z")
    await asyncio.gather(*tasks)


async def test_the_one_that_waits_longest_is_next() -> None:
    bench = Bench(1)
    await bench.begin("a", "b", "c")
    for name in "abc":
        assert bench.held == [name]
        await bench.end(name)


async def test_partitions_take_turns_however_much_one_of_them_asks_for() -> None:
    def order(bench: Bench) -> Iterator[str]:
        while bench.held:
            yield bench.held[0]

    bench = Bench(1)
    await bench.begin("a1", "a2", "a3", "a4", queue=FIRST)
    await bench.begin("b1", queue=SECOND)
    await bench.begin("c1", "c2", queue=THIRD)
    seen = []
    for name in order(bench):
        seen.append(name)
        await bench.end(name)
    assert seen == ["a1", "a2", "b1", "c1", "a3", "c2", "a4"]


async def test_a_limit_that_falls_takes_no_slot_away_and_lets_nobody_else_out() -> None:
    bench = Bench(4)
    await bench.begin("a", "b", "c", "d", "e", "f")
    bench.limit.throttled()
    assert bench.held == ["a", "b", "c", "d"]
    await bench.end("a", "b")
    assert bench.held == ["c", "d"]
    await bench.end("c")
    assert bench.held == ["d", "e"]
    await bench.end("d", "e", "f")


async def test_a_limit_that_grows_lets_out_who_waits() -> None:
    bench = Bench(12)
    names = [f"{number}" for number in range(14)]
    await bench.begin(*names)
    assert len(bench.held) == 10
    for number in range(10):
        bench.limit.answered("PutItem", float(number), number + 10.0)
    await bench.end("0")
    assert len(bench.held) == 11
    await bench.end(*names[1:])
