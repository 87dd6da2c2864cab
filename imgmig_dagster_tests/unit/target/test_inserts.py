"""New items in batches against a real server, with faults per statement: each ends in exactly one finding."""

import asyncio
from collections.abc import Sequence

import pytest

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.writer import Standing, WriteFailure
from imgmig_dagster_tests.arrange import FakeClock, Target, item_of
from imgmig_dagster_tests.fault_proxy import FaultProxy
from imgmig_dagster_tests.unit.target.opened import opened


def insert(
    target: Target, proxy: FaultProxy, items: Sequence[Item], clock: FakeClock | None = None
) -> list[Standing | WriteFailure | None]:
    async def run() -> list[Standing | WriteFailure | None]:
        async with opened(target, proxy.url, clock) as table:
            return await table.put_new_many(items)

    return asyncio.run(run())


def items(count: int) -> list[Item]:
    return [item_of(number) for number in range(count)]


def by_key(found: Sequence[Item]) -> dict[str, Item]:
    return {item["PK"]["S"]: item for item in found}


def sizes(proxy: FaultProxy) -> list[int]:
    return sorted((len(call.keys) for call in proxy.of("BatchExecuteStatement")), reverse=True)


@pytest.mark.parametrize(("count", "batches"), [(0, []), (2, [2]), (25, [25]), (60, [25, 25, 10])])
def test_items_are_written_in_batches_of_at_most_25(
    target: Target, proxy: FaultProxy, count: int, batches: list[int]
) -> None:
    assert insert(target, proxy, items(count)) == [None] * count

    assert sizes(proxy) == batches
    assert proxy.writes == proxy.of("BatchExecuteStatement")
    assert target.items() == by_key(items(count))


def test_an_item_alone_goes_by_put_item(target: Target, proxy: FaultProxy) -> None:
    assert insert(target, proxy, items(26)) == [None] * 26

    assert (sizes(proxy), len(proxy.of("PutItem"))) == ([25], 1)
    assert target.items() == by_key(items(26))


def test_what_stands_is_left_alone_and_told(target: Target, proxy: FaultProxy) -> None:
    newer = item_of(3, version={"N": "7"}, tags={"SS": ["a"]})
    target.put(newer)
    target.put(item_of(4))

    found = insert(target, proxy, items(6))

    assert found == [None, None, None, Standing(newer), Standing(item_of(4)), None]
    assert target.items() == by_key([newer if number == 3 else item_of(number) for number in range(6)])
