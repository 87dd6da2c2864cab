"""New items in batches of PartiQL: what the client sends each server carries out, or is declared not to."""

import pytest

from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.inserts import BatchInsert, Insert
from imgmig_dagster.target.writer import ExistingItem, WritableTable, WriteFailure
from imgmig_dagster_tests.arrange import Target, item_of
from imgmig_dagster_tests.conformance.conftest import OnTable
from imgmig_dagster_tests.conformance.outcomes import by_key
from imgmig_dagster_tests.conformance.servers import Server
from imgmig_dagster_tests.conformance.test_writes import refusal, sized
from imgmig_dagster_tests.images import IMAGE


def answers(on_table: OnTable, *items: Item) -> list[dict[str, object]]:
    """The codes and items by which a batch's statements are refused, empty where they are carried out."""

    async def work(table: WritableTable) -> list[dict[str, object]]:
        request = BatchInsert(table.name, [Insert(table.name, item) for item in items])
        answered = request.answers(await table.sender.send(request))
        assert answered is not None
        return [answer.get("Error", {}) for answer in answered]

    found: list[dict[str, object]] = on_table(work)
    return [{name: each[name] for name in ("Code", "Item") if name in each} for each in found]


@pytest.mark.parametrize("count", [2, 25, 60])
def test_all_items_are_written_by_statements_alone_and_their_units_reported(
    on_table: OnTable, target: Target, count: int
) -> None:
    items = [item_of(number) for number in range(count)]

    async def work(table: WritableTable) -> tuple[int, float]:
        assert await table.put_new_many(items) == [None] * count
        return table.sender.traffic.writes_sent, table.sender.traffic.write_units

    assert on_table(work) == (-(-count // 25), count)
    assert target.items() == by_key(items)


def test_what_exists_is_left_alone_and_named(on_table: OnTable, target: Target) -> None:
    standing = item_of(1, version={"N": "7"}, tags={"SS": ["a"]})
    target.put(standing)

    found = on_table(lambda table: table.put_new_many([item_of(number) for number in range(3)]))

    assert found == [None, ExistingItem(standing), None]
    assert target.items() == by_key([item_of(0), standing, item_of(2)])


def test_a_refused_statement_brings_the_standing_item_along(on_table: OnTable, target: Target, server: Server) -> None:
    target.put(item_of(1, version={"N": "7"}))

    done, refused = answers(on_table, item_of(0), item_of(1))

    assert (done, refused["Code"]) == ({}, "DuplicateItem")
    assert refused.get("Item") == (item_of(1, version={"N": "7"}) if server.hands_back_what_stands else None)


def test_a_key_twice_in_a_batch_is_refused(on_table: OnTable, target: Target, server: Server) -> None:
    items = [Insert(target.name, item) for item in (item_of(1), item_of(1, version={"N": "2"}))]

    refused = refusal(on_table, lambda table: BatchInsert(table, items)) is not None

    assert refused is server.refuses_duplicate_statements
    # Never both: the second one is refused for the first, where the batch is not.
    assert target.items() == ({} if refused else by_key([item_of(1)]))


def test_an_item_without_its_partition_key_is_refused_by_itself(on_table: OnTable, target: Target) -> None:
    found = answers(on_table, item_of(0), {"no PK": {"NULL": True}})

    assert found == [{}, {"Code": "ValidationError"}]
    assert target.items() == by_key([item_of(0)])


def test_an_item_that_is_too_large_costs_the_others_nothing(on_table: OnTable, target: Target) -> None:
    bad = sized(1, 500_000)

    found = on_table(lambda table: table.put_new_many([item_of(0), bad, item_of(2)]))

    assert found == [None, WriteFailure(bad, "ValidationException", permanent=True), None]
    assert target.items() == by_key([item_of(0), item_of(2)])


def test_names_and_values_arrive_as_they_were_sent(on_table: OnTable, target: Target) -> None:
    odd: Item = {
        'it\'s "quoted"?': {"S": 'O\'Brien "?" --'},
        "set": {"SS": ["a", "b"]},
        "numbers": {"NS": ["1", "2.5"]},
        "bytes": {"B": "AAEC"},
        "null": {"NULL": True},
        "nested": {"M": {"a.b": {"L": [{"M": {"c": {"BOOL": False}}}, {"NULL": True}]}}},
        "select": {"S": "é🙂"},
    }

    assert answers(on_table, item_of(1, **odd), item_of(2)) == [{}, {}]
    odd["bytes"] = {"B": b"\0\1\2"}  # as botocore hands them out
    assert target.items() == by_key([item_of(1, **odd), item_of(2)])


def test_a_missing_table_ends_the_run(on_table: OnTable) -> None:
    async def work(table: WritableTable) -> None:
        missing = WritableTable(table.sender, "no-such-table", IMAGE)
        with pytest.raises(TargetRefused, match="ResourceNotFoundException"):
            await missing.put_new_many([item_of(0), item_of(1)])

    on_table(work)
