"""A DynamoDB that answers at once: ``python -m benchmarks.stub [--remember] [--latency MS]`` prints its port.

What a client costs shows only against a server that is never waited for. By default every write is confirmed unread;
with ``--remember`` items are kept, so that they can be read back and scanned. ``--latency`` lets each reply wait
without holding the others up, as a network does. It serves loopback. Replies carry what DynamoDB's carry:
capacity where it is asked for, a request id, and the checksum that botocore verifies.
"""

import argparse
import asyncio
import sys
import zlib
from collections.abc import Callable
from typing import Any, Final

import orjson

from benchmarks.kept_items import KeptItems
from imgmig_dagster.sandbox import partiql

HOST: Final = "127.0.0.1"
_HEAD: Final = (
    "HTTP/1.1 {status}\r\nServer: Server\r\nDate: Sun, 01 Dec 2024 00:00:00 GMT\r\n"
    "Content-Type: application/x-amz-json-1.0\r\nContent-Length: {length}\r\nConnection: keep-alive\r\n"
    "x-amzn-RequestId: 0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789ABCDEF\r\nx-amz-crc32: {crc}\r\n\r\n"
)


class Table:
    """One table's items, as JSON that is sent back as it came; keeps nothing unless it is asked to."""

    def __init__(self, remember: bool) -> None:
        self._remember = remember
        self._items = KeptItems()

    def answer(self, operation: bytes, body: bytes) -> tuple[str, bytes]:
        """Status and reply of one request."""
        answer = _ANSWERS.get(operation)
        return ("200 OK", answer(self, body)) if answer else ("400 Bad Request", _UNKNOWN)

    def batch_write(self, body: bytes) -> bytes:
        table = "images-bench"
        if self._remember:
            ((table, requests),) = orjson.loads(body)["RequestItems"].items()
            for request in requests:
                self._keep(request["PutRequest"]["Item"])
        return b'{"UnprocessedItems":{}' + _capacity(body, f'[{{"TableName":"{table}","CapacityUnits":25.0}}]') + b"}"

    def insert(self, body: bytes) -> bytes:
        count = body.count(b'"Statement":')
        if self._remember:
            for statement in orjson.loads(body)["Statements"]:
                self._keep(partiql.parse(statement)[1])
        answers = b",".join([b'{"TableName":"images-bench"}'] * count)
        capacity = _capacity(body, f'[{{"TableName":"images-bench","CapacityUnits":{count}.0}}]')
        return b'{"Responses":[%b]%b}' % (answers, capacity)

    def put(self, body: bytes) -> bytes:
        if self._remember:
            self._keep(orjson.loads(body)["Item"])
        return b"{" + _capacity(body, '{"TableName":"images-bench","CapacityUnits":1.0}')[1:] + b"}"

    def batch_get(self, body: bytes) -> bytes:
        ((table, asked),) = orjson.loads(body)["RequestItems"].items()
        numbers = (self._items.number(key["PK"]["S"]) for key in asked["Keys"])
        found = b",".join([self._items.read(number) for number in numbers if number is not None])
        capacity = _capacity(body, f'[{{"TableName":"{table}","CapacityUnits":100.0}}]')
        return b'{"Responses":{"%s":[%s]},"UnprocessedKeys":{}%s}' % (table.encode(), found, capacity)

    def scan(self, body: bytes) -> bytes:
        request = orjson.loads(body)
        segment, segments = request["Segment"], request["TotalSegments"]
        start, end = (len(self._items) * edge // segments for edge in (segment, segment + 1))
        behind = request.get("ExclusiveStartKey")
        if behind:
            start = (self._items.number(behind["PK"]["S"]) or 0) + 1
        page = list(self._items.page(start, end))
        last = b""
        if start + len(page) < end:
            item = orjson.loads(page[-1])
            last = b',"LastEvaluatedKey":' + orjson.dumps({"PK": item["PK"], "SK": item["SK"]})
        count = b"%d" % len(page)
        return b'{"Items":[%s],"Count":%s,"ScannedCount":%s%s}' % (b",".join(page), count, count, last)

    def describe(self, body: bytes) -> bytes:
        table = orjson.loads(body)["TableName"]
        return orjson.dumps(
            {
                "Table": {
                    "TableName": table,
                    "TableArn": f"arn:aws:dynamodb:us-east-1:000000000000:table/{table}",
                    "TableStatus": "ACTIVE",
                    "CreationDateTime": 1_733_011_200,
                    "KeySchema": [
                        {"AttributeName": "PK", "KeyType": "HASH"},
                        {"AttributeName": "SK", "KeyType": "RANGE"},
                    ],
                    "AttributeDefinitions": [
                        {"AttributeName": "PK", "AttributeType": "S"},
                        {"AttributeName": "SK", "AttributeType": "S"},
                    ],
                }
            }
        )

    def _keep(self, item: dict[str, Any]) -> None:
        self._items.keep(item["PK"]["S"], orjson.dumps(item))


_ANSWERS: Final[dict[bytes, Callable[[Table, bytes], bytes]]] = {
    b"BatchWriteItem": Table.batch_write,
    b"BatchExecuteStatement": Table.insert,
    b"PutItem": Table.put,
    b"BatchGetItem": Table.batch_get,
    b"Scan": Table.scan,
    b"DescribeTable": Table.describe,
}

_UNKNOWN: Final = b'{"__type":"com.amazonaws.dynamodb.v20120810#UnknownOperationException"}'


def _capacity(body: bytes, consumed: str) -> bytes:
    return b',"ConsumedCapacity":' + consumed.encode() if b'"ReturnConsumedCapacity"' in body else b" "


class _Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as far as DynamoDB's clients use it."""

    def __init__(self, table: Table, latency_ms: float) -> None:
        self._table = table
        self._latency_s = latency_ms / 1_000
        self._buffer = bytearray()
        self._transport: asyncio.WriteTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        while (end_of_head := self._buffer.find(b"\r\n\r\n")) >= 0:
            head = bytes(self._buffer[:end_of_head])
            end = end_of_head + 4 + int(_header(head, b"content-length") or 0)
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[end_of_head + 4 : end])
            del self._buffer[:end]
            operation = _header(head, b"x-amz-target").rpartition(b".")[2]
            status, reply = self._table.answer(operation, body)
            assert self._transport is not None  # noqa: S101
            head_of_reply = _HEAD.format(status=status, length=len(reply), crc=zlib.crc32(reply))
            content = head_of_reply.encode() + reply
            if self._latency_s:
                asyncio.get_running_loop().call_later(self._latency_s, self._transport.write, content)
            else:
                self._transport.write(content)


def _header(head: bytes, name: bytes) -> bytes:
    place = head.lower().find(b"\r\n" + name + b":")
    if place < 0:
        return b""
    start = place + len(name) + 3
    end = head.find(b"\r\n", start)
    return head[start : end if end >= 0 else len(head)].strip()


async def _serve(remember: bool, latency_ms: float) -> None:
    table = Table(remember)
    server = await asyncio.get_running_loop().create_server(
        lambda: _Connection(table, latency_ms), HOST, 0, backlog=256
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    # Ends when the process that started it ends.
    await asyncio.to_thread(sys.stdin.read)


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--remember", action="store_true")
    parser.add_argument("--latency", type=float, default=0.0)
    options = parser.parse_args()
    asyncio.run(_serve(options.remember, options.latency))
