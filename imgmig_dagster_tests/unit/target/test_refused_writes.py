"""A write that is refused by its condition, or whose reply is lost, is paid for like one that is carried out."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from imgmig_dagster.errors import StateChanged
from imgmig_dagster.fence import Fence
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster_tests.arrange import FakeClock, Target, item_of, row_id
from imgmig_dagster_tests.fault_proxy import Action, FaultProxy, error, reset_after, truncated
from imgmig_dagster_tests.unit.target.opened import opened

LARGE: Item = item_of(1, version={"N": "2"}, note={"M": {"text": {"S": "x" * 3_000}}})
WRITES: dict[str, Callable[[WritableTable], Coroutine[Any, Any, object]]] = {
    "a new item": lambda table: table.put_new(item_of(1)),
    "an update": lambda table: table.update(row_id(1), {**LARGE, "version": {"N": "1"}}, {"width": {"N": "1"}}),
    "a delete": lambda table: table.delete(row_id(1), {**LARGE, "version": {"N": "1"}}),
}


@pytest.mark.parametrize("write", WRITES)
async def test_the_units_of_the_existing_item_are_paid(target: Target, write: str) -> None:
    target.put(LARGE)

    clock = FakeClock()
    async with opened(target, target.url, clock) as table:
        table.sender.limiter.limit(100.0)
        await WRITES[write](table)
        await table.sender.limiter.wait()
        units, slept = table.sender.traffic.write_units, clock.slept

    assert target.item(1) == LARGE
    assert units == 4
    # What it cost is waited for, by the next request, at the rate.
    assert sum(slept) == pytest.approx(4 / 100)


async def test_a_large_new_item_that_is_refused_costs_its_own_size(target: Target) -> None:
    target.put(item_of(1))

    async with opened(target, target.url) as table:
        await table.put_new(LARGE)
        assert table.sender.traffic.write_units == 4


@pytest.mark.parametrize("lost", [reset_after, truncated, error("InternalServerError", 500)])
async def test_a_write_whose_reply_is_lost_is_paid_for_like_one_that_is_answered(
    target: Target, proxy: FaultProxy, lost: Action
) -> None:
    proxy.inject(lost, "BatchWriteItem", times=2)

    # Three times 25 units may have been written.
    clock = FakeClock()
    async with opened(target, proxy.url, clock) as table:
        table.sender.limiter.limit(25.0)
        await table.put_many([item_of(number) for number in range(25)], lambda _count: None)
        await table.sender.limiter.wait()
        assert sum(clock.slept) == pytest.approx(3, rel=0.01)


async def test_a_batch_that_is_refused_and_tells_no_units_is_taken_for_what_it_costs(target: Target) -> None:
    for number in range(25):
        target.put(item_of(number))

    clock = FakeClock()
    async with opened(target, target.url, clock) as table:
        table.sender.limiter.limit(25.0)
        await table.put_new_many([item_of(number) for number in range(25)])
        for _request in range(3):  # which are all in flight
            await table.sender.limiter.wait()
        assert sum(clock.slept) == pytest.approx(3, rel=0.01)


@pytest.mark.parametrize("operation", ["UpdateItem", "BatchExecuteStatement"])
async def test_a_refused_write_takes_back_what_it_paid_in_advance_and_nothing_that_others_paid(
    target: Target, proxy: FaultProxy, operation: str
) -> None:
    target.put(item_of(1))
    target.put(item_of(3))
    held = proxy.hold(1, "BatchWriteItem")

    # The batch that is under way is taken for 25 units, and the write costs a unit for each item.
    paid = 25 + (1 if operation == "UpdateItem" else 2)
    clock = FakeClock()
    async with opened(target, proxy.url, clock) as table:
        table.sender.limiter.limit(25.0)
        batch = asyncio.create_task(table.put_many([item_of(2)], lambda _count: None))
        await asyncio.to_thread(held.wait_for_all)
        slept = len(clock.slept)
        if operation == "UpdateItem":
            assert not await table.update(row_id(1), item_of(1, version={"N": "9"}), {"width": {"N": "1"}})
        else:
            await table.put_new_many([item_of(1), item_of(3)])
        await table.sender.limiter.wait()
        await asyncio.to_thread(held.let_in)
        await batch
        assert sum(clock.slept[slept:]) == pytest.approx(paid / 25, rel=0.01)


class LostLock:
    """See `fence.Lock`."""

    def is_certain(self) -> bool:
        return False

    def confirm(self) -> None:
        raise StateChanged("another run has taken over")


async def test_what_a_fence_keeps_back_costs_the_other_partitions_nothing(target: Target) -> None:
    clock = FakeClock()
    async with opened(target, target.url, clock) as table:
        table.sender.limiter.limit(25.0)
        with pytest.raises(StateChanged):
            await table.for_partition(Fence(LostLock())).put_new(item_of(1))
        await table.sender.limiter.wait()
    assert clock.slept == []
    assert target.items() == {}
