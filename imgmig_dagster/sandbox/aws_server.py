"""The process behind the sandbox's AWS: moto's server, whose S3 also holds the pictures of the seeded rows.

Its DynamoDB answers several times as fast as moto's own, and on the wire as AWS does (`wire`); its KMS signs as AWS's
does (`kms`).
"""

import hashlib
import io
import logging
import sys
from collections.abc import Callable, Iterable
from functools import cached_property
from pathlib import Path
from typing import Any, Final

import orjson
from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.core.serialize import SERVICE_SPECIFIC_SERIALIZERS, JSONSerializer
from moto.dynamodb.models.dynamo_type import Item
from moto.dynamodb.models.table import Table
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, MotoRequestHandler, create_backend_app
from moto.s3.exceptions import S3ClientError
from moto.s3.models import FakeKey, S3Backend, s3_backends
from werkzeug.serving import run_simple

from imgmig_dagster.sandbox import partiql, wire
from imgmig_dagster.sandbox.aws_process import PICTURES_FILE, PICTURES_PATH, REGION
from imgmig_dagster.sandbox.kms import answer_as_kms
from imgmig_dagster.sandbox.sample_pictures import PictureObject, read_objects

# Rows may declare any size: HeadObject answers for a larger object, but it cannot be read.
_READABLE_BYTES: Final = 64 * 1024 * 1024


class _SeededKey(FakeKey):
    """An object of moto's S3 without a stored body."""

    def __init__(self, picture: PictureObject, backend: S3Backend) -> None:
        super().__init__(
            picture.key,
            b"",
            backend.account_id,
            backend.region_name,
            etag=hashlib.blake2b(repr(picture).encode(), digest_size=16).hexdigest(),
            bucket_name=picture.bucket,
        )
        self.picture = picture
        self.set_metadata({"Content-Type": picture.type})

    @cached_property
    def size(self) -> int:
        return len(self.picture.body()) if self.picture.size is None else self.picture.size

    @property
    def value(self) -> bytes:
        if self.size > _READABLE_BYTES:
            raise S3ClientError("EntityTooLarge", "The sandbox does not make objects of this size")
        return self.picture.body()

    @value.setter
    def value(self, _new_value: bytes) -> None:
        """moto's constructor sets this value, which is made on demand here."""


class _DynamoDBSerializer(JSONSerializer):
    """Writes texts and numbers as moto holds them, which is how DynamoDB sends them.

    moto tries each of the ten types for each attribute: nine tenths of the time of a reply.
    """

    def _serialize_type_structure(self, serialized: Any, value: Any, shape: Any, key: str) -> None:
        if shape.name == "AttributeValue" and isinstance(value.get("S", value.get("N")), str):
            self._default_serialize(serialized, value, shape, key)
        else:
            super()._serialize_type_structure(serialized, value, shape, key)


def _in_order(table: Table) -> list[Item]:
    """The items of a table in moto's order for each page of a scan.

    moto's own way compares keys by their types each time: it takes most of a scan.
    """
    partitions = table.items.values()
    if not table.range_key_attr:
        return sorted(partitions, key=lambda item: item.hash_key.cast_value)  # type: ignore[arg-type]
    items = [item for partition in partitions for item in partition.values()]
    return sorted(items, key=lambda item: (item.hash_key.cast_value, item.range_key.cast_value))


class _RequestHandler(MotoRequestHandler):
    """Serves one connection. Keeps it open for DynamoDB's requests, where werkzeug ends it after the first."""

    # Otherwise a reply of several pieces waits for the acknowledgement of the first.
    disable_nagle_algorithm = True
    answered = 0

    def run_wsgi(self) -> None:
        _before, is_dynamodb, operation = self.headers.get("X-Amz-Target", "").partition("DynamoDB_20120810.")
        if is_dynamodb:
            self._answer_as_dynamodb(operation)
        else:
            super().run_wsgi()

    def _answer_as_dynamodb(self, operation: str) -> None:
        request = self.make_environ()
        length = self.headers.get("Content-Length")
        body = request["wsgi.input"].read(None if length is None else int(length))
        refusal = wire.too_large(body)
        status, content = self._carry_out(operation, request, body) if refusal is None else (413, refusal)
        if status == 200:
            content = wire.answer(operation, orjson.loads(body), content)
        reply = wire.encode(status, content, self.headers.get("Accept-Encoding", ""))
        self.answered += 1
        self.send_response_only(status)
        chunked = len(reply.pieces) > 1
        framing = ("Transfer-Encoding", "chunked") if chunked else ("Content-Length", str(len(reply.pieces[0])))
        for name, value in (*reply.headers.items(), framing):
            self.send_header(name, value)
        if self.answered >= wire.REQUESTS_PER_CONNECTION:
            self.send_header("Connection", "close")
        self.end_headers()
        for piece in reply.pieces:
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
        if chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _carry_out(self, operation: str, request: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        if operation != "BatchExecuteStatement" or not partiql.inserts_only(asked := orjson.loads(body)):
            return self._of_moto(request, body)
        if (refused := partiql.refusal(asked, wire.key_of)) is not None:
            code, message = refused
            return 400, orjson.dumps({"__type": f"com.amazonaws.dynamodb.v20120810#{code}", "message": message})

        def put(single: dict[str, Any]) -> tuple[int, dict[str, Any]]:
            target = {**request, "HTTP_X_AMZ_TARGET": "DynamoDB_20120810.PutItem"}
            content = orjson.dumps(single)
            status, reply = self._of_moto({**target, "CONTENT_LENGTH": str(len(content))}, content)
            return status, orjson.loads(reply)

        return 200, orjson.dumps(partiql.execute(asked, wire.key_of, put))

    def _of_moto(self, request: dict[str, Any], body: bytes) -> tuple[int, bytes]:
        statuses: list[str] = []
        written: list[bytes] = []

        def start_response(status: str, _headers: Any, _exception: Any = None, /) -> Callable[[bytes], object]:
            statuses.append(status)
            return written.append

        request["wsgi.input"] = io.BytesIO(body)
        try:
            written.extend(self.server.app(request, start_response))
        except NotImplementedError:  # an operation that moto does not know: werkzeug's own handler would answer 500
            return 400, orjson.dumps({"__type": "com.amazon.coral.service#UnknownOperationException"})
        return int(statuses[-1].split()[0]), b"".join(written)


def main() -> None:
    """Serve until killed. The process's arguments are the sandbox's folder, the address and the port."""
    folder, host, port = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])
    # One line of access log per request would grow without bound.
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    SERVICE_SPECIFIC_SERIALIZERS["dynamodb"] = {"json": _DynamoDBSerializer}
    answer_as_kms()
    Table.all_items = _in_order  # type: ignore[method-assign, assignment]
    moto = DomainDispatcherApplication(create_backend_app)
    _load(folder / PICTURES_FILE)

    def application(request: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        if request["PATH_INFO"] == PICTURES_PATH:
            _load(folder / PICTURES_FILE)
            start_response("204 No Content", [])
            return []
        return moto(request, start_response)  # type: ignore[no-any-return]

    run_simple(host, port, application, threaded=True, request_handler=_RequestHandler)


def _load(path: Path) -> None:
    """Replace the objects of the previous seed by those of the last one."""
    backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
    for bucket in backend.buckets.values():
        for key in [key for key, found in bucket.keys.items() if isinstance(found, _SeededKey)]:
            bucket.keys.pop(key)
    # moto keeps a list of every key that it made, which would grow with each seed.
    _SeededKey.instances_tracked.clear()  # type: ignore[attr-defined]
    for picture in read_objects(path):
        if picture.bucket not in backend.buckets:
            try:
                backend.create_bucket(picture.bucket, REGION)
            except S3ClientError:
                # A name that no bucket can have: the object is missing, as it would be in S3.
                continue
        backend.buckets[picture.bucket].keys[picture.key] = _SeededKey(picture, backend)
