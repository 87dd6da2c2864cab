"""The lower bound for the same requests: encoded and signed beforehand, sent as they are, replies hardly read."""

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final
from urllib.parse import urlsplit

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from benchmarks.job import IN_FLIGHT, MARCH, PAGE, TARGET_TABLE, Job, Sample, measured
from benchmarks.stub import HOST
from imgmig_dagster.batches import batched
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.sandbox.aws_process import ACCESS_KEY_ID, REGION, SECRET_ACCESS_KEY
from imgmig_dagster.target.requests import MAX_BATCH_GET, MAX_BATCH_WRITE, BatchGetItem, BatchWriteItem
from imgmig_dagster_tests.images import IMAGE

_OK: Final = b"HTTP/1.1 200"
_CREDENTIALS: Final = Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY)


def replay_writes(job: Job) -> Sample:
    """The BatchWriteItem requests of `ours.batch`."""
    return _replay(job, "BatchWriteItem", _write_bodies)


def replay_reads(job: Job) -> Sample:
    """The BatchGetItem requests of `ours.verify`."""
    return _replay(job, "BatchGetItem", _read_bodies)


def _replay(job: Job, operation: str, bodies: Callable[[Sequence[Row]], Iterator[bytes]]) -> Sample:
    with job.reader(job.source_table) as reader:
        pages = reader.pages(MARCH, None, PAGE)
        requests = [signed_request(job, operation, body) for page in pages for body in bodies(page)]
    return measured(job.rows, lambda: asyncio.run(_send(job.endpoint, requests)))


def _write_bodies(page: Sequence[Row]) -> Iterator[bytes]:
    transform = transformer(IMAGE)
    items = [item for row in page if not isinstance(item := transform(row), Rejection)]
    for batch in batched(items, MAX_BATCH_WRITE):
        yield BatchWriteItem(TARGET_TABLE, batch).body()


def _read_bodies(page: Sequence[Row]) -> Iterator[bytes]:
    keys = [IMAGE.key(row.id) for row in page]
    for batch in batched(keys, MAX_BATCH_GET):
        yield BatchGetItem(TARGET_TABLE, batch).body()


def signed_request(job: Job, operation: str, body: bytes) -> bytes:
    """A whole HTTP request."""
    request = AWSRequest(
        method="POST",
        url=job.endpoint + "/",
        data=body,
        headers={
            "Content-Type": "application/x-amz-json-1.0",
            "X-Amz-Target": f"DynamoDB_20120810.{operation}",
            "Host": urlsplit(job.endpoint).netloc,
        },
    )
    SigV4Auth(_CREDENTIALS, "dynamodb", REGION).add_auth(request)
    head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
    return f"POST / HTTP/1.1\r\n{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


async def _send(endpoint: str, requests: Sequence[bytes]) -> None:
    waiting = iter(requests)
    loop, port = asyncio.get_running_loop(), int(endpoint.rpartition(":")[2])
    connections = [(await loop.create_connection(lambda: _Replayer(waiting), HOST, port))[1] for _ in range(IN_FLIGHT)]
    await asyncio.gather(*(connection.finished for connection in connections))


class _Replayer(asyncio.Protocol):
    """One connection: sends the next request as soon as the last reply has arrived."""

    def __init__(self, waiting: Iterator[bytes]) -> None:
        self._waiting = waiting
        self._reply = bytearray()
        self.finished: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.WriteTransport)  # noqa: S101
        self._transport = transport
        self._send_next()

    def data_received(self, data: bytes) -> None:
        self._reply += data
        end_of_head = self._reply.find(b"\r\n\r\n")
        if end_of_head < 0:
            return
        head = bytes(self._reply[:end_of_head]).lower()
        length = int(head.partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if len(self._reply) < end_of_head + 4 + length:
            return
        if not self._reply.startswith(_OK):
            self._fail(f"the server answered {bytes(self._reply[:300])!r}")
            return
        self._reply.clear()
        self._send_next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._fail(f"the server closed the connection: {exc}")

    def _send_next(self) -> None:
        request = next(self._waiting, None)
        if request is not None:
            self._transport.write(request)
        elif not self.finished.done():
            self.finished.set_result(None)
            self._transport.close()

    def _fail(self, cause: str) -> None:
        if not self.finished.done():
            self.finished.set_exception(RuntimeError(cause))
