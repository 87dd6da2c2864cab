"""The bench answers as AWS does: what a careless client stumbles over is really sent, by server and proxy alike."""

import gzip
import http.client
import json
import zlib
from collections.abc import Iterator
from http.client import HTTPResponse
from typing import Any
from urllib.parse import urlsplit

import pytest

from imgmig_dagster.sandbox import wire
from imgmig_dagster_tests.arrange import Migration, Target, access, image, item_of
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import FaultProxy

CREDENTIALS = "AWS4-HMAC-SHA256 Credential=test/20240101/us-east-1/dynamodb/aws4_request, SignedHeaders=a, Signature=0"


class Connection:
    """One connection to DynamoDB, kept open for as long as the server likes."""

    def __init__(self, url: str) -> None:
        self._http = http.client.HTTPConnection(urlsplit(url).netloc)

    def ask(self, operation: str, body: dict[str, Any], accept_encoding: str = "gzip") -> tuple[HTTPResponse, bytes]:
        headers = {"X-Amz-Target": f"DynamoDB_20120810.{operation}", "Authorization": CREDENTIALS}
        self._http.request("POST", "/", json.dumps(body), {**headers, "Accept-Encoding": accept_encoding})
        reply = self._http.getresponse()
        return reply, reply.read()

    def close(self) -> None:
        self._http.close()


@pytest.fixture(params=["server", "proxy"])
def connection(request: pytest.FixtureRequest, services: Services, proxy: FaultProxy) -> Iterator[Connection]:
    """To the sandbox's server, and to the proxy before it."""
    opened = Connection(proxy.url if request.param == "proxy" else services.dynamodb_url)
    yield opened
    opened.close()


@pytest.fixture
def filled(target: Target) -> str:
    """The name of a table of 30 items, 12 KB."""
    for number in range(30):
        target.put(item_of(number))
    return target.name


def test_a_sizable_reply_is_compressed_and_cut_into_chunks_under_the_checksum_of_what_is_sent(
    connection: Connection, filled: str
) -> None:
    reply, sent = connection.ask("Scan", {"TableName": filled})

    assert reply.headers["Content-Encoding"] == "gzip"
    assert reply.headers["Transfer-Encoding"] == "chunked"
    assert int(reply.headers["x-amz-crc32"]) == zlib.crc32(sent)
    assert len(json.loads(gzip.decompress(sent))["Items"]) == 30


@pytest.mark.parametrize("accept_encoding", ["identity", "deflate", ""])
def test_it_is_not_for_a_client_that_does_not_ask(connection: Connection, filled: str, accept_encoding: str) -> None:
    reply, sent = connection.ask("Scan", {"TableName": filled}, accept_encoding)

    assert "Content-Encoding" not in reply.headers
    assert int(reply.headers["x-amz-crc32"]) == zlib.crc32(sent)
    assert len(json.loads(sent)["Items"]) == 30


def test_an_error_reply_says_that_it_is_compressed_and_is_not(connection: Connection) -> None:
    reply, sent = connection.ask("Scan", {"TableName": "no-such-table"})

    assert reply.status == 400
    assert reply.headers["Content-Encoding"] == "gzip"
    assert json.loads(sent)["__type"].endswith("ResourceNotFoundException")
    assert len(reply.headers["x-amzn-RequestId"]) == 52


def test_a_connection_is_kept_for_some_requests_and_then_closed(connection: Connection, filled: str) -> None:
    replies = [
        connection.ask("DescribeTable", {"TableName": filled})[0] for _ in range(wire.REQUESTS_PER_CONNECTION + 1)
    ]

    closed = [number for number, reply in enumerate(replies, 1) if reply.headers.get("Connection") == "close"]
    assert closed == [wire.REQUESTS_PER_CONNECTION]


def test_an_ordinary_pass_meets_closed_connections_and_retries_nothing(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(100))

    result = migration.migrate(proxy.url, page_size=1)

    assert result.outcomes == {"inserted": 100}
    assert result.retries == 0
    assert proxy.front.closed >= 10


def test_only_an_empty_page_says_that_a_scan_is_at_its_end(connection: Connection, filled: str) -> None:
    _reply, first = connection.ask("Scan", {"TableName": filled}, "identity")
    start_key = json.loads(first)["LastEvaluatedKey"]
    _reply, second = connection.ask("Scan", {"TableName": filled, "ExclusiveStartKey": start_key}, "identity")

    assert json.loads(second)["Items"] == []
    assert "LastEvaluatedKey" not in json.loads(second)


def test_a_batch_comes_back_in_another_order(connection: Connection, filled: str) -> None:
    keys = [{name: item_of(number)[name] for name in ("PK", "SK")} for number in range(30)]
    _reply, sent = connection.ask("BatchGetItem", {"RequestItems": {filled: {"Keys": keys}}}, "identity")

    found = [item["PK"]["S"] for item in json.loads(sent)["Responses"][filled]]
    asked = [key["PK"]["S"] for key in keys]
    assert sorted(found) == sorted(asked)
    assert found != asked


def test_a_request_of_more_than_16_megabytes_is_refused(connection: Connection, filled: str) -> None:
    too_large = {"TableName": filled, "Item": {**item_of(99), "originalFilename": {"S": "x" * wire.MAX_REQUEST_BYTES}}}

    reply, _sent = connection.ask("PutItem", too_large)

    assert reply.status == 413


def test_an_operation_that_the_emulator_does_not_know_is_refused_and_not_cut_off(
    connection: Connection, filled: str
) -> None:
    """Beside other clients, the doctor asks for what moto knows nothing of."""
    reply, sent = connection.ask("DescribeKinesisStreamingDestination", {"TableName": filled}, "identity")

    assert reply.status == 400
    assert json.loads(sent)["__type"].endswith("#UnknownOperationException")


def test_other_services_are_served_as_before(services: Services) -> None:
    """S3's replies have checksums and an encoding of their own, which nobody may touch."""
    s3 = access(services.dynamodb_url).client("s3")
    s3.create_bucket(Bucket="wire")
    body = gzip.compress(b"x" * 10_000, mtime=0)
    s3.put_object(Bucket="wire", Key="k", Body=body, ContentEncoding="gzip")

    found = s3.get_object(Bucket="wire", Key="k")
    headers = found["ResponseMetadata"]["HTTPHeaders"]

    assert found["Body"].read() == body
    assert found["ContentLength"] == len(body)
    assert "x-amz-crc32" not in headers
    assert access(services.dynamodb_url).client("sts").get_caller_identity()["Account"] == "123456789012"
