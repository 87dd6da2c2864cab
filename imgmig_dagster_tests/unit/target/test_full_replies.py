"""Keys left for want of room in a reply are asked for at once; those that a throttling table leaves are not."""

import asyncio
from dataclasses import dataclass

import pytest

from imgmig_dagster.target.target_table import Lookup
from imgmig_dagster_tests.arrange import FakeClock, Target, item_of, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, unprocessed
from imgmig_dagster_tests.unit.target.opened import opened
from imgmig_dagster_tests.wire_faults import one_partition

RATE = 20_000.0


@dataclass(frozen=True)
class Reading:
    """What a look-up gave, and what it cost; `rate` is the limiter's afterwards, of `RATE`."""

    found: Lookup
    throttles: int
    retries: int
    rate: float | None
    slept: list[float]


def read(target: Target, url: str, count: int, rate: float | None = None) -> Reading:
    async def run() -> Reading:
        clock = FakeClock()
        async with opened(target, url, clock) as table:
            table.sender.limiter.limit(rate)
            found = await table.get_many([row_id(number) for number in range(count)])
            traffic = table.sender.traffic
            return Reading(found, traffic.throttles, traffic.retries, table.sender.limiter.rate, clock.slept)

    return asyncio.run(run())


def fill(target: Target, count: int, size: int) -> Lookup:
    items = {row_id(number): item_of(number, originalFilename={"S": "x" * size}) for number in range(count)}
    for item in items.values():
        target.put(item)
    return Lookup(items, frozenset())


def test_a_reply_that_is_full_at_16_megabytes_is_no_throttling(target: Target, proxy: FaultProxy) -> None:
    expected = fill(target, 100, 200_000)

    assert read(target, proxy.url, 100) == Reading(expected, throttles=0, retries=0, rate=None, slept=[])
    assert [len(call.keys) for call in proxy.of("BatchGetItem")] == [100, 17]


def test_a_ceiling_stays_where_it_was_asked_to_be(target: Target, proxy: FaultProxy) -> None:
    fill(target, 100, 200_000)

    reading = read(target, proxy.url, 100, RATE)

    assert (reading.throttles, reading.rate) == (0, RATE)


@pytest.mark.parametrize(("size", "requests"), [(200_000, 3), (390_000, 6)])
def test_nor_is_one_that_holds_the_megabyte_of_a_partition(
    target: Target, proxy: FaultProxy, size: int, requests: int
) -> None:
    expected = fill(target, 12, size)
    proxy.inject(one_partition, "BatchGetItem", times=100)

    assert read(target, proxy.url, 12) == Reading(expected, throttles=0, retries=0, rate=None, slept=[])
    assert len(proxy.of("BatchGetItem")) == requests


@pytest.mark.parametrize("size", [10, 4_000])
def test_a_table_that_throttles_slows_the_run_down(target: Target, proxy: FaultProxy, size: int) -> None:
    expected = fill(target, 100, size)
    proxy.inject(unprocessed(40), "BatchGetItem")
    proxy.inject(unprocessed(40), "BatchGetItem")

    reading = read(target, proxy.url, 100, RATE)

    assert reading.found == expected
    assert reading.throttles == 2
    assert reading.rate is not None
    assert reading.rate < RATE
    assert reading.slept


def test_large_items_of_a_table_that_throttles_slow_it_down_as_soon_as_a_reply_holds_less(
    target: Target, proxy: FaultProxy
) -> None:
    expected = fill(target, 20, 200_000)
    proxy.inject(unprocessed(10), "BatchGetItem")
    proxy.inject(unprocessed(8), "BatchGetItem")
    proxy.inject(error("ProvisionedThroughputExceededException"), "BatchGetItem")

    reading = read(target, proxy.url, 20, RATE)

    assert reading.found == expected
    assert reading.throttles == 2
    assert [len(call.keys) for call in proxy.of("BatchGetItem")] == [20, 10, 8, 8]
