"""What the client writes, each server holds; what DynamoDB refuses, each server refuses, or is declared not to."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.sizes import item_bytes
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.faults import TargetFault
from imgmig_dagster.target.requests import BatchWriteItem, PutNewItem
from imgmig_dagster.target.target_table import describe
from imgmig_dagster.target.writer import ExistingItem, WritableTable, WriteFailure
from imgmig_dagster_tests.arrange import Target, item_of, row_id
from imgmig_dagster_tests.conformance.conftest import STRICT, Endpoint, OnTable
from imgmig_dagster_tests.conformance.outcomes import by_key
from imgmig_dagster_tests.conformance.servers import Server
from imgmig_dagster_tests.conftest import create_table
from imgmig_dagster_tests.images import IMAGE


def sized(number: int, size: int, **changes: Any) -> Item:
    """An item of exactly so many bytes."""
    rest = item_bytes(item_of(number, **{**changes, "originalFilename": {"S": ""}}))
    return item_of(number, **{**changes, "originalFilename": {"S": "x" * (size - rest)}})


def with_id(identifier: str) -> Item:
    return {**item_of(1), **IMAGE.key(identifier)}


def write(on_table: OnTable, items: list[Item]) -> list[WriteFailure]:
    async def work(table: WritableTable) -> list[WriteFailure]:
        return await table.put_many(items, lambda _rows: None)

    found: list[WriteFailure] = on_table(work)
    return found


def refusal(on_table: OnTable, request: Any) -> DynamoDBError | None:
    """The error by which the service refuses a request, None where it takes it."""

    async def work(table: WritableTable) -> DynamoDBError | None:
        try:
            await table.sender.send(request(table.name))
        except DynamoDBError as error:
            return error
        return None

    found: DynamoDBError | None = on_table(work)
    return found


def is_rejected(on_table: OnTable, item: Item, how: str) -> bool:
    """Whether an item is refused as such, by PutItem or in a batch."""
    if how == "BatchWriteItem":
        failures = write(on_table, [item])
        assert all(failure.permanent and failure.code == "ValidationException" for failure in failures)
        return bool(failures)
    error = refusal(on_table, lambda table: PutNewItem(table, item, IMAGE.key_attributes[0]))
    assert error is None or error.fault is TargetFault.REJECT
    return error is not None


WAYS = pytest.mark.parametrize("how", ["PutItem", "BatchWriteItem"])


class TestConditionalPut:
    def test_where_nothing_exists_the_item_is_written(self, on_table: OnTable, target: Target) -> None:
        assert on_table(lambda table: table.put_new(item_of(1))) is None

        assert target.items() == by_key([item_of(1)])

    def test_what_exists_is_left_alone_and_handed_back(self, on_table: OnTable, target: Target) -> None:
        standing = item_of(1, version={"N": "7"}, tags={"SS": ["a"]})
        target.put(standing)

        assert on_table(lambda table: table.put_new(item_of(1))) == ExistingItem(standing)

        assert target.item(1) == standing

    def test_a_failed_condition_brings_the_standing_item_along_if_asked(self, target: Target) -> None:
        standing = item_of(1, version={"N": "7"}, tags={"SS": ["a"]})
        target.put(standing)

        with pytest.raises(target.client.exceptions.ConditionalCheckFailedException) as caught:
            target.client.put_item(
                TableName=target.name,
                Item=item_of(1),
                ConditionExpression="attribute_not_exists(PK)",
                ReturnValuesOnConditionCheckFailure="ALL_OLD",
            )

        assert caught.value.response["Item"] == standing


CHANGES: Item = {"width": {"N": "1"}, "version": {"N": "2"}}
ABSENT: list[tuple[str, ...]] = [(), ("version",), ("updatedAt",), ("version", "updatedAt")]
CONCURRENT: list[dict[str, Any]] = [
    {"version": {"N": "2"}},
    {"updatedAt": {"S": "2024-05-06T07:08:09.124Z"}},
    {"version": None},
    {"updatedAt": None},
    {"version": {"S": "1"}},
]


class TestWritesOnWhatWasSeen:
    @pytest.mark.parametrize("absent", ABSENT)
    def test_an_item_as_it_was_seen_is_updated_and_deleted(
        self, on_table: OnTable, target: Target, absent: tuple[str, ...]
    ) -> None:
        seen = item_of(1, tags={"SS": ["kept"]}, **dict.fromkeys(absent))
        target.put(seen)

        assert on_table(lambda table: table.update(row_id(1), seen, {"width": {"N": "1"}})) is True
        assert target.item(1) == {**seen, "width": {"N": "1"}}
        assert on_table(lambda table: table.delete(row_id(1), seen)) is True
        assert target.item(1) is None

    def test_an_attribute_is_taken_away(self, on_table: OnTable, target: Target) -> None:
        target.put(item_of(1))

        assert (
            on_table(lambda table: table.update(row_id(1), item_of(1), {"width": None, "height": {"N": "1"}})) is True
        )
        assert target.item(1) == item_of(1, width=None, height={"N": "1"})
        assert on_table(lambda table: table.update(row_id(1), item_of(1), {"height": None})) is True
        assert target.item(1) == item_of(1, width=None, height=None)

    @pytest.mark.parametrize("concurrent", CONCURRENT)
    def test_an_item_written_in_between_is_neither_updated_nor_deleted(
        self, on_table: OnTable, target: Target, concurrent: dict[str, Any]
    ) -> None:
        standing = item_of(1, **concurrent)
        target.put(standing)

        assert on_table(lambda table: table.update(row_id(1), item_of(1), CHANGES)) is False
        assert on_table(lambda table: table.delete(row_id(1), item_of(1))) is False
        assert target.item(1) == standing

    @pytest.mark.parametrize("appeared", ["version", "updatedAt"])
    def test_an_attribute_that_was_absent_and_appeared_stops_both(
        self, on_table: OnTable, target: Target, appeared: str
    ) -> None:
        seen = item_of(1, **{appeared: None})
        target.put(item_of(1))

        assert on_table(lambda table: table.update(row_id(1), seen, CHANGES)) is False
        assert on_table(lambda table: table.delete(row_id(1), seen)) is False
        assert target.item(1) == item_of(1)

    def test_an_update_of_an_item_that_is_gone_makes_none(self, on_table: OnTable, target: Target) -> None:
        seen = item_of(1, version=None, updatedAt=None)

        assert on_table(lambda table: table.update(row_id(1), seen, CHANGES)) is False
        assert target.items() == {}


class TestBatches:
    @pytest.mark.parametrize("count", [1, 25, 26, 60])
    def test_all_items_are_written_and_their_units_reported(
        self, on_table: OnTable, target: Target, count: int
    ) -> None:
        items = [item_of(number) for number in range(count)]

        async def work(table: WritableTable) -> float:
            assert await table.put_many(items, lambda _rows: None) == []
            return table.sender.traffic.write_units

        assert on_table(work) == count
        assert target.items() == by_key(items)

    def test_a_batch_replaces_what_stands(self, on_table: OnTable, target: Target) -> None:
        target.put(item_of(1, version={"N": "7"}, tags={"SS": ["a"]}))

        assert write(on_table, [item_of(1)]) == []
        assert target.item(1) == item_of(1)

    def test_a_batch_of_several_megabytes_is_written(self, on_table: OnTable, target: Target) -> None:
        items = [item_of(number, originalFilename={"S": "x" * 100_000}) for number in range(25)]

        assert write(on_table, items) == []
        assert target.items() == by_key(items)

    def test_a_batch_of_26_is_refused(self, on_table: OnTable, server: Server) -> None:
        items = [item_of(number) for number in range(26)]

        assert (refusal(on_table, lambda table: BatchWriteItem(table, items)) is not None) is (
            server.refuses_batches_of_26
        )

    def test_a_key_twice_in_a_batch_is_refused(self, on_table: OnTable, server: Server) -> None:
        items = [item_of(1), item_of(1, version={"N": "2"})]

        assert (refusal(on_table, lambda table: BatchWriteItem(table, items)) is not None) is (
            server.refuses_duplicate_keys
        )

    def test_one_bad_item_is_singled_out_and_the_others_are_written(self, on_table: OnTable, target: Target) -> None:
        good = [item_of(number) for number in range(25) if number != 17]
        bad = sized(17, 500_000)

        failures = write(on_table, [*good[:17], bad, *good[17:]])

        assert failures == [WriteFailure(bad, "ValidationException", permanent=True)]
        assert target.items() == by_key(good)

    def test_a_rejected_batch_writes_nothing(self, on_table: OnTable, target: Target, server: Server) -> None:
        items = [item_of(1), sized(2, 500_000), item_of(3)]

        assert refusal(on_table, lambda table: BatchWriteItem(table, items)) is not None

        assert (target.items() == {}) is server.rejected_batch_writes_nothing


class TestLimits:
    @WAYS
    def test_an_item_of_the_largest_size_is_taken_and_one_byte_more_is_not(
        self, on_table: OnTable, target: Target, server: Server, how: str
    ) -> None:
        assert not is_rejected(on_table, sized(1, server.largest_item), how)
        assert is_rejected(on_table, sized(2, server.largest_item + 1), how)
        assert target.items() == by_key([sized(1, server.largest_item)])

    @STRICT
    @pytest.mark.parametrize("number", ["0", "-5", "10", "100", "1000", "6400", "-64000", "9223372036854775807"])
    def test_numbers_take_the_room_that_the_transformation_counts(
        self, on_table: OnTable, number: str, server: Server
    ) -> None:
        assert not is_rejected(on_table, sized(1, server.largest_item, sizeBytes={"N": number}), "PutItem")
        assert is_rejected(on_table, sized(2, server.largest_item + 1, sizeBytes={"N": number}), "PutItem")

    @WAYS
    def test_a_partition_key_of_2048_bytes_is_taken_and_one_byte_more_is_not(
        self, on_table: OnTable, target: Target, how: str
    ) -> None:
        assert not is_rejected(on_table, with_id("é" * 1_021), how)
        assert is_rejected(on_table, with_id("é" * 1_021 + "x"), how)
        assert list(target.items()) == ["IMAGE#" + "é" * 1_021]

    @WAYS
    def test_an_empty_key_is_refused(self, on_table: OnTable, target: Target, how: str) -> None:
        assert is_rejected(on_table, {**item_of(1), "PK": {"S": ""}}, how)
        assert target.items() == {}

    @WAYS
    def test_38_digits_are_kept_and_39_refused(
        self, on_table: OnTable, target: Target, server: Server, how: str
    ) -> None:
        digits = item_of(1, sizeBytes={"N": "12345678901234567890123456789012345678"})

        assert not is_rejected(on_table, digits, how)
        assert target.item(1) == digits
        more = item_of(2, sizeBytes={"N": "123456789012345678901234567890123456789"})
        assert is_rejected(on_table, more, how) is server.refuses_39_digits


class TestTheTableItself:
    @pytest.mark.parametrize("how", ["put_new", "update", "delete", "get_many", "scan", "batch"])
    def test_a_missing_table_stops_every_operation(self, on_table: OnTable, how: str) -> None:
        async def work(table: WritableTable) -> None:
            missing = WritableTable(table.sender, "no-such-table", IMAGE)
            operations: dict[str, Callable[[], Awaitable[object]]] = {
                "put_new": lambda: missing.put_new(item_of(1)),
                "update": lambda: missing.update(row_id(1), item_of(1), CHANGES),
                "delete": lambda: missing.delete(row_id(1), item_of(1)),
                "get_many": lambda: missing.get_many([row_id(1)]),
                "scan": lambda: anext(missing.scan(0, 4)),
                "batch": lambda: missing.put_many([item_of(1)], lambda _rows: None),
            }
            with pytest.raises(TargetRefused, match="ResourceNotFoundException"):
                await operations[how]()

        on_table(work)

    def test_it_is_known_by_its_arn_and_creation_time(self, endpoint: Endpoint, target: Target) -> None:
        identity = describe(endpoint.access, target.name, IMAGE)

        assert identity.arn.endswith(f"table/{target.name}")
        assert identity == describe(endpoint.access, target.name, IMAGE)

    def test_another_key_schema_is_refused_before_and_while_it_is_written(
        self, endpoint: Endpoint, on_table: OnTable, target: Target
    ) -> None:
        other = f"{target.name}-other"
        create_table(endpoint.client, other, {"id": "S"})
        try:
            endpoint.client.get_waiter("table_exists").wait(TableName=other, WaiterConfig={"Delay": 2})
            with pytest.raises(TargetRefused, match="has the key"):
                describe(endpoint.access, other, IMAGE)
            put = refusal(on_table, lambda _table: PutNewItem(other, item_of(1), IMAGE.key_attributes[0]))
            batch = refusal(on_table, lambda _table: BatchWriteItem(other, [item_of(1)]))
            assert [error and error.fault for error in (put, batch)] == [TargetFault.REJECT] * 2
        finally:
            endpoint.client.delete_table(TableName=other)
