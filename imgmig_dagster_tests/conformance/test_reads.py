"""What a server holds is read back whole: every type, every key, every segment."""

import uuid
from itertools import chain
from typing import Any

import pytest

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.sizes import item_bytes
from imgmig_dagster.steps.census_target import AT_ONCE
from imgmig_dagster.target.target_table import Lookup
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster_tests.arrange import Target, item_of, row_id
from imgmig_dagster_tests.conformance.conftest import OnTable
from imgmig_dagster_tests.conformance.servers import Server
from imgmig_dagster_tests.images import IMAGE

VALUES: dict[str, dict[str, Any]] = {
    "text": {"S": "caf\u00e9 cafe\u0301 \U0001f468\u200d\U0001f469 \u202egpj \r\n\t\0 \\\"'"},
    "empty text": {"S": ""},
    "zero": {"N": "0"},
    "negative": {"N": "-1"},
    "2^53+1": {"N": "9007199254740993"},
    "2^63-1": {"N": "9223372036854775807"},
    "fraction": {"N": "0.0015"},
    "NULL": {"NULL": True},
    "true": {"BOOL": True},
    "binary": {"B": "AP8="},
    "set of text": {"SS": ["a", "b"]},
    "set of numbers": {"NS": ["1", "2"]},
    "list": {"L": [{"S": "a"}, {"N": "1"}, {"L": []}]},
    "map": {"M": {"k": {"S": "v"}, "m": {"M": {}}}},
}


async def write(table: WritableTable, items: list[Item]) -> None:
    assert await table.put_many(items, lambda _rows: None) == []


@pytest.mark.parametrize("how", ["PutItem", "BatchWriteItem"])
def test_every_type_comes_back_as_it_was_written(on_table: OnTable, how: str) -> None:
    item: Item = {**IMAGE.key("types"), **VALUES}

    async def work(table: WritableTable) -> tuple[Item | None, list[Item]]:
        if how == "PutItem":
            await table.put_new(item)
        else:
            await write(table, [item])
        return await table.get("types"), await anext(table.scan(0, 1))

    got, scanned = on_table(work)
    assert got == item
    assert scanned == [item]


def test_a_number_written_otherwise_comes_back_in_its_plain_form(
    on_table: OnTable, target: Target, server: Server
) -> None:
    target.put(item_of(1, sizeBytes={"N": "1.001E3"}))

    found = on_table(lambda table: table.get(row_id(1)))

    assert found["sizeBytes"] == {"N": "1001" if server.normalizes_numbers else "1.001E3"}


def test_any_number_of_keys_is_read_and_absent_ones_have_no_item(on_table: OnTable) -> None:
    items = [item_of(number) for number in range(0, 210, 2)]

    async def work(table: WritableTable) -> Lookup:
        await write(table, items)
        return await table.get_many([row_id(number) for number in range(210)])

    assert on_table(work) == Lookup({row_id(2 * index): item for index, item in enumerate(items)}, frozenset())


def test_items_of_over_16_megabytes_together_are_all_read(on_table: OnTable, target: Target) -> None:
    """DynamoDB stops at 16 MB and names the keys that are left."""
    items = [item_of(number, originalFilename={"S": "x" * 400_000}) for number in range(44)]
    for item in items:
        target.put(item)

    async def work(table: WritableTable) -> tuple[Lookup, int]:
        return await table.get_many([row_id(number) for number in range(44)]), table.sender.traffic.requests

    lookup, requests = on_table(work)
    assert lookup == Lookup({row_id(number): item for number, item in enumerate(items)}, frozenset())
    assert requests == 2


@pytest.mark.parametrize("long", ["y" * 2_043, "é" * 1_022], ids=["one byte too long", "two bytes a character"])
def test_a_key_that_no_item_can_have_is_absent_and_hides_no_other(on_table: OnTable, long: str) -> None:
    """DynamoDB would refuse the whole batch for it."""

    async def work(table: WritableTable) -> Lookup:
        await write(table, [item_of(number) for number in range(20)])
        return await table.get_many([*(row_id(number) for number in range(20)), long])

    lookup = on_table(work)
    assert lookup == Lookup({row_id(number): item_of(number) for number in range(20)}, frozenset())


def test_reads_report_the_units_that_they_cost(on_table: OnTable) -> None:
    """One for each started 4 KB of an item, and one for a key without an item; a scan's are of the page as a whole."""
    items = [item_of(0, originalFilename={"S": "x" * 5_000}), *map(item_of, range(1, 10))]

    async def work(table: WritableTable) -> tuple[float, float]:
        await write(table, items)
        await table.get_many([row_id(number) for number in range(12)])
        got = table.sender.traffic.read_units
        await anext(table.scan(0, 1))
        return got, table.sender.traffic.read_units - got

    assert on_table(work) == (2 + 9 + 2, -(-sum(map(item_bytes, items)) // 4_096))


@pytest.mark.parametrize("segments", [1, AT_ONCE])
def test_the_segments_of_a_scan_hold_every_item_once(on_table: OnTable, target: Target, segments: int) -> None:
    # Pages end at 1 MB: one segment at least has more than one.
    items: list[Item] = [
        {**item_of(0, originalFilename={"S": "x" * 250_000}), **IMAGE.key(str(uuid.UUID(int=number * 7_919**9)))}
        for number in range(24)
    ]
    items.append({"PK": {"S": "USER#1"}, "SK": {"S": "PROFILE"}})
    for item in items:
        target.put(item)

    async def pages(table: WritableTable, segment: int) -> list[list[Item]]:
        return [page async for page in table.scan(segment, segments)]

    async def work(table: WritableTable) -> list[list[list[Item]]]:
        return [await pages(table, segment) for segment in range(segments)]

    scanned = on_table(work)
    found = [item["PK"]["S"] for item in chain.from_iterable(chain.from_iterable(scanned))]
    assert sorted(found) == sorted(item["PK"]["S"] for item in items)
    assert max(map(len, scanned)) > 1
