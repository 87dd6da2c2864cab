"""THE declaration: how a row of `images` becomes an item. Adding a column edits one line."""

from typing import Final

from imgmig_dagster.mapping.spec import Field, FieldType, PictureColumns, Rule, TableMapping

IMAGE: Final = TableMapping(
    entity="image",
    id_column="id",
    key_attribute="PK",
    key_prefix="IMAGE#",
    sort_key_attribute="SK",
    sort_key="METADATA",
    version_attribute="version",
    initial_version=1,
    order_column="created_at",
    modified_column="updated_at",
    fields=(
        Field("user_id", "userId", FieldType.TEXT),
        Field("created_at", "createdAt", FieldType.TIMESTAMP, rule=Rule.WITHIN_ONE_SECOND),
        Field("updated_at", "updatedAt", FieldType.TIMESTAMP, rule=Rule.WITHIN_ONE_SECOND),
        Field("original_filename", "originalFilename", FieldType.TEXT),
        Field("s3_key", "s3Key", FieldType.TEXT),
        Field("s3_bucket", "s3Bucket", FieldType.TEXT),
        Field("thumbnail_s3_key", "thumbnailS3Key", FieldType.TEXT, nullable=True),
        Field("mime_type", "mimeType", FieldType.TEXT),
        Field("size_bytes", "sizeBytes", FieldType.INTEGER),
        Field("width", "width", FieldType.INTEGER, nullable=True),
        Field("height", "height", FieldType.INTEGER, nullable=True),
    ),
)

# Apart from the mapping: it changes what a spot check shows, and neither an item nor a verdict.
PICTURE: Final = PictureColumns(
    bucket="s3_bucket",
    key="s3_key",
    thumbnail_key="thumbnail_s3_key",
    type="mime_type",
    size="size_bytes",
    name="original_filename",
)
