"""A reverse proxy in front of a real server: it records every call, and fails those that a test scripts.

It answers as DynamoDB does on the wire (`imgmig_dagster.sandbox.wire`). Faults are truthful: what a reply says of the
table is what the table holds.
"""

import asyncio
import io
import json
import threading
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import aiohttp
from aiohttp import web

from imgmig_dagster.sandbox import partiql, wire
from imgmig_dagster_tests.front import Front

WRITES = frozenset(
    {"BatchWriteItem", "PutItem", "UpdateItem", "DeleteItem", "TransactWriteItems", "BatchExecuteStatement"}
)
NEW_ITEMS = ("PutItem", "BatchExecuteStatement")
"""The operations by which conditional mode writes items where none stands."""
_FORWARDED = frozenset({"authorization", "content-type", "x-amz-date", "x-amz-target"})


@dataclass(frozen=True)
class Call:
    """One request as it arrived: the operation that X-Amz-Target names, its body, and who signed it."""

    operation: str
    body: dict[str, Any]
    access_key: str

    @property
    def ids(self) -> list[str]:
        """The ids in the keys that the request concerns, in order."""
        return [key.removeprefix("IMAGE#") for key in self.keys]

    @property
    def keys(self) -> list[str]:
        """The partition keys that the request concerns, in order."""
        if self.operation == "BatchWriteItem":
            return [put["PutRequest"]["Item"]["PK"]["S"] for puts in self._tables() for put in puts]
        if self.operation == "BatchExecuteStatement":
            return [partiql.parse(statement)[1]["PK"]["S"] for statement in self.body["Statements"]]
        if self.operation == "BatchGetItem":
            return [key["PK"]["S"] for request in self._tables() for key in request["Keys"]]
        single = self.body.get("Item") or self.body.get("Key")
        return [single["PK"]["S"]] if single else []

    def _tables(self) -> list[Any]:
        return list(self.body["RequestItems"].values())


@dataclass(frozen=True)
class Reply:
    """A whole reply, with headers beside or in place of DynamoDB's own."""

    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)


Forward: TypeAlias = Callable[[dict[str, Any]], Awaitable[Reply]]
Operations: TypeAlias = "str | Collection[str] | None"
"""One, any of several, or every one."""
Action: TypeAlias = Callable[[Call, Forward], Awaitable["Reply | Drop"]]


@dataclass(frozen=True)
class Drop:
    """No whole reply: the connection is reset after `part` of this reply has been sent."""

    part: Reply | None = None


@dataclass
class _Rule:
    operations: Operations
    when: Callable[[Call], bool]
    action: Action
    left: int

    def holds_for(self, call: Call) -> bool:
        wanted = (self.operations,) if isinstance(self.operations, str) else self.operations
        return (wanted is None or call.operation in wanted) and self.when(call)


@dataclass
class Held:
    """Calls that have arrived at the proxy, and are carried out when they are let in."""

    count: int
    calls: list[Call] = field(default_factory=list)
    _carried_out: int = 0
    _all_are_here: threading.Event = field(default_factory=threading.Event)
    _may_go_in: threading.Event = field(default_factory=threading.Event)
    _all_are_carried_out: threading.Event = field(default_factory=threading.Event)

    def wait_for_all(self) -> None:
        """Wait until all have arrived."""
        assert self._all_are_here.wait(300), f"{len(self.calls)} of {self.count} calls arrived"

    def let_in(self) -> None:
        """Wait until all are carried out."""
        self._may_go_in.set()
        assert self._all_are_carried_out.wait(300), f"{self._carried_out} of {self.count} calls were carried out"

    async def action(self, call: Call, forward: Forward) -> Reply:
        """For the proxy."""
        self.calls.append(call)
        if len(self.calls) == self.count:
            self._all_are_here.set()
        await asyncio.to_thread(self._may_go_in.wait, 600)
        reply = await forward(call.body)
        self._carried_out += 1
        if self._carried_out == self.count:
            self._all_are_carried_out.set()
        return reply


@dataclass
class FaultProxy:
    """`url` takes DynamoDB's requests and hands them to `upstream`. A context manager; runs in a thread of its own."""

    upstream: str
    calls: list[Call] = field(default_factory=list)
    url: str = ""
    most_in_flight: int = 0
    front: Front = field(default_factory=Front)
    _in_flight: int = 0
    _forwarded: set[int] = field(default_factory=set)
    _rules: list[_Rule] = field(default_factory=list)

    def inject(
        self,
        action: Action,
        operation: Operations = None,
        times: int = 1,
        when: Callable[[Call], bool] = lambda _call: True,
    ) -> None:
        """Apply `action` to the next `times` calls of these operations for which `when` holds."""
        self._rules.append(_Rule(operation, when, action, times))

    def outage(self, when: Callable[[Call], bool], answer: Action | None = None) -> None:
        """Break the connection of every call for which `when` holds, once those before it are answered; or `answer` it.

        An answer that comes after a break says that the service is there, and a call that the client gives up
        while it is under way is carried out when nobody expects it any more.
        """

        async def action(call: Call, forward: Forward) -> Reply | Drop:
            while self._forwarded:  # noqa: ASYNC110 - nobody waits for a single one of them
                await asyncio.sleep(0.01)
            await asyncio.sleep(0.05)  # lets the answers arrive before the reset does
            return await answer(call, forward) if answer else Drop()

        self.inject(action, times=1_000_000, when=when)

    def before(
        self,
        callback: Callable[[], object],
        operation: Operations,
        times: int = 1,
        when: Callable[[Call], bool] = lambda _call: True,
    ) -> None:
        """Run `callback` when such a call has arrived, before it is handed on."""

        async def action(call: Call, forward: Forward) -> Reply:
            await asyncio.to_thread(callback)
            return await forward(call.body)

        self.inject(action, operation, times, when)

    def after(
        self,
        callback: Callable[[], object],
        operation: Operations,
        times: int = 1,
        when: Callable[[Call], bool] = lambda _call: True,
    ) -> None:
        """Run `callback` when such a call was carried out, before its reply is sent."""

        async def action(call: Call, forward: Forward) -> Reply:
            reply = await forward(call.body)
            await asyncio.to_thread(callback)
            return reply

        self.inject(action, operation, times, when)

    def hold(self, count: int, *operations: str) -> Held:
        """Hold the first `count` of these calls.

        When they are as many as the client may have under way, it waits: nothing else is on its way to a socket, or in
        one. What arrives then was sent later.
        """
        held = Held(count)
        self.inject(held.action, times=count, when=lambda call: call.operation in operations)
        return held

    def clear(self) -> None:
        """Forget the calls so far, and inject nothing any more."""
        self._rules.clear()
        self.calls.clear()

    def of(self, *operations: str) -> list[Call]:
        """The calls of these operations, in the order of their arrival."""
        return [call for call in self.calls if call.operation in operations]

    @property
    def writes(self) -> list[Call]:
        """The calls that write."""
        return self.of(*WRITES)

    @property
    def looked_up(self) -> list[str]:
        """The ids of the items that were read by their keys, each once, sorted."""
        return sorted({identifier for call in self.of("BatchGetItem") for identifier in call.ids})

    def __enter__(self) -> "FaultProxy":
        self._loop = asyncio.new_event_loop()
        self._ended = asyncio.Event()
        started = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(started,), name="fault-proxy")
        self._thread.start()
        started.wait()
        return self

    def __exit__(self, *_exception: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    def _run(self, started: threading.Event) -> None:
        try:
            self._loop.run_until_complete(self._serve(started))
        finally:
            self._loop.close()
            started.set()

    async def _serve(self, started: threading.Event) -> None:
        application = web.Application(client_max_size=64 * 2**20)
        application.router.add_post("/", self._handle)
        # A client that a test killed must not hold the proxy up.
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        _host, port = runner.addresses[0][:2]
        self.url = f"http://127.0.0.1:{port}"
        async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=100)) as self._client:
            started.set()
            await self._ended.wait()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        call = Call(
            request.headers["X-Amz-Target"].rpartition(".")[2],
            json.loads(await request.read()),
            request.headers["Authorization"].partition("Credential=")[2].partition("/")[0],
        )
        self.calls.append(call)

        async def forward(body: dict[str, Any]) -> Reply:
            self._forwarded.add(id(call))
            headers = {name: value for name, value in request.headers.items() if name.lower() in _FORWARDED}
            headers["Accept-Encoding"] = "identity"
            sent = json.dumps(body).encode()
            if (refusal := wire.too_large(sent)) is not None:
                return Reply(413, refusal)
            async with self._client.post(self.upstream, data=io.BytesIO(sent), headers=headers) as reply:
                content = await reply.read()
            if reply.status == 200:
                content = wire.answer(call.operation, body, content)
            return Reply(reply.status, content)

        action = self._next_action(call)
        self._in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self._in_flight)
        try:
            try:
                outcome = await (action(call, forward) if action else forward(call.body))
            finally:
                self._in_flight -= 1
            if isinstance(outcome, Drop):
                return await self._drop(request, outcome.part)
            return await self.front.send(request, outcome.status, outcome.body, outcome.headers)
        finally:
            self._forwarded.discard(id(call))

    def _next_action(self, call: Call) -> Action | None:
        for rule in self._rules:
            if rule.left > 0 and rule.holds_for(call):
                rule.left -= 1
                return rule.action
        return None

    @staticmethod
    async def _drop(request: web.Request, part: Reply | None) -> web.StreamResponse:
        response = web.StreamResponse(status=part.status if part else 200)
        if part:
            response.content_length = len(part.body) + 100
            await response.prepare(request)
            await response.write(part.body[: len(part.body) // 2])
            await asyncio.sleep(0.01)  # lets the part arrive before the reset does
        if request.transport is not None:
            request.transport.abort()
        return response


def error(code: str, status: int = 400, **headers: str) -> Action:
    """The service refuses the request by an error's name, as DynamoDB words it."""
    body = f'{{"__type": "com.amazonaws.dynamodb.v20120810#{code}", "message": "injected: PK=IMAGE#secret"}}'
    return reply(status, body.encode(), **headers)


def reply(status: int, body: bytes, **headers: str) -> Action:
    """Whatever a server or a proxy in between may answer; `Retry_After` is the header Retry-After."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}

    async def action(_call: Call, _forward: Forward) -> Reply:
        return Reply(status, body, named)

    return action


def unprocessed(left: int) -> Action:
    """The service carries out all but the last `left` writes or reads of a batch, and says so."""

    async def action(call: Call, forward: Forward) -> Reply:
        ((table, request),) = call.body["RequestItems"].items()
        reading = call.operation == "BatchGetItem"
        entries = request["Keys"] if reading else request
        done, rest = entries[: len(entries) - left], entries[len(entries) - left :]
        answered: dict[str, Any] = {"Responses": {table: []}} if reading else {}
        if done:
            part = {**request, "Keys": done} if reading else done
            answered = json.loads((await forward({**call.body, "RequestItems": {table: part}})).body)
        name = "UnprocessedKeys" if reading else "UnprocessedItems"
        answered[name] = {table: {**request, "Keys": rest} if reading else rest}
        return Reply(200, json.dumps(answered).encode())

    return action


async def reset_before(_call: Call, _forward: Forward) -> Drop:
    """The connection breaks before the service has seen the request."""
    return Drop()


async def reset_after(call: Call, forward: Forward) -> Drop:
    """The request is carried out, and its reply lost."""
    await forward(call.body)
    return Drop()


async def truncated(call: Call, forward: Forward) -> Drop:
    """The request is carried out, and half of its reply arrives."""
    return Drop(await forward(call.body))


def slow(seconds: float) -> Action:
    """The request is carried out, and its reply takes its time."""

    async def action(call: Call, forward: Forward) -> Reply:
        answered = await forward(call.body)
        await asyncio.sleep(seconds)
        return answered

    return action


def holds(row_id: str) -> Callable[[Call], bool]:
    """Whether a call concerns the item of this id."""
    return lambda call: row_id in call.ids
