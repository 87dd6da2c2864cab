"""DynamoDB over HTTP: aiohttp carries the requests, orjson writes them, botocore signs them.

boto3's client spends five times the CPU per item (docs/decisions.md). One call is one request: what to do about a
failure is its caller's decision.
"""

import asyncio
import gzip
import io
import ssl
import zlib
from collections.abc import Mapping
from types import TracebackType
from typing import Any, Final

import aiohttp
import orjson
from botocore.exceptions import BotoCoreError
from botocore.httpsession import get_cert_path

from imgmig_dagster.aws import AwsAccess
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.spec import Item
from imgmig_dagster.target.faults import Fault, classify
from imgmig_dagster.target.signing import RequestSigner

_LARGE_BODY_BYTES = 2**20
# As botocore asks: AWS would compress, and puts a header that says so over error replies that are not compressed.
_HEADERS: Final = {"Accept-Encoding": "identity"}
_GZIP_MAGIC: Final = b"\x1f\x8b"
# What each reply of DynamoDB holds. An object without it would otherwise confirm writes that nobody carried out.
_MEMBERS: Final = {
    "BatchGetItem": "Responses",
    "BatchWriteItem": "UnprocessedItems",
    "PutItem": "ConsumedCapacity",
    "UpdateItem": "ConsumedCapacity",
    "DeleteItem": "ConsumedCapacity",
    "Scan": "Items",
    "DescribeTable": "Table",
}


class DynamoDBError(Exception):
    """A request that failed. `code` is the service's name of the error, `status` its HTTP status (0: no reply).

    `standing` is the item on which a condition failed, where the request asked for it and the service hands it back.
    `request_id` is the service's name of the request, by which AWS' support finds it.
    """

    def __init__(
        self, operation: str, code: str, status: int, standing: Item | None = None, request_id: str | None = None
    ) -> None:
        # The service's message can hold keys and values, and this text is shown to people.
        http_status = f" (HTTP {status})" if status else ""
        named = f", request {request_id}" if request_id else ""
        super().__init__(f"{operation}: {code}{http_status}{named}")
        self.operation = operation
        self.code = code
        self.status = status
        self.standing = standing

    @property
    def fault(self) -> Fault:
        """What to do about it."""
        return classify(self.code, self.status)


class DynamoDBClient:
    """Sends signed requests to one region's DynamoDB; an async context manager.

    `requests_in_flight` bounds the connections, `timeout` is seconds for one request as a whole.
    """

    def __init__(self, access: AwsAccess, requests_in_flight: int, timeout: float = 30.0) -> None:
        self._access = access
        self._session = access.session()
        try:
            described = access.client("dynamodb")
        except (BotoCoreError, ValueError) as error:
            raise SettingsError(f"DynamoDB's endpoint is not known: {error}. Set AWS_REGION") from None
        self._url: str = described.meta.endpoint_url.rstrip("/") + "/"
        self._region: str = described.meta.region_name
        self._connections = requests_in_flight
        self._timeout = aiohttp.ClientTimeout(total=timeout, sock_connect=5)
        self._signer = self._new_signer()
        self._http: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> "DynamoDBClient":
        tls: ssl.SSLContext | bool = True
        if self._url.startswith("https:"):
            verify = self._session.get_config_variable("ca_bundle")
            tls = ssl.create_default_context(cafile=verify or get_cert_path(True))
        self._http = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=self._connections, ssl=tls),
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

    async def call(self, operation: str, body: bytes) -> dict[str, Any]:
        """Send one request and return the service's reply.

        Raises:
            DynamoDBError: the service refused it, or no whole reply came back; in the second case the request may
                have been carried out all the same.
        """
        if self._http is None:
            raise RuntimeError("the client is used outside its `async with`")
        # A batch of large items: aiohttp writes it piece by piece, so that other requests go on meanwhile.
        data = io.BytesIO(body) if len(body) > _LARGE_BODY_BYTES else body
        try:
            headers = self._signer.headers(operation, body)
            async with self._http.post(self._url, data=data, headers=headers, allow_redirects=False) as reply:
                content = await reply.read()
                status = reply.status
        except (aiohttp.ClientPayloadError, aiohttp.http_exceptions.HttpProcessingError):
            raise DynamoDBError(operation, "TruncatedReply", 0) from None
        except (aiohttp.ClientError, asyncio.TimeoutError, OSError):
            raise DynamoDBError(operation, "ConnectionFailed", 0) from None
        request_id = reply.headers.get("x-amzn-RequestId")
        try:
            parsed = orjson.loads(_undamaged(content, reply.headers))
        except _DamagedError:
            raise DynamoDBError(operation, "DamagedReply", status, None, request_id) from None
        except orjson.JSONDecodeError:
            parsed = None
        if not isinstance(parsed, dict) or (status == 200 and _MEMBERS[operation] not in parsed):
            # Half a reply, of a request that may have been carried out; or a page of a proxy or of AWS' front end.
            code = "TruncatedReply" if status == 200 else "UnreadableReply"
            raise DynamoDBError(operation, code, status, None, request_id)
        if status != 200:
            code = str(parsed.get("__type", "UnknownError")).rpartition("#")[2]
            raise DynamoDBError(operation, code, status, parsed.get("Item"), request_id)
        return parsed

    def refresh_credentials(self) -> None:
        """Load the credentials anew, as after an expired token."""
        # A session keeps the credentials that it found first.
        self._session = self._access.session()
        self._signer = self._new_signer()

    def _new_signer(self) -> RequestSigner:
        credentials = self._session.get_credentials()
        if credentials is None:
            raise SettingsError("no AWS credentials were found: set AWS_PROFILE, or AWS_ACCESS_KEY_ID and its secret")
        return RequestSigner(credentials, self._region, self._url)


class _DamagedError(Exception):
    """The checksum is not that of the bytes that came."""


def _undamaged(content: bytes, headers: Mapping[str, str]) -> bytes:
    """The body of a reply, if it is what the service sent as far as its checksum tells.

    A proxy may compress what was asked for as it is. It leaves AWS' checksum alone, which is then that of the body
    before it was compressed; of what AWS compresses itself it is that of the compressed bytes.
    """
    body = content
    if content.startswith(_GZIP_MAGIC):
        try:
            body = gzip.decompress(content)
        except (OSError, EOFError, zlib.error):
            raise _DamagedError from None
    checksum = headers.get("x-amz-crc32")
    if checksum is not None and checksum not in (str(zlib.crc32(content)), str(zlib.crc32(body))):
        raise _DamagedError
    return body
