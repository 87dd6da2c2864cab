"""Single items and reads, each on its condition, against a real server."""

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any, TypeVar

import botocore.endpoint
import pytest

from imgmig_dagster.errors import TargetRefused, TargetUnavailable, WritesRefused
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.target_table import Lookup, describe
from imgmig_dagster.target.writer import ExistingItem, WritableTable
from imgmig_dagster_tests.arrange import FakeClock, Target, access, item_of, row_id
from imgmig_dagster_tests.conftest import NewTable, Services, create_table
from imgmig_dagster_tests.fault_proxy import (
    FaultProxy,
    error,
    holds,
    reset_after,
    truncated,
    unprocessed,
)
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.target.opened import opened

T = TypeVar("T")
FOREVER = 10_000


def on_table(
    target: Target,
    url: str,
    work: Callable[[WritableTable], Awaitable[T]],
    clock: FakeClock | None = None,
) -> T:
    async def run() -> T:
        async with opened(target, url, clock) as table:
            return await work(table)

    return asyncio.run(run())


def test_what_may_only_read_lets_no_write_out(target: Target, proxy: FaultProxy) -> None:
    target.put(item_of(1))

    async def try_to_write(table: WritableTable) -> None:
        reading = WritableTable(table.sender.read_only(), table.name, table.mapping)
        writes = (reading.put_new(item_of(2)), reading.put_many([item_of(2)], lambda _items: None))
        for write in (*writes, reading.update(row_id(1), item_of(1), {}), reading.delete(row_id(1), item_of(1))):
            with pytest.raises(WritesRefused, match="by a run that only reads"):
                await write
        assert await reading.get(row_id(1)) == item_of(1)
        assert await table.delete(row_id(1), item_of(1)), "the sender that it was made from goes on writing"

    on_table(target, proxy.url, try_to_write)

    assert [call.operation for call in proxy.calls] == ["BatchGetItem", "DeleteItem"]


class TestPutNew:
    @pytest.mark.parametrize("lost", [reset_after, truncated])
    def test_after_a_lost_reply_its_own_item_exists(self, target: Target, proxy: FaultProxy, lost: Any) -> None:
        proxy.inject(lost, "PutItem")

        assert on_table(target, proxy.url, lambda table: table.put_new(item_of(1))) == ExistingItem(item_of(1))

        assert target.item(1) == item_of(1)

    def test_a_rejected_item_is_told(self, target: Target, proxy: FaultProxy) -> None:
        proxy.inject(error("ValidationException"), "PutItem")

        async def put(table: WritableTable) -> None:
            with pytest.raises(DynamoDBError, match="ValidationException"):
                await table.put_new(item_of(1))

        on_table(target, proxy.url, put)


class TestGetMany:
    def test_any_number_of_items_is_read_in_batches_of_at_most_100(self, target: Target, proxy: FaultProxy) -> None:
        for number in range(0, 210, 2):
            target.put(item_of(number))

        lookup = on_table(target, proxy.url, lambda table: table.get_many([row_id(n) for n in range(210)]))

        assert lookup.items == {row_id(number): item_of(number) for number in range(0, 210, 2)}
        assert lookup.unread == frozenset()
        assert sorted(len(call.keys) for call in proxy.calls) == [10, 100, 100]

    def test_reads_are_strongly_consistent(self, target: Target, proxy: FaultProxy) -> None:
        async def read(table: WritableTable) -> None:
            await table.get(row_id(1))
            await anext(table.scan(0, 1))

        on_table(target, proxy.url, read)

        (get,), (scan,) = proxy.of("BatchGetItem"), proxy.of("Scan")
        assert get.body["RequestItems"][target.name]["ConsistentRead"] is True
        assert scan.body["ConsistentRead"] is True

    def test_unprocessed_keys_are_asked_for_again_alone_and_not_taken_for_absent(
        self, target: Target, proxy: FaultProxy
    ) -> None:
        for number in range(5):
            target.put(item_of(number))
        proxy.inject(unprocessed(3), "BatchGetItem")
        proxy.inject(unprocessed(2), "BatchGetItem")

        lookup = on_table(target, proxy.url, lambda table: table.get_many([row_id(n) for n in range(5)]))

        assert len(lookup.items) == 5
        assert [len(call.keys) for call in proxy.calls] == [5, 3, 2]

    def test_what_could_not_be_read_is_unread_and_not_absent(self, target: Target, proxy: FaultProxy) -> None:
        for number in range(110):
            target.put(item_of(number))
        proxy.inject(error("InternalServerError", 500), "BatchGetItem", times=FOREVER, when=holds(row_id(105)))

        lookup = on_table(target, proxy.url, lambda table: table.get_many([row_id(n) for n in range(110)]))

        assert lookup.unread == {row_id(number) for number in range(100, 110)}
        assert lookup.items.keys() == {row_id(number) for number in range(100)}

    def test_part_of_a_batch_that_was_read_before_it_failed_counts(self, target: Target, proxy: FaultProxy) -> None:
        for number in range(4):
            target.put(item_of(number))
        proxy.inject(unprocessed(1), "BatchGetItem")
        proxy.inject(error("InternalServerError", 500), "BatchGetItem", times=4)

        lookup = on_table(target, proxy.url, lambda table: table.get_many([row_id(n) for n in range(4)]))

        assert lookup.unread == {row_id(3)}
        assert len(lookup.items) == 3

    def test_one_key_that_the_service_rejects_does_not_hide_the_others_of_its_batch(
        self, target: Target, proxy: FaultProxy
    ) -> None:
        """As a key of 3,000 bytes does, whose row the verification looks up all the same."""
        for number in range(100):
            target.put(item_of(number))
        proxy.inject(error("ValidationException"), "BatchGetItem", times=FOREVER, when=holds(row_id(42)))

        lookup = on_table(target, proxy.url, lambda table: table.get_many([row_id(n) for n in range(100)]))

        assert lookup.unread == {row_id(42)}
        assert len(lookup.items) == 99

    def test_a_single_item_that_cannot_be_read_is_an_error_and_not_absent(
        self, target: Target, proxy: FaultProxy
    ) -> None:
        proxy.inject(error("InternalServerError", 500), "BatchGetItem", times=FOREVER)

        async def get(table: WritableTable) -> None:
            with pytest.raises(RetriesUsedUpError):
                await table.get(row_id(1))

        on_table(target, proxy.url, get)

    def test_no_ids_need_no_request(self, target: Target, proxy: FaultProxy) -> None:
        assert on_table(target, proxy.url, lambda table: table.get_many([])) == Lookup({}, frozenset())
        assert proxy.calls == []


def test_a_page_of_a_scan_that_cannot_be_read_is_an_error_and_not_the_end(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("InternalServerError", 500), "Scan", times=FOREVER)

    with pytest.raises(RetriesUsedUpError):
        on_table(target, proxy.url, lambda table: anext(table.scan(0, 1)))


class TestDescribe:
    def test_a_table_made_again_under_the_same_name_is_another_one(self, services: Services, target: Target) -> None:
        before = describe(access(target.url), target.name, IMAGE)
        assert before == describe(access(target.url), target.name, IMAGE)

        services.dynamodb.delete_table(TableName=target.name)
        create_table(services.dynamodb, target.name)

        after = describe(access(target.url), target.name, IMAGE)
        assert after.arn == before.arn
        assert after.created_at != before.created_at

    def test_a_missing_table_is_refused_with_what_to_check(self, target: Target) -> None:
        with pytest.raises(TargetRefused, match="ResourceNotFoundException for table 'no-such-table'") as caught:
            describe(access(target.url), "no-such-table", IMAGE)

        assert "table in [target]" in str(caught.value)

    @pytest.mark.parametrize(
        "key", [{"PK": "S"}, {"id": "S", "SK": "S"}, {"PK": "S", "SK": "N"}, {"SK": "S", "PK": "S"}]
    )
    def test_another_key_schema_is_refused(self, services: Services, new_table: NewTable, key: dict[str, str]) -> None:
        with pytest.raises(TargetRefused, match="has the key"):
            describe(access(services.dynamodb_url), new_table(key), IMAGE)

    def test_a_lack_of_permission_is_refused(self, target: Target, proxy: FaultProxy) -> None:
        proxy.inject(error("AccessDeniedException"), "DescribeTable")

        with pytest.raises(TargetRefused, match="AccessDeniedException"):
            describe(access(proxy.url), target.name, IMAGE)

    def test_a_server_that_is_not_there_is_unavailable(self, monkeypatch: pytest.MonkeyPatch, target: Target) -> None:
        # botocore's own waits between its tries; there is no parameter for them.
        monkeypatch.setattr(botocore.endpoint, "time", SimpleNamespace(sleep=lambda _seconds: None))

        with pytest.raises(TargetUnavailable, match="cannot be reached"):
            describe(access("http://127.0.0.1:1"), target.name, IMAGE)
