"""Rows beside their items, as a person asks for them."""

from dataclasses import replace

from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.side_by_side import rows_beside_items
from imgmig_dagster.mapping.spec import KeyAttribute, Order, TableMapping
from imgmig_dagster.mapping.template import Template

_BUCKET = 0
FILES = TableMapping(
    name="files",
    entity="file",
    schema="public",
    table="files",
    identity=("id",),
    primary_key=(KeyAttribute("PK", Template("FILE#{id}")), KeyAttribute("SK", Template("METADATA"))),
    order=Order("", buckets=4),
    fields=(
        Field("title", "title", FieldType.TEXT, Null.WRITTEN),
        Field("size", "size", FieldType.INTEGER),
        Field("email", "email", FieldType.TEXT, Null.LEFT_OUT, sensitive=True),
    ),
)


def lines(*values: object) -> list[str]:
    (found,) = rows_beside_items(FILES, [Row(("a7", *values, _BUCKET))])  # type: ignore[arg-type]  # as rows have them
    return list(found.lines)


def test_a_row_beside_its_item() -> None:
    assert lines("Straße", 12, "who@example.org") == [
        "row a7 is the item PK = FILE#a7, SK = METADATA",
        '  title: S:"Straße" -> S:"Straße"',
        "  size: N:12 -> N:12",
        "  email: *** -> ***",
    ]


def test_null_written_and_left_out() -> None:
    assert lines(None, 12, None)[1:] == ["  title: NULL -> NULL", "  size: N:12 -> N:12", "  email: NULL -> absent"]


def test_a_row_that_is_rejected_is_named_with_its_column_and_without_its_value() -> None:
    (told,) = lines("x", None, "y")

    assert told.startswith("row a7 is rejected: size: the column is NULL")


def test_a_key_that_is_a_number() -> None:
    mapping = replace(FILES, primary_key=(KeyAttribute("id", Template("{id}"), "N"),))

    (found,) = rows_beside_items(mapping, [Row(("7", None, 1, None, _BUCKET))])

    assert found.key == {"id": "7"}
