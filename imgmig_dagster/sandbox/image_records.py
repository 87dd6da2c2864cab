"""What the sandbox's application writes to `images`; for other tables see `declared_records`."""

import random
import uuid
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any, Final

from imgmig_dagster.mapping.rows import Item

if TYPE_CHECKING:
    import psycopg

_BUCKET: Final = "images-dev"


class ImageRecords:
    """The images: see `dual_writer.Records`. Names of images are never changed."""

    version: Final = "version"

    def key(self, row_id: str) -> Item:
        """As the application makes it."""
        return {"PK": {"S": f"IMAGE#{row_id}"}, "SK": {"S": "METADATA"}}

    def ids(self, connection: "psycopg.Connection[Any]") -> Iterable[str]:
        """In their order."""
        return [str(row[0]) for row in connection.execute("SELECT id FROM images ORDER BY id")]

    def kinds(self, connection: "psycopg.Connection[Any]") -> Sequence[str]:
        """All of them."""
        del connection
        return ("insert", "update", "touch", "delete")

    def insert(
        self, beside: str, chance: random.Random, connection: "psycopg.Connection[Any]", now: datetime
    ) -> tuple[str, Item] | None:
        """A new image, created when the image `beside` was."""
        del chance
        row_id = str(uuid.uuid4())
        row = {
            "user_id": str(uuid.uuid5(uuid.NAMESPACE_OID, row_id)),
            "original_filename": f"{row_id[:8]}.png",
            "s3_key": f"uploads/{row_id}.png",
            "mime_type": "image/png",
            "size_bytes": 4_096,
        }
        found = connection.execute(
            "INSERT INTO images (id, user_id, created_at, updated_at, original_filename, s3_key, s3_bucket,"
            " mime_type, size_bytes) SELECT %(id)s, %(user_id)s, created_at, %(now)s, %(original_filename)s,"
            " %(s3_key)s, %(bucket)s, %(mime_type)s, %(size_bytes)s"
            " FROM images WHERE id = %(beside)s RETURNING created_at",
            {**row, "id": row_id, "now": now, "beside": beside, "bucket": _BUCKET},
        ).fetchone()
        if found is None:
            return None
        return row_id, {
            "userId": {"S": row["user_id"]},
            "createdAt": {"S": _iso(found[0])},
            "updatedAt": {"S": _iso(now)},
            "originalFilename": {"S": row["original_filename"]},
            "s3Key": {"S": row["s3_key"]},
            "s3Bucket": {"S": _BUCKET},
            "thumbnailS3Key": {"NULL": True},
            "mimeType": {"S": "image/png"},
            "sizeBytes": {"N": "4096"},
            "width": {"NULL": True},
            "height": {"NULL": True},
        }

    def update(
        self, row_id: str, chance: random.Random, connection: "psycopg.Connection[Any]", now: datetime
    ) -> Item | None:
        """A new thumbnail and size, and the time of it."""
        thumbnail, width = f"thumbnails/{chance.getrandbits(32):08x}.jpg", chance.randrange(1, 4_000)
        updated = connection.execute(
            "UPDATE images SET thumbnail_s3_key = %s, width = %s, updated_at = %s WHERE id = %s RETURNING id",
            (thumbnail, width, now, row_id),
        ).fetchone()
        if updated is None:
            return None
        return {"thumbnailS3Key": {"S": thumbnail}, "width": {"N": str(width)}, "updatedAt": {"S": _iso(now)}}

    def touch(self, row_id: str, chance: random.Random, connection: "psycopg.Connection[Any]") -> Item | None:
        """The size alone."""
        size = chance.randrange(2**40)
        updated = connection.execute(
            "UPDATE images SET size_bytes = %s WHERE id = %s RETURNING id", (size, row_id)
        ).fetchone()
        return None if updated is None else {"sizeBytes": {"N": str(size)}}

    def delete(self, row_id: str, connection: "psycopg.Connection[Any]") -> None:
        """Delete the image."""
        connection.execute("DELETE FROM images WHERE id = %s", (row_id,))


def _iso(moment: datetime) -> str:
    return moment.astimezone(timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.") + f"{moment.microsecond // 1_000:03d}Z"
