"""The declaration of `images`."""

from typing import Final

from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule
from imgmig_dagster.mapping.spec import KeyAttribute, Order, PictureColumns, TableMapping, Version
from imgmig_dagster.mapping.template import Template

PICTURE: Final = PictureColumns(
    bucket="s3_bucket",
    key="s3_key",
    thumbnail_key="thumbnail_s3_key",
    type="mime_type",
    size="size_bytes",
    name="original_filename",
)

IMAGE: Final = TableMapping(
    name="images",
    entity="image",
    schema="public",
    table="images",
    identity=("id",),
    primary_key=(KeyAttribute("PK", Template("IMAGE#{id}")), KeyAttribute("SK", Template("METADATA"))),
    order=Order("created_at"),
    modified="updated_at",
    version=Version("version", 1),
    fields=(
        Field("user_id", "userId", FieldType.TEXT, as_text=True),
        Field("created_at", "createdAt", FieldType.TIMESTAMP, rule=Rule.WITHIN_ONE_SECOND),
        Field("updated_at", "updatedAt", FieldType.TIMESTAMP, rule=Rule.WITHIN_ONE_SECOND),
        Field("original_filename", "originalFilename", FieldType.TEXT, as_text=True),
        Field("s3_key", "s3Key", FieldType.TEXT, as_text=True),
        Field("s3_bucket", "s3Bucket", FieldType.TEXT, as_text=True),
        Field("thumbnail_s3_key", "thumbnailS3Key", FieldType.TEXT, Null.WRITTEN, as_text=True),
        Field("mime_type", "mimeType", FieldType.TEXT, as_text=True),
        Field("size_bytes", "sizeBytes", FieldType.INTEGER),
        Field("width", "width", FieldType.INTEGER, Null.WRITTEN),
        Field("height", "height", FieldType.INTEGER, Null.WRITTEN),
    ),
    pictures=PICTURE,
)
