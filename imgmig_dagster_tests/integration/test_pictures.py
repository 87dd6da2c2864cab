"""The pictures of a sample, on a real S3 server."""

import base64
import urllib.request
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import boto3
import pytest
from botocore.config import Config

from imgmig_dagster.stage.stages import PictureMode
from imgmig_dagster.verification.pictures import EMBEDDED_BYTES, EMBEDDED_BYTES_OF_A_PAGE
from imgmig_dagster.verification.spot_check_results import ObjectFault, SpotCheckPair, SpotCheckResult, StoredObject
from imgmig_dagster_tests.arrange import ImageValues, Migration, image, item_of, pictures, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.unit.reporting.stage_state import pair

NOBODY = "http://127.0.0.1:1"


@dataclass(frozen=True)
class Bucket:
    client: Any
    name: str

    def put(self, key: str, body: bytes, content_type: str = "image/jpeg") -> None:
        self.client.put_object(Bucket=self.name, Key=key, Body=body, ContentType=content_type)


@pytest.fixture
def bucket(services: Services) -> Iterator[Bucket]:
    client = boto3.session.Session(
        aws_access_key_id="test", aws_secret_access_key="test", region_name="us-east-1"
    ).client("s3", endpoint_url=services.dynamodb_url, config=Config(proxies={}))
    name = f"pictures-{uuid.uuid4().hex[:12]}"
    client.create_bucket(Bucket=name)
    yield Bucket(client, name)
    client.close()


def checked(migration: Migration, *rows: ImageValues, s3_url: str | None = None) -> SpotCheckResult:
    migration.source.insert(rows)
    return migration.spot_check(len(rows), 0, s3_url=s3_url)


def faults_of(result: SpotCheckResult) -> dict[str, list[str]]:
    return {row: list(faults) for row, faults in result.object_faults.items()}


def test_an_object_of_the_declared_size_and_type_has_no_fault(migration: Migration, bucket: Bucket) -> None:
    bucket.put("a.jpg", b"12345", "Image/JPEG; q=1")
    bucket.put("a.thumbnail", b"1", "image/webp")
    row = image(1, s3_bucket=bucket.name, s3_key="a.jpg", thumbnail_s3_key="a.thumbnail", size_bytes=5)
    (found,) = checked(migration, row).pairs
    assert found.object_faults == []
    assert found.picture is not None
    assert (found.picture.size, found.picture.type) == (5, "Image/JPEG; q=1")
    assert found.thumbnail is not None
    assert found.thumbnail.size == 1


def test_each_fault_of_an_object_is_named(migration: Migration, bucket: Bucket) -> None:
    bucket.put("there", b"12345")
    rows: dict[int, dict[str, Any]] = {
        1: {"s3_key": "there", "size_bytes": 6},
        2: {"s3_key": "there", "mime_type": "image/png"},
        3: {"s3_key": "gone"},
        4: {"s3_key": "there", "thumbnail_s3_key": "gone"},
        5: {"s3_bucket": "no-such-bucket"},
        6: {"s3_bucket": "not a bucket's name/"},
        7: {"s3_key": None},
        8: {"s3_key": ""},
    }
    common: dict[str, Any] = {"s3_bucket": bucket.name, "size_bytes": 5, "thumbnail_s3_key": None}
    result = checked(migration, *(image(number, **{**common, **changes}) for number, changes in rows.items()))
    missing = ["picture: missing"]
    assert faults_of(result) == {
        row_id(1): ["picture: another size"],
        row_id(2): ["picture: another type"],
        row_id(3): missing,
        row_id(4): ["thumbnail: missing"],
        **{row_id(number): missing for number in (5, 6, 7, 8)},
    }


def test_objects_are_no_part_of_whether_the_records_agree(migration: Migration) -> None:
    migration.target.put(item_of(1))
    result = checked(migration, image(1))
    assert (result.differing, len(result.object_faults)) == ([], 1)


def test_an_s3_that_is_away_is_said_and_not_asked_again_for_every_object(migration: Migration) -> None:
    result = checked(migration, *(image(number) for number in range(40)), s3_url=NOBODY)
    unread = [f"{name}: S3 could not be asked" for name in ("picture", "thumbnail")]
    assert faults_of(result) == {row_id(number): unread for number in range(40)}
    assert pictures(NOBODY).show(result.pairs, PictureMode.EMBEDDED).images == {}


def stored(bucket: Bucket, key: str, size: int, content_type: str = "image/png") -> StoredObject:
    return StoredObject(bucket.name, key, size, content_type, [])


def shown(services: Services, *found: SpotCheckPair) -> dict[str, str]:
    return dict(pictures(services.dynamodb_url).show(found, PictureMode.EMBEDDED).images)


def test_the_picture_is_embedded_where_it_is_small_and_browsers_show_its_type(
    services: Services, bucket: Bucket
) -> None:
    bucket.put("a", b"picture", "image/png")
    assert shown(
        services,
        pair("shown", picture=stored(bucket, "a", 7)),
        pair("large", picture=stored(bucket, "a", EMBEDDED_BYTES + 1)),
        pair("empty", picture=stored(bucket, "a", 0)),
        pair("heic", picture=stored(bucket, "a", 7, "image/heic")),
        pair("page", picture=stored(bucket, "a", 7, "text/html")),
        pair("gone", picture=StoredObject(bucket.name, "a", None, None, [ObjectFault.MISSING])),
        pair("deleted since", picture=stored(bucket, "b", 7)),
    ) == {"shown": f"data:image/png;base64,{base64.b64encode(b'picture').decode()}"}


def test_a_page_stays_small_enough_to_open(services: Services, bucket: Bucket) -> None:
    bucket.put("a", b"x", "image/png")
    full = [pair(str(number), picture=stored(bucket, "a", EMBEDDED_BYTES)) for number in range(40)]
    assert len(shown(services, *full)) == EMBEDDED_BYTES_OF_A_PAGE // EMBEDDED_BYTES == 32


def test_links_are_presigned_and_lead_to_the_objects(migration: Migration, bucket: Bucket) -> None:
    bucket.put("a b?.jpg", b"picture")
    bucket.put("thumbnail", b"small")
    rows = [image(1, s3_bucket=bucket.name, s3_key="a b?.jpg", thumbnail_s3_key="thumbnail"), image(2)]
    result = checked(migration, *rows)
    links = pictures(migration.target.url).show(result.pairs, PictureMode.LINK).links
    assert links.keys() == {row_id(1)}
    bodies = {name: urllib.request.urlopen(url).read() for name, url in links[row_id(1)]}  # noqa: S310
    assert bodies == {"thumbnail": b"small", "picture": b"picture"}
    assert all("X-Amz-Expires=3600" in url or "Expires=" in url for _name, url in links[row_id(1)])
