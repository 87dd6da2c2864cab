"""The declaration and what is generated from it."""

from dataclasses import replace
from pathlib import Path

import pytest

from imgmig_dagster.mapping.__main__ import page
from imgmig_dagster.mapping.described import markdown_table
from imgmig_dagster.mapping.fields import FieldType, Null, Rule
from imgmig_dagster.mapping.spec import KeyAttribute, TableMapping, Version
from imgmig_dagster.mapping.template import Template
from imgmig_dagster_tests.images import IMAGE

REPOSITORY = Path(__file__).parents[3]


def test_the_documented_mapping_table_is_fresh() -> None:
    assert (REPOSITORY / "docs/mapping.md").read_text(encoding="utf-8") == page()


def test_the_declared_fields_are_those_of_the_requirements() -> None:
    assert {field.column: field.attribute for field in IMAGE.fields} == {
        "user_id": "userId",
        "created_at": "createdAt",
        "updated_at": "updatedAt",
        "original_filename": "originalFilename",
        "s3_key": "s3Key",
        "s3_bucket": "s3Bucket",
        "thumbnail_s3_key": "thumbnailS3Key",
        "mime_type": "mimeType",
        "size_bytes": "sizeBytes",
        "width": "width",
        "height": "height",
    }
    assert {field.column for field in IMAGE.fields if field.nullable} == {"thumbnail_s3_key", "width", "height"}
    assert {field.column for field in IMAGE.fields if field.rule is not Rule.EXACT} == {"created_at", "updated_at"}
    assert {field.column for field in IMAGE.fields if field.type is FieldType.TIMESTAMP} == {"created_at", "updated_at"}


def test_every_declared_field_is_in_the_documented_table() -> None:
    table = markdown_table(IMAGE)

    assert all(f"| `{field.column}` | `{field.attribute}` |" in table for field in IMAGE.fields)


def test_the_modified_attribute_is_that_of_the_modified_column() -> None:
    assert IMAGE.modified_field == IMAGE.fields[2]
    assert IMAGE.columns[IMAGE.order_index or 0] == "created_at"
    assert IMAGE.columns[IMAGE.modified_index or 0] == "updated_at"


@pytest.mark.parametrize(
    "changed",
    [
        replace(IMAGE, primary_key=(KeyAttribute("PK", Template("IMG#{id}")), IMAGE.primary_key[1])),
        replace(IMAGE, version=Version("version", 2)),
        replace(IMAGE, fields=IMAGE.fields[:-1]),
        replace(IMAGE, fields=(replace(IMAGE.fields[0], null=Null.WRITTEN), *IMAGE.fields[1:])),
        replace(IMAGE, fields=(*IMAGE.fields[:-1], replace(IMAGE.fields[-1], attribute="h"))),
        replace(IMAGE, fields=(IMAGE.fields[0], replace(IMAGE.fields[1], rule=Rule.EXACT), *IMAGE.fields[2:])),
    ],
)
def test_any_change_of_the_declaration_changes_its_fingerprint(changed: TableMapping) -> None:
    assert changed.fingerprint() != IMAGE.fingerprint()


def test_the_fingerprint_is_the_same_in_every_process() -> None:
    assert replace(IMAGE).fingerprint() == IMAGE.fingerprint()
    assert len(IMAGE.fingerprint()) == 16
