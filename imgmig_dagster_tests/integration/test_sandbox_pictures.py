"""The pictures that the sandbox's S3 holds of the seeded rows."""

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.exceptions import ClientError
from PIL import Image

from imgmig_dagster.sandbox import Sandbox, aws_process
from imgmig_dagster.sandbox.seed import ImageRow, synthetic_rows

DRAWN = ("image/jpeg", "image/png", "image/webp", "image/gif")
LARGEST_READ = 2_000_000


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sandbox]:
    sandbox = Sandbox(tmp_path_factory.mktemp("sandbox") / ".imgmig")
    yield sandbox
    sandbox.delete()


def s3(sandbox: Sandbox) -> Any:
    status = sandbox.start()
    assert status.aws_port
    return aws_process.client("s3", status.aws_port)


def body(client: Any, bucket: str, key: str) -> bytes:
    found: bytes = client.get_object(Bucket=bucket, Key=key)["Body"].read()
    return found


def opened(content: bytes) -> Image.Image:
    picture = Image.open(io.BytesIO(content))
    picture.load()
    return picture


def assert_objects_are_as_declared(client: Any, rows: list[ImageRow]) -> None:
    for row in rows:
        found = client.head_object(Bucket=row.s3_bucket, Key=row.s3_key)
        assert (found["ContentLength"], found["ContentType"]) == (row.size_bytes, row.mime_type)


def test_every_row_has_real_pictures_of_the_declared_size_and_type(sandbox: Sandbox) -> None:
    rows = list(synthetic_rows(300))
    sandbox.seed(rows)
    client = s3(sandbox)
    assert_objects_are_as_declared(client, rows)
    types = set()
    for row in rows:
        if row.mime_type in DRAWN and 10_000 < row.size_bytes < LARGEST_READ:
            content = body(client, row.s3_bucket, row.s3_key)
            assert len(content) == row.size_bytes
            types.add(Image.MIME[opened(content).format or ""])
    assert types == set(DRAWN)
    row = next(row for row in rows if row.thumbnail_s3_key)
    thumbnail = body(client, row.s3_bucket, row.thumbnail_s3_key or "")
    assert opened(thumbnail).format == "WEBP"
    assert client.head_object(Bucket=row.s3_bucket, Key=row.thumbnail_s3_key)["ContentLength"] == len(thumbnail)


def test_a_size_that_no_object_can_have_is_declared_and_not_made(sandbox: Sandbox) -> None:
    row = next(synthetic_rows(1))._replace(size_bytes=2**63 - 1)
    sandbox.seed([row])
    assert_objects_are_as_declared(s3(sandbox), [row])
    with pytest.raises(ClientError, match="EntityTooLarge"):
        body(s3(sandbox), row.s3_bucket, row.s3_key)


def test_the_objects_of_the_seed_before_are_gone_and_those_of_others_stay(sandbox: Sandbox) -> None:
    first, second = (next(synthetic_rows(1, seed)) for seed in (1, 2))
    sandbox.seed([first])
    client = s3(sandbox)
    client.put_object(Bucket=first.s3_bucket, Key="of another", Body=b"a")
    sandbox.seed([second, second._replace(id=first.id, s3_bucket="no")])
    assert_objects_are_as_declared(client, [second])
    with pytest.raises(ClientError, match="404"):
        client.head_object(Bucket=first.s3_bucket, Key=first.s3_key)
    assert body(client, first.s3_bucket, "of another") == b"a"


def test_a_restarted_server_has_the_pictures_again(sandbox: Sandbox) -> None:
    rows = list(synthetic_rows(20))
    sandbox.seed(rows)
    sandbox.stop()
    assert_objects_are_as_declared(s3(sandbox), rows)


def test_a_reset_forgets_them(sandbox: Sandbox) -> None:
    row = next(synthetic_rows(1))
    sandbox.seed([row])
    sandbox.reset()
    with pytest.raises(ClientError, match="404"):
        s3(sandbox).head_object(Bucket=row.s3_bucket, Key=row.s3_key)
