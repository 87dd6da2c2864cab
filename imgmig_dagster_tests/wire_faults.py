"""What a network, a proxy in between or AWS' front end does to a reply: further actions of `fault_proxy`."""

import gzip
import json
import re
import zlib
from collections.abc import Mapping
from typing import Any

from imgmig_dagster.mapping.sizes import item_bytes
from imgmig_dagster.sandbox.wire import MAX_PAGE_BYTES
from imgmig_dagster_tests.fault_proxy import Action, Call, Forward, Reply


def damaged(attribute: str = "sizeBytes") -> Action:
    """The request is carried out, and one byte of its reply arrives as another one: it is JSON as before.

    In a reply with items it is the last digit of that attribute, otherwise the last letter or digit.
    """

    async def action(call: Call, forward: Forward) -> Reply:
        reply = await forward(call.body)
        pattern = rb'"%s":\s*\{"[NS]":\s*"[^"]*?(\w)"' % attribute.encode()
        found = re.search(pattern, reply.body) or re.search(rb"(\w)\W*$", reply.body)
        assert found is not None, "a reply without a letter or digit"
        at = found.start(1)
        other = b"7" if reply.body[at : at + 1] != b"7" else b"3"
        headers = {"x-amz-crc32": str(zlib.crc32(reply.body))}
        return Reply(reply.status, reply.body[:at] + other + reply.body[at + 1 :], headers)

    return action


def compressed(body_checksum: bool) -> Action:
    """A proxy in between compresses what it was not asked to; the checksum is of the body, or of what is sent."""

    async def action(call: Call, forward: Forward) -> Reply:
        reply = await forward(call.body)
        body = gzip.compress(reply.body)
        checksum = zlib.crc32(reply.body if body_checksum else body)
        return Reply(reply.status, body, {"Content-Encoding": "gzip", "x-amz-crc32": str(checksum)})

    return action


async def damaged_while_compressed(call: Call, forward: Forward) -> Reply:
    """A proxy in between compresses the reply, takes the checksum away, and a byte changes on its way."""
    body = bytearray(gzip.compress((await forward(call.body)).body))
    body[len(body) // 2] ^= 1
    return Reply(200, bytes(body), {"Content-Encoding": "gzip", "x-amz-crc32": str(zlib.crc32(body))})


async def one_partition(call: Call, forward: Forward) -> Reply:
    """All items of a BatchGetItem lie in one partition, of which a reply holds 1 MB at most."""
    reply = await forward(call.body)
    answered: dict[str, Any] = json.loads(reply.body)
    ((table, request),) = call.body["RequestItems"].items()
    sent, left, size = [], [], 0
    for item in answered["Responses"][table]:
        size += item_bytes(item)
        if size <= MAX_PAGE_BYTES:
            sent.append(item)
        else:
            left.append({name: item[name] for name in request["Keys"][0]})
    before = answered["UnprocessedKeys"].get(table, {}).get("Keys", [])
    answered["Responses"][table] = sent
    answered["UnprocessedKeys"] = {table: {**request, "Keys": [*before, *left]}} if before or left else {}
    return Reply(reply.status, json.dumps(answered).encode())


async def empty_page(call: Call, _forward: Forward) -> Reply:
    """A page of a scan that holds nothing, and is not the last one."""
    key = call.body.get("ExclusiveStartKey") or {"PK": {"S": "!"}, "SK": {"S": "!"}}
    return Reply(200, json.dumps({"Items": [], "Count": 0, "ScannedCount": 0, "LastEvaluatedKey": key}).encode())


def statements_refused(codes: Mapping[str, str]) -> Action:
    """Statements whose items' ids have a code are refused by it, and the others of the batch carried out."""

    async def action(call: Call, forward: Forward) -> Reply:
        refused = [codes.get(row_id) for row_id in call.ids]
        statements = call.body["Statements"]
        done = [statement for statement, code in zip(statements, refused, strict=True) if code is None]
        answered: dict[str, Any] = {"Responses": []}
        if done:
            answered = json.loads((await forward({**call.body, "Statements": done})).body)
        answers = iter(answered["Responses"])
        message = "injected: PK=IMAGE#secret"
        answered["Responses"] = [
            {"Error": {"Code": code, "Message": message}} if code else next(answers) for code in refused
        ]
        return Reply(200, json.dumps(answered).encode())

    return action


async def standing_kept_back(call: Call, forward: Forward) -> Reply:
    """The service hands no item back with the statements whose condition fails."""
    reply = await forward(call.body)
    answered: dict[str, Any] = json.loads(reply.body)
    for answer in answered["Responses"]:
        answer.get("Error", {}).pop("Item", None)
    return Reply(reply.status, json.dumps(answered).encode())
