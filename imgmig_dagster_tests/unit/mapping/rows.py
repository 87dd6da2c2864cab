"""Golden rows with the items that the application's TypeScript writes for them, both spelled out by hand."""

from typing import Any

from hypothesis import strategies as st

from imgmig_dagster.mapping.compare import Comparison, comparer
from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster_tests.arrange import COLUMNS
from imgmig_dagster_tests.images import IMAGE

# id, user_id, created_at, updated_at, original_filename, s3_key, s3_bucket, thumbnail_s3_key, mime_type, size_bytes,
# width, height; timestamps in microseconds since 1970.
FULL_ROW = Row(
    (
        "5f0c7a52-3c11-4d0e-8f57-2d8f3a1b9c01",
        "0b6a2f6e-5a0c-4b7e-9a59-8f1d5a2f7c11",
        1_709_210_096_123_456,  # 2024-02-29T12:34:56.123456Z
        1_714_979_289_999_999,  # 2024-05-06T07:08:09.999999Z
        "Löwe im Gras.jpg",
        "uploads/2024/löwe.jpg",
        "images-prod",
        "thumbs/löwe.webp",
        "image/jpeg",
        9_007_199_254_740_993,  # 2^53 + 1
        4_032,
        3_024,
    )
)
FULL_ITEM: Item = {
    "PK": {"S": "IMAGE#5f0c7a52-3c11-4d0e-8f57-2d8f3a1b9c01"},
    "SK": {"S": "METADATA"},
    "userId": {"S": "0b6a2f6e-5a0c-4b7e-9a59-8f1d5a2f7c11"},
    "createdAt": {"S": "2024-02-29T12:34:56.123Z"},
    "updatedAt": {"S": "2024-05-06T07:08:09.999Z"},
    "originalFilename": {"S": "Löwe im Gras.jpg"},
    "s3Key": {"S": "uploads/2024/löwe.jpg"},
    "s3Bucket": {"S": "images-prod"},
    "thumbnailS3Key": {"S": "thumbs/löwe.webp"},
    "mimeType": {"S": "image/jpeg"},
    "sizeBytes": {"N": "9007199254740993"},
    "width": {"N": "4032"},
    "height": {"N": "3024"},
    "version": {"N": "1"},
}
SPARSE_ROW = Row(
    (
        "42",
        "u",
        0,
        -1,  # 1969-12-31T23:59:59.999999Z: before 1970, and before created_at
        "",
        "k",
        "b",
        None,
        "image/png",
        0,
        None,
        None,
    )
)
SPARSE_ITEM: Item = {
    "PK": {"S": "IMAGE#42"},
    "SK": {"S": "METADATA"},
    "userId": {"S": "u"},
    "createdAt": {"S": "1970-01-01T00:00:00.000Z"},
    "updatedAt": {"S": "1969-12-31T23:59:59.999Z"},
    "originalFilename": {"S": ""},
    "s3Key": {"S": "k"},
    "s3Bucket": {"S": "b"},
    "thumbnailS3Key": {"NULL": True},
    "mimeType": {"S": "image/png"},
    "sizeBytes": {"N": "0"},
    "width": {"NULL": True},
    "height": {"NULL": True},
    "version": {"N": "1"},
}
HOSTILE_ROW = Row(
    (
        "e3b0c442-98fc-4c14-9afb-f4c8996fb924",
        "<user>",
        1_704_067_199_999_999,  # 2023-12-31T23:59:59.999999Z
        1_704_067_200_000_000,  # 2024-01-01T00:00:00Z
        '=HYPERLINK("x")\r\n<img src=x onerror=alert(1)>\u202egpj.exe',
        "../../etc/passwd",
        "cafe\u0301",  # NFD
        "caf\u00e9",  # NFC
        "\U0001f468\u200d\U0001f469\u200d\U0001f467",
        9_223_372_036_854_775_807,  # 2^63 - 1
        -1,
        2_147_483_647,
    )
)
HOSTILE_ITEM: Item = {
    "PK": {"S": "IMAGE#e3b0c442-98fc-4c14-9afb-f4c8996fb924"},
    "SK": {"S": "METADATA"},
    "userId": {"S": "<user>"},
    "createdAt": {"S": "2023-12-31T23:59:59.999Z"},
    "updatedAt": {"S": "2024-01-01T00:00:00.000Z"},
    "originalFilename": {"S": '=HYPERLINK("x")\r\n<img src=x onerror=alert(1)>\u202egpj.exe'},
    "s3Key": {"S": "../../etc/passwd"},
    "s3Bucket": {"S": "cafe\u0301"},
    "thumbnailS3Key": {"S": "caf\u00e9"},
    "mimeType": {"S": "\U0001f468\u200d\U0001f469\u200d\U0001f467"},
    "sizeBytes": {"N": "9223372036854775807"},
    "width": {"N": "-1"},
    "height": {"N": "2147483647"},
    "version": {"N": "1"},
}
GOLDEN = {
    "full": (FULL_ROW, FULL_ITEM),
    "sparse": (SPARSE_ROW, SPARSE_ITEM),
    "hostile": (HOSTILE_ROW, HOSTILE_ITEM),
}

YEAR_1 = -62_135_596_800_000_000
YEAR_10000 = 253_402_300_800_000_000


def row(**changes: Any) -> Row:
    """`FULL_ROW` with some columns changed."""
    values = dict(zip(COLUMNS, FULL_ROW, strict=True))
    assert values.keys() >= changes.keys()
    return Row({**values, **changes}.values())


def item(**changes: Any) -> Item:
    """`FULL_ITEM` with some attributes changed, or dropped where the change is None."""
    return {name: value for name, value in {**FULL_ITEM, **changes}.items() if value is not None}


def compare(source: Row, found: Item) -> Comparison:
    # Compiled within the test: mutants exist only while a test runs.
    return comparer(IMAGE)(source, found)


def named(source: Row, found: Item) -> list[str]:
    """The attributes that differ."""
    return [difference.attribute for difference in compare(source, found).differences]


# PostgreSQL's text holds no NUL character; a key holds at most 2,048 bytes.
texts = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=40)
identifiers = texts.filter(bool)
timestamps = st.integers(YEAR_1, YEAR_10000 - 1)
integers = st.integers(-(2**63), 2**63 - 1)
_BY_TYPE: dict[FieldType, st.SearchStrategy[Any]] = {
    FieldType.TEXT: texts,
    FieldType.INTEGER: integers,
    FieldType.TIMESTAMP: timestamps,
}
mappable_rows: st.SearchStrategy[Row] = st.tuples(
    identifiers,
    *(st.one_of(st.none(), _BY_TYPE[field.type]) if field.nullable else _BY_TYPE[field.type] for field in IMAGE.fields),
).map(Row)
