"""A write that is refused by its condition costs as much as one that is carried out, and is paid for."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import pytest

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster_tests.arrange import FakeClock, Target, item_of, row_id
from imgmig_dagster_tests.unit.target.opened import opened

LARGE: Item = item_of(1, version={"N": "2"}, note={"M": {"text": {"S": "x" * 3_000}}})
WRITES: dict[str, Callable[[WritableTable], Coroutine[Any, Any, object]]] = {
    "a new item": lambda table: table.put_new(item_of(1)),
    "an update": lambda table: table.update(row_id(1), {**LARGE, "version": {"N": "1"}}, {"width": {"N": "1"}}),
    "a delete": lambda table: table.delete(row_id(1), {**LARGE, "version": {"N": "1"}}),
}


@pytest.mark.parametrize("write", WRITES)
def test_the_units_of_the_item_that_stands_there_are_paid(target: Target, write: str) -> None:
    target.put(LARGE)

    async def run() -> tuple[float, list[float]]:
        clock = FakeClock()
        async with opened(target, target.url, clock) as table:
            table.sender.limiter.limit(100.0)
            await WRITES[write](table)
            await table.sender.limiter.wait()
            return table.sender.traffic.write_units, clock.slept

    units, slept = asyncio.run(run())

    assert target.item(1) == LARGE
    assert units == 4
    # What it cost is waited for, by the next request, at the rate.
    assert sum(slept) == pytest.approx(4 / 100)


def test_a_large_new_item_that_is_refused_costs_its_own_size(target: Target) -> None:
    target.put(item_of(1))

    async def run() -> float:
        async with opened(target, target.url) as table:
            await table.put_new(LARGE)
            return table.sender.traffic.write_units

    assert asyncio.run(run()) == 4
