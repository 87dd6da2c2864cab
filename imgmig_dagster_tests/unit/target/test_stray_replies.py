"""A reply that belongs to no request, or to another one, is never taken for an answer.

DynamoDB's replies do not name their request: on one connection, an answer is what comes next.
"""

import asyncio
import json
import socketserver
import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import pytest

from imgmig_dagster.fence import UNFENCED
from imgmig_dagster.target.client import DynamoDBClient, DynamoDBError
from imgmig_dagster.target.faults import TargetFault
from imgmig_dagster.target.target_table import Lookup
from imgmig_dagster.target.writer import ExistingItem
from imgmig_dagster_tests.arrange import Target, access, item_of, row_id
from imgmig_dagster_tests.fault_proxy import Action, Call, FaultProxy, Forward, Reply
from imgmig_dagster_tests.listening import serving
from imgmig_dagster_tests.unit.target.opened import opened

LET_OUT = partial(UNFENCED.let_out, is_read=True)
BODIES = {"small": b"[]", "large": b"[" + b" " * 2**21 + b"]"}


class _Answers(socketserver.StreamRequestHandler):
    """Answers each request of a connection by its own number, and the first one as often as the server says."""

    server: "Server"

    def handle(self) -> None:
        self.server.connections.append(self)
        # A blank line ends the head of a request, and nothing at all is the end of the connection.
        while headers := list(iter(lambda: self.rfile.readline().strip(), b"")):
            length = next(int(each.split(b":")[1]) for each in headers if each.lower().startswith(b"content-length"))
            self.rfile.read(length)
            self.server.requests += 1
            self.server.has_asked.set()
            number = self.server.requests
            self.server.may_answer.wait(60)
            self.answer(number, self.server.times if number == 1 else 1)

    def answer(self, number: int, times: int = 1) -> None:
        body = json.dumps({"Items": [number]}).encode()
        self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body) * times)


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, times: int = 1) -> None:
        super().__init__(("127.0.0.1", 0), _Answers)
        self.times = times
        self.requests = 0
        self.connections: list[_Answers] = []
        self.has_asked = threading.Event()
        self.may_answer = threading.Event()
        self.may_answer.set()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


async def ask(
    client: DynamoDBClient, body: bytes = b"[]", let_out: Callable[[], Awaitable[None]] = LET_OUT
) -> list[Any]:
    reply = await client.call("Scan", body, let_out)
    found: list[Any] = reply["Items"]
    return found


@pytest.mark.parametrize("times", [1, 2, 3])
def test_of_several_replies_to_one_request_none_answers_the_next(times: int) -> None:
    async def run() -> list[list[Any]]:
        async with DynamoDBClient(access(server.url), requests_in_flight=1) as client:
            return [await ask(client) for _ in range(3)]

    with serving(Server(times)) as server:
        assert asyncio.run(run()) == [[1], [2], [3]]
    assert len(server.connections) == (1 if times == 1 else 2)


def test_a_reply_on_an_idle_connection_closes_it() -> None:
    async def run() -> list[list[Any]]:
        async with DynamoDBClient(access(server.url), requests_in_flight=1) as client:
            first = await ask(client)
            await asyncio.to_thread(server.connections[0].answer, 99)
            await asyncio.sleep(0)
            return [first, await ask(client), await ask(client)]

    with serving(Server()) as server:
        assert asyncio.run(run()) == [[1], [2], [3]]
    assert len(server.connections) == 2


@pytest.mark.parametrize("size", BODIES)
def test_a_reply_before_the_request_has_left_is_none(size: str) -> None:
    async def run() -> tuple[str, TargetFault, list[Any]]:
        async with DynamoDBClient(access(server.url), requests_in_flight=1) as client:
            await ask(client)

            async def let_out() -> None:
                await asyncio.to_thread(server.connections[0].answer, 99)
                await asyncio.Event().wait()

            with pytest.raises(DynamoDBError) as caught:
                await ask(client, BODIES[size], let_out)
            return caught.value.code, caught.value.fault, await ask(client)

    with serving(Server()) as server:
        assert asyncio.run(run()) == ("StrayReply", TargetFault.TRANSIENT, [2])
    assert len(server.connections) == 2


@pytest.mark.parametrize("gives_up", ["cancelled", "timed out"])
def test_the_late_reply_to_a_request_that_was_given_up_answers_no_other(gives_up: str) -> None:
    async def run() -> list[Any]:
        timeout = 1.0 if gives_up == "timed out" else 30.0
        async with DynamoDBClient(access(server.url), requests_in_flight=1, timeout=timeout) as client:
            given_up = asyncio.create_task(ask(client))
            if gives_up == "timed out":
                with pytest.raises(DynamoDBError, match="ConnectionFailed"):
                    await given_up
            else:
                await asyncio.to_thread(server.has_asked.wait, 60)
                given_up.cancel()
                await asyncio.wait([given_up])
            server.may_answer.set()
            return await ask(client)

    with serving(Server()) as server:
        server.may_answer.clear()
        assert asyncio.run(run()) == [2]
    assert len(server.connections) == 2


def of_another_request(call_of_other: Callable[[dict[str, Any]], dict[str, Any]]) -> Action:
    """The reply to another request than this one, which is not carried out."""

    async def action(call: Call, forward: Forward) -> Reply:
        return await forward(call_of_other(call.body))

    return action


async def test_items_that_were_not_asked_for_are_no_answer(target: Target, proxy: FaultProxy) -> None:
    target.put(item_of(1))
    target.put(item_of(2))
    key = {name: item_of(2)[name] for name in ("PK", "SK")}
    proxy.inject(of_another_request(lambda body: {**body, "RequestItems": {target.name: {"Keys": [key]}}}))

    async with opened(target, proxy.url) as table:
        assert await table.get_many([row_id(1)]) == Lookup({row_id(1): item_of(1)}, frozenset())
        assert table.sender.traffic.retries == 1


@pytest.mark.parametrize("operation", ["BatchGetItem", "BatchWriteItem"])
async def test_what_is_left_of_another_request_is_not_sent_for_it(
    target: Target, proxy: FaultProxy, operation: str
) -> None:
    other = item_of(2)
    left: dict[str, Any] = {"UnprocessedItems": {target.name: [{"PutRequest": {"Item": other}}]}}
    if operation == "BatchGetItem":
        left = {
            "Responses": {},
            "UnprocessedKeys": {target.name: {"Keys": [{name: other[name] for name in ("PK", "SK")}]}},
        }

    async def action(_call: Call, _forward: Forward) -> Reply:
        return Reply(200, json.dumps(left).encode())

    proxy.inject(action)

    async with opened(target, proxy.url) as table:
        if operation == "BatchGetItem":
            assert await table.get_many([row_id(1)]) == Lookup({}, frozenset())
        else:
            assert await table.put_many([item_of(1)], lambda _count: None) == []
        assert table.sender.traffic.retries == 1
    assert [call.ids for call in proxy.calls] == [[row_id(1)]] * 2
    assert [*target.items()] == ([] if operation == "BatchGetItem" else [item_of(1)["PK"]["S"]])


@pytest.mark.parametrize("operation", ["PutItem", "BatchExecuteStatement"])
async def test_an_existing_item_of_another_key_is_not_believed(
    target: Target, proxy: FaultProxy, operation: str
) -> None:
    other, items = item_of(9), [item_of(number) for number in range(1 if operation == "PutItem" else 2)]
    duplicate = {"Error": {"Code": "DuplicateItem", "Item": other}}
    refused: dict[str, Any] = {"Responses": [duplicate] * 2}
    if operation == "PutItem":
        refused = {"__type": "x#ConditionalCheckFailedException", "Item": other}

    async def action(_call: Call, _forward: Forward) -> Reply:
        return Reply(400 if operation == "PutItem" else 200, json.dumps(refused).encode())

    proxy.inject(action)

    # Whoever asked reads the item again.
    async with opened(target, proxy.url) as table:
        assert [*await table.put_new_many(items)] == [ExistingItem(None)] * len(items)
