"""The pictures of a sample in S3: whether they are what their rows declare, and how a page shows them.

`spot_check_results` holds the results.
"""

import base64
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any, Final

from botocore.exceptions import ParamValidationError

from imgmig_dagster.aws.access import AwsAccess, BotoCoreError, ClientError
from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.rows import Row, Value
from imgmig_dagster.mapping.spec import PictureColumns, TableMapping
from imgmig_dagster.stage.stages import PictureMode
from imgmig_dagster.verification.spot_check_results import ObjectFault, SpotCheckPair, StoredObject

# A page of 50 images stays below 20 MB, and one of 1,000 can still be opened.
EMBEDDED_BYTES: Final = 1024 * 1024
EMBEDDED_BYTES_OF_A_PAGE: Final = 32 * 1024 * 1024
LINK_SECONDS: Final = 3_600
# Types that browsers show in an <img>, where not even SVG can run a script.
SHOWN_TYPES: Final = frozenset(
    {"image/jpeg", "image/png", "image/gif", "image/webp", "image/avif", "image/bmp", "image/svg+xml"}
)
_REQUESTS_IN_FLIGHT: Final = 10
_ABSENT: Final = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


@dataclass(frozen=True)
class ShownPictures:
    """How a page shows pictures, by the rows' ids: `images` as data: URIs, `links` as pairs of name and URL."""

    images: Mapping[str, str] = field(default_factory=dict)
    links: Mapping[str, Sequence[tuple[str, str]]] = field(default_factory=dict)


class PictureStore:
    """The buckets that the rows name. Reads only: HeadObject and GetObject."""

    def __init__(self, access: AwsAccess, mapping: TableMapping, columns: PictureColumns) -> None:
        self._access = access
        self._mapping = mapping
        self._columns = columns

    def inspect(self, rows: Sequence[Row]) -> Mapping[str, tuple[StoredObject | None, StoredObject | None]]:
        """What S3 says about each row's picture and thumbnail, by the row's id.

        If S3 does not answer, that is no error: the object is `UNREAD`. After one request that reached no S3 no other
        is sent.
        """
        is_away = threading.Event()
        with ThreadPoolExecutor(_REQUESTS_IN_FLIGHT) as pool:
            return dict(pool.map(lambda row: (row.id, self._inspect_row(row, is_away)), rows))

    def show(self, pairs: Sequence[SpotCheckPair], mode: PictureMode) -> ShownPictures:
        """Embed pictures that are small enough and of a type that browsers show, the thumbnail first; or make links.

        Links are presigned for `LINK_SECONDS`: everybody who has one can read the object.
        """
        found = {pair.row_id: {"thumbnail": pair.thumbnail, "picture": pair.picture} for pair in pairs}
        there = {
            row_id: {name: each for name, each in objects.items() if each is not None and each.size is not None}
            for row_id, objects in found.items()
        }
        if mode is PictureMode.LINK:
            return ShownPictures(
                links={
                    row_id: [(name, self._link(each)) for name, each in objects.items()]
                    for row_id, objects in there.items()
                    if objects
                }
            )
        return ShownPictures(images=self._embed({row_id: list(objects.values()) for row_id, objects in there.items()}))

    def _inspect_row(self, row: Row, is_away: threading.Event) -> tuple[StoredObject, StoredObject | None]:
        columns = self._columns
        bucket = self._value(row, columns.bucket)
        thumbnail_key = None if columns.thumbnail_key is None else self._value(row, columns.thumbnail_key)
        picture = self._head(bucket, self._value(row, columns.key), is_away)
        if picture.size is not None:
            differs = {
                ObjectFault.SIZE: picture.size != self._value(row, columns.size),
                ObjectFault.TYPE: _media_type(picture.type) != _media_type(self._value(row, columns.type)),
            }
            faults = [fault for fault, is_so in differs.items() if is_so]
            picture = StoredObject(picture.bucket, picture.key, picture.size, picture.type, faults)
        return picture, None if thumbnail_key is None else self._head(bucket, thumbnail_key, is_away)

    def _head(self, bucket: Value, key: Value, is_away: threading.Event) -> StoredObject:
        place = (None if bucket is None else str(bucket), None if key is None else str(key))
        if None in place:
            return StoredObject(*place, None, None, [ObjectFault.MISSING])
        fault = ObjectFault.UNREAD
        if not is_away.is_set():
            try:
                reply = self._client().head_object(Bucket=place[0], Key=place[1])
                return StoredObject(*place, reply["ContentLength"], reply.get("ContentType"), [])
            except ClientError as error:
                if error.response["Error"]["Code"] in _ABSENT:
                    fault = ObjectFault.MISSING
            except ParamValidationError:
                # No bucket or key can have this name.
                fault = ObjectFault.MISSING
            except BotoCoreError:
                is_away.set()
        return StoredObject(*place, None, None, [fault])

    def _embed(self, candidates: Mapping[str, Sequence[StoredObject]]) -> Mapping[str, str]:
        left, chosen = EMBEDDED_BYTES_OF_A_PAGE, {}
        for row_id, objects in candidates.items():
            for each in objects:
                size = each.size or 0
                if 0 < size <= min(left, EMBEDDED_BYTES) and _media_type(each.type) in SHOWN_TYPES:
                    chosen[row_id], left = each, left - size
                    break
        with ThreadPoolExecutor(_REQUESTS_IN_FLIGHT) as pool:
            embedded = dict(zip(chosen, pool.map(self._data_uri, chosen.values()), strict=True))
        return {row_id: uri for row_id, uri in embedded.items() if uri is not None}

    def _data_uri(self, found: StoredObject) -> str | None:
        try:
            body = self._client().get_object(Bucket=found.bucket, Key=found.key)["Body"].read(EMBEDDED_BYTES)
        except (ClientError, BotoCoreError):
            return None
        return f"data:{_media_type(found.type)};base64,{base64.b64encode(body).decode()}"

    def _link(self, found: StoredObject) -> str:
        location = {"Bucket": found.bucket, "Key": found.key}
        url: str = self._client().generate_presigned_url("get_object", Params=location, ExpiresIn=LINK_SECONDS)
        return url

    def _value(self, row: Row, column: str) -> Value:
        kind = FieldType.INTEGER if column == self._columns.size else FieldType.TEXT
        return row[self._mapping.index(column, kind)]

    def _client(self) -> Any:
        return self._access.client("s3")


def _media_type(text: Value) -> str:
    """Without parameters, in lower case: `image/SVG+xml; charset=utf-8` is `image/svg+xml`."""
    return str(text or "").partition(";")[0].strip().lower()
