"""Makes an emulator answer as DynamoDB does: applied to each reply of the sandbox's server and of the tests' proxy.

docs/aws.md has the source of every rule. AWS's thresholds are lower here, so that what rarely breaks on AWS breaks here
at once. Applying it twice, with the proxy in front of the sandbox's server, changes nothing more.
"""

import gzip
import uuid
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import orjson

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.sizes import item_bytes, write_units
from imgmig_dagster.sandbox import partiql

REQUESTS_PER_CONNECTION: Final = 5
"""Then the connection is closed, which the reply announces. AWS keeps it for some hundred, a small run sends fewer."""
MAX_REQUEST_BYTES: Final = 16 * 2**20
MAX_BATCH_GET_BYTES: Final = 16 * 2**20
MAX_PAGE_BYTES: Final = 2**20
# AWS compresses from some 4 KB on.
_COMPRESSED_FROM_BYTES: Final = 1_024
_CHUNKED_FROM_BYTES: Final = 256
_READ_UNIT_BYTES: Final = 4_096


@dataclass(frozen=True)
class Encoded:
    """A reply as it is sent. One piece is sent by its length, several are chunks."""

    headers: dict[str, str]
    pieces: Sequence[bytes]


def too_large(body: bytes) -> bytes | None:
    """The error reply (HTTP 413) to a request above 16 MB; None where it is smaller."""
    if len(body) <= MAX_REQUEST_BYTES:
        return None
    return orjson.dumps({"__type": "com.amazon.coral.service#RequestEntityTooLargeException"})


def encode(status: int, body: bytes, accept_encoding: str) -> Encoded:
    """Encode a reply's bytes: compressed where the request allows it, with a checksum of what is sent."""
    headers = {"Content-Type": "application/x-amz-json-1.0", "x-amzn-RequestId": (2 * uuid.uuid4().hex).upper()[:52]}
    if "gzip" in accept_encoding:
        if status >= 400:
            headers["Content-Encoding"] = "gzip"  # over a plain body
        elif len(body) > _COMPRESSED_FROM_BYTES:
            headers["Content-Encoding"] = "gzip"
            body = gzip.compress(body, compresslevel=1)
    headers["x-amz-crc32"] = str(zlib.crc32(body))
    return Encoded(headers, list(_pieces(body)))


def _pieces(body: bytes) -> Iterator[bytes]:
    """Chunks of uneven length, whose borders fall within numbers, names and characters."""
    inner = (1, len(body) // 3 | 1, len(body) - 1) if len(body) > _CHUNKED_FROM_BYTES else ()
    for start, end in pairwise((0, *inner, len(body))):
        yield body[start:end]


def answer(operation: str, request: dict[str, Any], body: bytes) -> bytes:
    """What DynamoDB would have put into an emulator's reply (HTTP 200): its limits, its order, its units."""
    if operation == "CreateTable":
        _KEYS[request["TableName"]] = tuple(each["AttributeName"] for each in request["KeySchema"])
    # A count has no items, and a page of an index ends at a key of its own.
    if operation not in _ANSWERS or request.keys() & {"Select", "IndexName"}:
        return body
    if operation == "BatchExecuteStatement" and not partiql.inserts_only(request):
        return body
    reply = orjson.loads(body)
    units = _ANSWERS[operation](request, reply)
    if request.get("ReturnConsumedCapacity", "NONE") != "NONE":
        consumed = [{"TableName": table, "CapacityUnits": float(used)} for table, used in units.items()]
        reply["ConsumedCapacity"] = consumed if operation.startswith("Batch") else consumed[0]
        if not consumed:
            del reply["ConsumedCapacity"]
    return orjson.dumps(reply)


def _batch_get(request: dict[str, Any], reply: dict[str, Any]) -> dict[str, float]:
    units: dict[str, float] = {}
    unprocessed: dict[str, Any] = reply.get("UnprocessedKeys") or {}
    room = MAX_BATCH_GET_BYTES
    for table, asked in request["RequestItems"].items():
        names = list(next(iter(asked["Keys"]), ()))
        sent: list[Item] = []
        left: list[Item] = unprocessed.get(table, {}).get("Keys", [])
        for item in sorted(reply["Responses"].get(table, []), key=lambda item: _place(item, names)):
            room -= item_bytes(item)
            if room >= 0 or not sent:
                sent.append(item)
            else:
                left.append({name: item[name] for name in names})
        reply["Responses"][table] = sent
        if left:
            unprocessed[table] = {**asked, "Keys": left}
        absent = len(asked["Keys"]) - len(sent) - len(left)
        read = absent + sum(_read_units(item_bytes(item)) for item in sent)
        units[table] = read if asked.get("ConsistentRead") else read / 2
    reply["UnprocessedKeys"] = unprocessed
    return units


def _batch_write(request: dict[str, Any], reply: dict[str, Any]) -> dict[str, float]:
    left = reply.get("UnprocessedItems") or {}
    return {
        table: _write_units(asked) - _write_units(left.get(table, []))
        for table, asked in request["RequestItems"].items()
    }


def _put(request: dict[str, Any], _reply: dict[str, Any]) -> dict[str, float]:
    return {request["TableName"]: write_units(request["Item"])}


def _insert(request: dict[str, Any], reply: dict[str, Any]) -> dict[str, float]:
    """A refused statement costs what the larger item would; a batch that wrote nothing reports no units."""
    units: dict[str, float] = {}
    written: set[str] = set()
    for statement, answer in zip(request["Statements"], reply["Responses"], strict=True):
        if (table := answer.get("TableName")) is None:
            continue  # it never came to the table
        size = write_units(partiql.parse(statement)[1])
        if (error := answer.get("Error")) is None:
            written.add(table)
        elif "Item" in error:
            size = max(size, write_units(error["Item"]))
        units[table] = units.get(table, 0) + size
    return {table: used for table, used in units.items() if table in written}


def _scan(request: dict[str, Any], reply: dict[str, Any]) -> dict[str, float]:
    """A page ends at 1 MB, and only an absent LastEvaluatedKey says that nothing follows: the last page is empty."""
    items, size = reply.get("Items", []), 0
    key = key_of(request["TableName"])
    # A page that is cut has to say where the next one begins.
    is_known = all(name in item for item in items for name in key)
    for count, item in enumerate(items):
        if is_known and count and size + item_bytes(item) > MAX_PAGE_BYTES:
            del items[count:]
            break
        size += item_bytes(item)
    if items and is_known:
        reply["LastEvaluatedKey"] = {name: items[-1][name] for name in key}
    reply["Count"] = len(items)
    if "FilterExpression" not in request:
        reply["ScannedCount"] = len(items)
    read = _read_units(size)
    return {request["TableName"]: read if request.get("ConsistentRead") else read / 2}


_USUAL_KEY: Final = ("PK", "SK")
_KEYS: Final[dict[str, tuple[str, ...]]] = {}
"""The names of each table's key, from its CreateTable."""
_ANSWERS: Final = {
    "BatchExecuteStatement": _insert,
    "BatchGetItem": _batch_get,
    "BatchWriteItem": _batch_write,
    "PutItem": _put,
    "Scan": _scan,
}


def key_of(table: str) -> tuple[str, ...]:
    """The names of a table's key, from its CreateTable; otherwise the usual ones."""
    return _KEYS.get(table, _USUAL_KEY)


def _place(item: Item, names: Iterable[str]) -> int:
    """The place of an item in a batch's reply, whose order must not be relied on."""
    return zlib.crc32(repr([item.get(name) for name in names]).encode())


def _read_units(size: int) -> int:
    return max(1, -(-size // _READ_UNIT_BYTES))


def _write_units(writes: Iterable[dict[str, Any]]) -> int:
    return sum(write_units(write["PutRequest"]["Item"]) if "PutRequest" in write else 1 for write in writes)
