"""Sends requests to DynamoDB over HTTP: aiohttp carries them, orjson writes them, botocore signs them.

boto3's client needs five times the CPU per item (docs/decisions.md). One call is one request. `sender` decides what to
do about a failure.
"""

import asyncio
import gzip
import io
import zlib
from collections.abc import Awaitable, Callable, Mapping
from types import TracebackType
from typing import Any, Final

import aiohttp
import orjson
from aiohttp.abc import AbstractStreamWriter
from aiohttp.connector import Connection
from aiohttp.payload import BytesIOPayload, BytesPayload, Payload
from aiohttp.tracing import Trace
from botocore.credentials import Credentials, ReadOnlyCredentials
from botocore.exceptions import BotoCoreError

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.aws.aws_faults import clock_wrong, is_of_the_clock, proxy_refused, tls_refused
from imgmig_dagster.errors import ClockWrong, ImgmigError, SettingsError
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.target.faults import TargetFault, classify
from imgmig_dagster.target.request_signing import RequestSigner

_LARGE_BODY_BYTES = 2**20
# As botocore asks. Otherwise AWS compresses, and says so in the header of error replies that are not compressed.
_HEADERS: Final = {"Accept-Encoding": "identity"}
_GZIP_MAGIC: Final = b"\x1f\x8b"
# A member that each reply of DynamoDB has. Without this check any other object would confirm writes that nobody did.
_MEMBERS: Final = {
    "BatchGetItem": "Responses",
    "BatchWriteItem": "UnprocessedItems",
    "BatchExecuteStatement": "Responses",
    "PutItem": "ConsumedCapacity",
    "UpdateItem": "ConsumedCapacity",
    "DeleteItem": "ConsumedCapacity",
    "Scan": "Items",
    "DescribeTable": "Table",
}


class DynamoDBError(Exception):
    """A request that failed. `code` is the service's name of the error, `status` its HTTP status (0: no reply).

    `existing` is the item on which a condition failed, if the request asked for it and the service returns it. AWS
    support finds the request by `request_id`. `clock` is the error for a signature whose time was refused.
    """

    def __init__(
        self,
        operation: str,
        code: str,
        status: int,
        existing: Item | None = None,
        request_id: str | None = None,
        clock: ClockWrong | None = None,
    ) -> None:
        # The service's message can hold keys and values, and people read this text.
        http_status = f" (HTTP {status})" if status else ""
        named = f", request {request_id}" if request_id else ""
        super().__init__(f"{operation}: {code}{http_status}{named}")
        self.operation = operation
        self.code = code
        self.status = status
        self.existing = existing
        self.clock = clock

    @property
    def is_refusal(self) -> bool:
        """Whether the service itself refused: it did nothing, and will do nothing."""
        return 400 <= self.status < 500

    @property
    def fault(self) -> TargetFault:
        """What to do about it."""
        return TargetFault.SIGN_AGAIN if self.clock else classify(self.code, self.status)


class DynamoDBClient:
    """Sends signed requests to one region's DynamoDB, by the route that botocore takes; an async context manager.

    `requests_in_flight` bounds the connections, `timeout` is seconds for one whole request. Creating the client can
    take as long as getting the credentials.

    Raises:
        SettingsError: no region, no credentials, or an unknown profile.
        AwsUnusable: the credentials cannot be had.
    """

    def __init__(self, access: AwsAccess, requests_in_flight: int, timeout: float = 30.0) -> None:
        try:
            self._credentials = access.credentials()
            frozen = self._credentials.get_frozen_credentials()
            self._route = access.route_to_dynamodb()
        except BotoCoreError as error:
            raise SettingsError(
                f"DynamoDB's endpoint is not known: {error}. Check AWS_ACCOUNT_ID_ENDPOINT_MODE"
            ) from None
        self._url = self._route.url
        self._connections = requests_in_flight
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5)
        self._signer = self._sign_with(frozen)
        self._renewal: asyncio.Task[ReadOnlyCredentials] | None = None
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "DynamoDBClient":
        self._http = aiohttp.ClientSession(
            connector=_OwnReplies(limit=self._connections, ssl=self._route.tls or True),
            timeout=self._timeout,
            auto_decompress=False,
            headers=_HEADERS,
        )
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._http is not None:
            await self._http.close()

    async def call(self, operation: str, body: bytes, let_out: Callable[[], Awaitable[None]]) -> dict[str, Any]:
        """Send one request and return the service's reply.

        `let_out` is awaited just before the request goes to the socket: if it raises, nothing was sent.

        Raises:
            DynamoDBError: the service refused it, or no whole reply came back; in the second case the request may still
                have been carried out.
            AwsUnusable: no request can succeed, because of credentials, TLS or a proxy.
        """
        status, headers, content = await self._exchange(operation, body, data := _body(body, let_out))
        if not data.is_out:
            raise DynamoDBError(operation, "StrayReply", 0)  # and nothing was sent
        request_id = headers.get("x-amzn-RequestId")
        try:
            parsed = orjson.loads(_undamaged(content, headers))
        except _DamagedError:
            raise DynamoDBError(operation, "DamagedReply", status, None, request_id) from None
        except orjson.JSONDecodeError:
            parsed = None
        if not isinstance(parsed, dict) or (status == 200 and _MEMBERS[operation] not in parsed):
            # Half a reply, to a request that may have been carried out; or a page of a proxy or of AWS' front end.
            code = "TruncatedReply" if status == 200 else "UnreadableReply"
            raise DynamoDBError(operation, code, status, None, request_id)
        if status != 200:
            # namespace#Name, Name, or Name:address: AWS's front ends differ.
            code = str(parsed.get("__type", "UnknownError")).rpartition("#")[2].partition(":")[0]
            date = headers.get("Date")
            of_the_clock = is_of_the_clock(code, str(parsed.get("message") or parsed.get("Message")), date)
            clock = clock_wrong("DynamoDB", code, date) if of_the_clock else None
            raise DynamoDBError(operation, code, status, parsed.get("Item"), request_id, clock)
        return parsed

    async def _exchange(self, operation: str, body: bytes, data: "_Body") -> tuple[int, Mapping[str, str], bytes]:
        if self._http is None:
            raise RuntimeError("the client is used outside its `async with`")
        await self._follow_credentials()
        route, headers = self._route, self._signer.headers(operation, body)
        if route.tls is None:
            headers.update(route.proxy_headers)  # there is no tunnel to ask for: the proxy reads the request's own
        try:
            async with self._http.post(
                self._url,
                data=data,
                headers=headers,
                proxy=route.proxy,
                proxy_headers=route.proxy_headers or None,
                allow_redirects=False,
            ) as reply:
                content = await reply.read()
        except (aiohttp.ClientPayloadError, aiohttp.http_exceptions.HttpProcessingError):
            raise DynamoDBError(operation, "TruncatedReply", 0) from None
        except aiohttp.ClientHttpProxyError as error:
            if error.status < 500:
                raise proxy_refused(route.proxy_place, error.status) from None
            raise DynamoDBError(operation, "ProxyFailed", error.status) from None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            if isinstance(data.kept_back, ImgmigError):
                raise data.kept_back from None
            if refused := tls_refused(self._url, error):
                raise refused from None
            code = "ProxyUnreachable" if isinstance(error, aiohttp.ClientProxyConnectionError) else "ConnectionFailed"
            raise DynamoDBError(operation, code, 0) from None
        if reply.status == 407:
            raise proxy_refused(route.proxy_place, reply.status)
        return reply.status, reply.headers, content

    def refresh_credentials(self) -> bool:
        """Get other credentials than those that the service refused; False if there are none. May take long.

        Raises:
            AwsUnusable: they cannot be had.
        """
        found = self._credentials.replace(str(self._signing_with.access_key))
        self._signer = self._sign_with(self._credentials.get_frozen_credentials())
        return found

    def sign_again(self) -> None:
        """Use no signature again that was made for an earlier request."""
        self._signer = self._sign_with(self._signing_with)

    async def _follow_credentials(self) -> None:
        """Sign with the process's current credentials. Wait for new ones only if the old ones have expired.

        In a thread: new credentials may come from a service, a process or a person.
        """
        if self._credentials.are_due and self._renewal is None:
            self._renewal = asyncio.create_task(asyncio.to_thread(self._credentials.get_frozen_credentials))
        in_hand, renewal = self._credentials.in_hand, self._renewal
        if renewal is not None and (in_hand is None or renewal.done()):
            try:
                # A request that is given up must not cancel the others' credentials.
                in_hand = await asyncio.shield(renewal)
            finally:
                if renewal.done():
                    self._renewal = None
        if in_hand is not None and in_hand != self._signing_with:
            self._signer = self._sign_with(in_hand)

    def _sign_with(self, frozen: ReadOnlyCredentials) -> RequestSigner:
        self._signing_with = frozen
        return RequestSigner(
            Credentials(str(frozen.access_key), str(frozen.secret_key), frozen.token), self._route.region, self._url
        )


class _OwnReplies(aiohttp.TCPConnector):
    """Uses no connection again on which something arrived that nobody asked for: it would count as the next answer."""

    async def connect(
        self, req: aiohttp.ClientRequest, traces: list[Trace], timeout: aiohttp.ClientTimeout
    ) -> Connection:
        """aiohttp's name."""
        while (found := await super().connect(req, traces, timeout)).protocol and found.protocol.should_close:
            found.close()
        return found


class _Body(Payload):
    """A request's body. It awaits `let_out` right before it goes to the socket; then it `is_out`."""

    let_out: Callable[[], Awaitable[None]]
    kept_back: BaseException | None = None
    is_out = False

    async def write_with_length(self, writer: AbstractStreamWriter, content_length: int | None) -> None:
        """aiohttp's name."""
        try:
            await self.let_out()
        except BaseException as error:
            self.kept_back = error  # aiohttp makes it an error of the connection
            raise
        self.is_out = True
        await super().write_with_length(writer, content_length)


class _SmallBody(_Body, BytesPayload):
    pass


class _LargeBody(_Body, BytesIOPayload):
    """aiohttp writes it piece by piece, so that other requests go on at the same time."""


def _body(content: bytes, let_out: Callable[[], Awaitable[None]]) -> _Body:
    is_large = len(content) > _LARGE_BODY_BYTES
    body: _Body = _LargeBody(io.BytesIO(content)) if is_large else _SmallBody(content)
    body.let_out = let_out
    return body


class _DamagedError(Exception):
    """The checksum is not that of the received bytes."""


def _undamaged(content: bytes, headers: Mapping[str, str]) -> bytes:
    """The body of a reply, checked against its checksum.

    A proxy may compress what was asked for uncompressed. It leaves AWS' checksum alone, which is then that of the body
    before compression. If AWS compresses, the checksum is that of the compressed bytes.
    """
    body = content
    if content.startswith(_GZIP_MAGIC):
        try:
            body = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise _DamagedError from None
    checksum = headers.get("x-amz-crc32")
    if checksum is None or any(checksum == str(zlib.crc32(each)) for each in (body, content)):
        return body
    raise _DamagedError
