"""Replies as AWS, and proxies before it, send them: none is believed that is not the service's own."""

import asyncio
import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from imgmig_dagster.fence import UNFENCED
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.sandbox import wire
from imgmig_dagster.target.client import DynamoDBClient, DynamoDBError
from imgmig_dagster.target.faults import TargetFault
from imgmig_dagster.target.requests import (
    BatchGetItem,
    BatchWriteItem,
    DeleteItem,
    PutNewItem,
    Scan,
    SeenVersion,
    UpdateItem,
)
from imgmig_dagster.target.sender import Request
from imgmig_dagster.target.target_table import Lookup
from imgmig_dagster.target.writer import ExistingItem, WritableTable, WriteFailure
from imgmig_dagster_tests.arrange import Target, access, item_of, row_id
from imgmig_dagster_tests.fault_proxy import Action, FaultProxy, error, reply
from imgmig_dagster_tests.unit.target.opened import opened
from imgmig_dagster_tests.wire_faults import (
    compressed,
    damaged,
    damaged_while_compressed,
    empty_page,
)

ITEMS = [item_of(number) for number in range(20)]
FOUND = Lookup({row_id(number): item for number, item in enumerate(ITEMS)}, frozenset())


async def read(table: WritableTable) -> Lookup:
    return await table.get_many(list(FOUND.items))


async def scan(table: WritableTable) -> list[Item]:
    return [item async for page in table.scan(0, 1) for item in page]


@pytest.fixture
def filled(target: Target) -> Target:
    """A table whose every sizable reply is one that AWS compresses and cuts into chunks."""
    for item in ITEMS:
        target.put(item)
    return target


def call(url: str, request: Request) -> dict[str, Any]:
    """One try of a request, without retries."""

    async def run() -> dict[str, Any]:
        async with DynamoDBClient(access(url), requests_in_flight=1) as client:
            return await client.call(request.operation, request.body(), partial(UNFENCED.let_out, is_read=True))

    return asyncio.run(run())


def code_of(target: Target, proxy: FaultProxy, action: Action) -> tuple[str, TargetFault]:
    """How one try ends with which the proxy does this."""
    proxy.inject(action)
    keys = [target_key(number) for number in range(20)]
    with pytest.raises(DynamoDBError) as caught:
        call(proxy.url, BatchGetItem(target.name, keys))
    return caught.value.code, caught.value.fault


def target_key(number: int) -> Item:
    return {name: item_of(number)[name] for name in ("PK", "SK")}


class TestCompression:
    async def test_nothing_is_compressed_for_a_client_that_does_not_ask(
        self, filled: Target, proxy: FaultProxy
    ) -> None:
        async with opened(filled, proxy.url) as table:
            found, scanned = await read(table), await scan(table)

        assert found == FOUND
        assert sorted(item["PK"]["S"] for item in scanned) == sorted(item["PK"]["S"] for item in ITEMS)
        assert proxy.front.compressed == 0

    @pytest.mark.parametrize("body_checksum", [True, False], ids=["AWS' checksum", "the proxy's own checksum"])
    async def test_what_a_proxy_compresses_all_the_same_is_read(
        self, filled: Target, proxy: FaultProxy, body_checksum: bool
    ) -> None:
        proxy.inject(compressed(body_checksum))

        async with opened(filled, proxy.url) as table:
            assert (await read(table), table.sender.traffic.retries) == (FOUND, 0)

    def test_an_error_reply_with_a_header_of_compression_and_a_plain_body_is_read(
        self, filled: Target, proxy: FaultProxy
    ) -> None:
        plain_body = error("ConditionalCheckFailedException", Content_Encoding="gzip")

        assert code_of(filled, proxy, plain_body) == ("ConditionalCheckFailedException", TargetFault.CONDITION)


class TestDamage:
    @pytest.mark.parametrize("attribute", ["sizeBytes", "PK", "updatedAt", "version", "none"])
    def test_a_damaged_reply_is_none(self, filled: Target, proxy: FaultProxy, attribute: str) -> None:
        assert code_of(filled, proxy, damaged(attribute)) == ("DamagedReply", TargetFault.TRANSIENT)

    def test_damage_on_the_way_from_a_proxy_that_compresses_is_seen(self, filled: Target, proxy: FaultProxy) -> None:
        assert code_of(filled, proxy, damaged_while_compressed) == ("DamagedReply", TargetFault.TRANSIENT)

    def test_a_reply_with_a_checksum_that_is_no_number_is_damaged(self, filled: Target, proxy: FaultProxy) -> None:
        async def action(call: Any, forward: Any) -> Any:
            answered = await forward(call.body)
            answered.headers["x-amz-crc32"] = "x"
            return answered

        assert code_of(filled, proxy, action)[0] == "DamagedReply"

    @pytest.mark.parametrize("attribute", ["sizeBytes", "PK"])
    async def test_a_read_is_sent_again(self, filled: Target, proxy: FaultProxy, attribute: str) -> None:
        proxy.inject(damaged(attribute), times=2)

        async with opened(filled, proxy.url) as table:
            assert (await read(table), table.sender.traffic.retries) == (FOUND, 2)

    async def test_a_page_of_a_scan_is_asked_for_again_and_no_item_is_lost(
        self, filled: Target, proxy: FaultProxy
    ) -> None:
        proxy.inject(damaged("PK"), "Scan", times=2)

        async with opened(filled, proxy.url) as table:
            assert sorted(item["PK"]["S"] for item in (await scan(table))) == sorted(item["PK"]["S"] for item in ITEMS)

    async def test_a_write_whose_confirmation_is_damaged_was_carried_out_and_finds_its_own_item(
        self, target: Target, proxy: FaultProxy
    ) -> None:
        proxy.inject(damaged(), "PutItem")

        async with opened(target, proxy.url) as table:
            assert (await table.put_new(item_of(1))) == ExistingItem(item_of(1))

    def test_a_batch_whose_reply_is_damaged_is_written_again(self, target: Target, proxy: FaultProxy) -> None:
        proxy.inject(damaged(), "BatchWriteItem")

        assert write(target, proxy, ITEMS) == []
        assert len(proxy.of("BatchWriteItem")) == 2
        assert target.items() == {item["PK"]["S"]: item for item in ITEMS}


class TestWhatIsNoReplyOfDynamoDB:
    @pytest.mark.parametrize(
        "body", [b"<html><body><b>Http/1.1 Service Unavailable</b></body></html>", b"", b"[]", b'"x"']
    )
    @pytest.mark.parametrize(
        ("status", "code", "fault"),
        [
            (503, "UnreadableReply", TargetFault.TRANSIENT),
            (408, "UnreadableReply", TargetFault.TRANSIENT),
            (413, "UnreadableReply", TargetFault.REJECT),
            (403, "UnreadableReply", TargetFault.STOP),
            (302, "UnreadableReply", TargetFault.STOP),
            (200, "TruncatedReply", TargetFault.TRANSIENT),
        ],
    )
    def test_its_status_says_what_to_do(
        self, target: Target, proxy: FaultProxy, body: bytes, status: int, code: str, fault: TargetFault
    ) -> None:
        assert code_of(target, proxy, reply(status, body)) == (code, fault)

    @pytest.mark.parametrize(
        "request_of",
        [
            lambda table: BatchWriteItem(table, [item_of(1)]),
            lambda table: BatchGetItem(table, [target_key(1)]),
            lambda table: PutNewItem(table, item_of(1), "PK"),
            lambda table: UpdateItem(table, target_key(1), {"width": {"N": "1"}}, SeenVersion({}), "PK"),
            lambda table: DeleteItem(table, target_key(1), SeenVersion({"version": {"N": "1"}})),
            lambda table: Scan(table, 0, 1, None),
        ],
        ids=["BatchWriteItem", "BatchGetItem", "PutItem", "UpdateItem", "DeleteItem", "Scan"],
    )
    @pytest.mark.parametrize("body", [b"{}", b'{"status": "ok"}'])
    def test_an_object_of_somebody_else_confirms_nothing(
        self, target: Target, proxy: FaultProxy, request_of: Callable[[str], Request], body: bytes
    ) -> None:
        proxy.inject(reply(200, body))

        with pytest.raises(DynamoDBError) as caught:
            call(proxy.url, request_of(target.name))

        assert (caught.value.code, caught.value.fault) == ("TruncatedReply", TargetFault.TRANSIENT)

    def test_a_redirect_is_not_followed(self, target: Target, proxy: FaultProxy) -> None:
        redirect = reply(307, b"", Location=proxy.url)

        assert code_of(target, proxy, redirect) == ("UnreadableReply", TargetFault.STOP)
        assert len(proxy.calls) == 1

    @pytest.mark.parametrize(
        "body",
        [
            {"__type": "com.amazon.coral.availability#ThrottlingException", "message": "Rate exceeded"},
            {"__type": "ThrottlingException", "Message": "Rate exceeded"},
            {"__type": "ThrottlingException:http://internal.amazon.com/coral/com.amazon.coral.availability/"},
            {
                "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
                "message": "...",
                "ThrottlingReasons": [{"reason": "TableWriteProvisionedThroughputExceeded", "resource": "arn:..."}],
            },
        ],
    )
    def test_each_form_of_throttling_is_known(self, target: Target, proxy: FaultProxy, body: Any) -> None:
        assert code_of(target, proxy, reply(400, json.dumps(body).encode()))[1] is TargetFault.BACK_PRESSURE

    def test_an_error_names_the_request_for_those_who_can_look_it_up(self, target: Target, proxy: FaultProxy) -> None:
        proxy.inject(
            error("ValidationException", x_amzn_RequestId="4KBNVRGD25RG1KEO9UT4V3FQDJVV4KQNSO5AEMVJF66Q9ASUAAJG")
        )

        with pytest.raises(DynamoDBError, match=r"ValidationException \(HTTP 400\), request 4KBNVRGD"):
            call(proxy.url, Scan(target.name, 0, 1, None))


def write(target: Target, proxy: FaultProxy, items: list[Item]) -> list[WriteFailure]:
    async def run() -> list[WriteFailure]:
        async with opened(target, proxy.url) as table:
            return await table.put_many(items, lambda _rows: None)

    return asyncio.run(run())


class TestLimits:
    def test_a_batch_of_more_than_16_megabytes_is_halved(self, target: Target, proxy: FaultProxy) -> None:
        """Items of 400 KB are twice as long in JSON where every character is escaped."""
        items = [item_of(number, originalFilename={"S": '"' * 390_000}) for number in range(25)]

        assert write(target, proxy, items) == []
        assert sorted(len(call.keys) for call in proxy.of("BatchWriteItem")) == [12, 13, 25]
        assert len(target.items()) == 25

    async def test_connections_are_closed_after_some_requests_and_nothing_is_retried(
        self, target: Target, proxy: FaultProxy
    ) -> None:
        async with opened(target, proxy.url, requests_in_flight=1) as table:
            for _ in range(2 * wire.REQUESTS_PER_CONNECTION + 1):
                assert await table.get(row_id(1)) is None
            assert table.sender.traffic.retries == 0
        assert proxy.front.closed == 2

    async def test_an_empty_page_is_not_the_end_of_a_scan(self, filled: Target, proxy: FaultProxy) -> None:
        proxy.inject(empty_page, "Scan")

        async with opened(filled, proxy.url) as table:
            assert len(await scan(table)) == 20
