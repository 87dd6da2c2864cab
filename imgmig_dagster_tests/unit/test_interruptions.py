"""A signal ends asynchronous work wherever it arrives, with handlers that raise as Dagster's do."""

import asyncio
import signal
from collections.abc import Callable, Iterator
from types import FrameType

import pytest

from imgmig_dagster.concurrency import run_interruptible


class Interrupted(BaseException):
    """What the handler raises: no Exception, as Dagster's own."""


@pytest.fixture(params=[signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def number(request: pytest.FixtureRequest) -> Iterator[signal.Signals]:
    """A signal for which a handler is installed that raises."""

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise Interrupted

    handlers = {number: signal.signal(number, interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
    yield request.param
    assert {signal.getsignal(number) for number in handlers} == {interrupt}
    for each, handler in handlers.items():
        signal.signal(each, handler)


async def ended_by(arrive: Callable[[], object], ended: list[str]) -> None:
    """Work of two tasks, the first of which waits for ever, and in which `arrive` is called by the loop."""
    asyncio.get_running_loop().call_later(0.01, arrive)
    try:
        await asyncio.wait_for(asyncio.Event().wait(), 60)
    finally:
        ended.append("the work")


def test_one_that_arrives_in_a_callback_of_the_loop_is_not_lost(number: signal.Signals) -> None:
    ended = list[str]()
    with pytest.raises(Interrupted):
        run_interruptible(ended_by(lambda: signal.raise_signal(number), ended))
    assert ended == ["the work"]


def test_one_that_arrives_in_the_works_own_code_breaks_it_off_at_once(number: signal.Signals) -> None:
    async def work() -> None:
        signal.raise_signal(number)
        pytest.fail("the work went on")

    with pytest.raises(Interrupted):
        run_interruptible(work())


def test_a_second_one_is_raised_although_the_work_will_not_end(number: signal.Signals) -> None:
    async def stubborn() -> None:
        try:
            await ended_by(lambda: signal.raise_signal(number), [])
        finally:
            signal.raise_signal(number)
            pytest.fail("the work went on")

    with pytest.raises(Interrupted):
        run_interruptible(stubborn())


def test_work_that_ends_by_itself_gives_its_result() -> None:
    assert run_interruptible(asyncio.sleep(0, "done")) == "done"
