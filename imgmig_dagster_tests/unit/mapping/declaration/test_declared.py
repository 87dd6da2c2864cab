"""What a sound declaration means."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.mapping.declaration import Declaration, DeclarationRefused, DeclaredPartitions, declare, load
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule, Unit
from imgmig_dagster.mapping.spec import Constant, KeyAttribute, Newer, Order, PictureColumns
from imgmig_dagster.mapping.template import Template
from imgmig_dagster_tests.images import DECLARATION

HEAD = """
table: shop.files
identity: id
order: created_at
modified: updated_at
key: {PK: "FILE#{id}"}
"""


def loaded(tmp_path: Path, text: str) -> Declaration:
    path = tmp_path / "files.yaml"
    path.write_text(text, encoding="utf-8")
    return load(path)


def field(tmp_path: Path, attribute: str, head: str = HEAD) -> Field:
    (found,) = loaded(tmp_path, f"{head}attributes:\n  a: {attribute}\n").mapping.fields
    return found


def test_the_packaged_declaration_of_images() -> None:
    found = load(DECLARATION)

    assert (found.mapping.schema, found.mapping.table, found.mapping.name) == ("public", "images", "images")
    assert found.mapping.pictures == PictureColumns(
        "s3_bucket", "s3_key", "thumbnail_s3_key", "mime_type", "size_bytes", "original_filename"
    )
    assert [each.name for each in found.mapping.fields if each.null is Null.WRITTEN] == [
        "thumbnailS3Key",
        "width",
        "height",
    ]
    assert {each.null for each in found.mapping.fields} == {Null.WRITTEN, Null.REJECTED}
    assert found.partitions == DeclaredPartitions("monthly", None, None)
    assert found.text == DECLARATION.read_text(encoding="utf-8")
    assert found.place == str(DECLARATION)


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ("title", Field("title", "a", FieldType.TEXT, Null.WRITTEN)),
        ("no", Field("no", "a", FieldType.TEXT, Null.WRITTEN)),
        ("created_at", Field("created_at", "a", FieldType.TIMESTAMP, Null.WRITTEN, Rule.WITHIN_ONE_SECOND)),
        ("updated_at", Field("updated_at", "a", FieldType.TIMESTAMP, Null.WRITTEN, Rule.WITHIN_ONE_SECOND)),
        ("{column: created_at, as: text}", Field("created_at", "a", FieldType.TEXT, Null.WRITTEN, as_text=True)),
        (
            "{column: taken_at, as: iso, tolerance: exact, null: rejected}",
            Field("taken_at", "a", FieldType.TIMESTAMP, Null.REJECTED, Rule.EXACT),
        ),
        (
            "{column: taken_ts, unit: ms}",
            Field(
                "taken_ts",
                "a",
                FieldType.TIMESTAMP,
                Null.WRITTEN,
                Rule.WITHIN_ONE_SECOND,
                column_unit=Unit.MILLISECONDS,
            ),
        ),
        ("{column: taken_ts, as: integer}", Field("taken_ts", "a", FieldType.INTEGER, Null.WRITTEN)),
        (
            "{column: deleted_at, as: epoch_seconds, plus: 30 days, null: left_out}",
            Field("deleted_at", "a", FieldType.EPOCH, Null.LEFT_OUT, plus_us=30 * 86_400_000_000),
        ),
        (
            "{column: n, as: epoch_ms, unit: us, plus: -1 hour}",
            Field(
                "n",
                "a",
                FieldType.EPOCH,
                Null.WRITTEN,
                column_unit=Unit.MICROSECONDS,
                unit=Unit.MILLISECONDS,
                plus_us=-3_600_000_000,
            ),
        ),
        ("{column: x, as: number}", Field("x", "a", FieldType.NUMBER, Null.WRITTEN)),
        ("{column: x, as: boolean}", Field("x", "a", FieldType.BOOLEAN, Null.WRITTEN)),
        ("{column: x, as: date}", Field("x", "a", FieldType.DATE, Null.WRITTEN)),
        ("{column: x, as: document}", Field("x", "a", FieldType.DOCUMENT, Null.WRITTEN)),
        ("{column: x, as: list}", Field("x", "a", FieldType.LIST, Null.WRITTEN)),
        ("{column: x, as: set}", Field("x", "a", FieldType.TEXT_SET, Null.WRITTEN)),
        ("{column: x, as: number_set}", Field("x", "a", FieldType.NUMBER_SET, Null.WRITTEN)),
        ("{column: x, as: binary}", Field("x", "a", FieldType.BINARY, Null.WRITTEN)),
        (
            "{column: kind, values: {0: image, 1: video, on: no, 007: bond, true: 1}}",
            Field(
                "kind",
                "a",
                FieldType.LABEL,
                Null.WRITTEN,
                labels=(("0", "image"), ("1", "video"), ("on", "no"), ("007", "bond"), ("true", "1")),
            ),
        ),
        (
            '"USER#{user_id}"',
            Field("USER#{user_id}", "a", FieldType.TEXT, Null.LEFT_OUT, template=Template("USER#{user_id}")),
        ),
        (
            '{template: "{a}{b}", null: rejected, sensitive: true}',
            Field("{a}{b}", "a", FieldType.TEXT, Null.REJECTED, template=Template("{a}{b}"), sensitive=True),
        ),
        ('{column: "odd {name}"}', Field("odd {name}", "a", FieldType.TEXT, Null.WRITTEN)),
        ("{map: {x: left}}", Field("left", "a", FieldType.TEXT, Null.WRITTEN, member="x")),
        (
            "{map: {x: {column: left, as: number, null: left_out}}}",
            Field("left", "a", FieldType.NUMBER, Null.LEFT_OUT, member="x"),
        ),
    ],
)
def test_an_attribute(tmp_path: Path, attribute: str, expected: Field) -> None:
    assert field(tmp_path, attribute) == expected


@pytest.mark.parametrize(
    ("constant", "expected"),
    [
        ("media", {"S": "media"}),
        ('""', {"S": ""}),
        ("no", {"S": "no"}),
        ("7", {"N": "7"}),
        ("1.10", {"N": "1.10"}),
        ("1e3", {"N": "1000"}),
        ("true", {"BOOL": True}),
    ],
)
def test_a_constant(tmp_path: Path, constant: str, expected: dict[str, Any]) -> None:
    found = loaded(tmp_path, f"{HEAD}attributes: {{a: {{constant: {constant}}}}}\n").mapping

    assert found.constants == (Constant("a", expected),)
    assert found.fields == ()


def test_the_units_of_order_and_modified_are_those_of_their_columns(tmp_path: Path) -> None:
    head = HEAD.replace("created_at", "{column: made, unit: us}").replace("updated_at", "{column: changed, unit: s}")
    text = head + "attributes: {a: made, b: {column: changed, as: epoch_ms}, c: {column: made, as: integer}}"
    found = loaded(tmp_path, text).mapping

    assert found.order == Order("made", Unit.MICROSECONDS)
    assert (found.modified, found.modified_unit) == ("changed", Unit.SECONDS)
    assert [each.column_unit for each in found.fields] == [Unit.MICROSECONDS, Unit.SECONDS, None]


def test_modified_is_read_by_its_unit_where_no_attribute_holds_it(tmp_path: Path) -> None:
    found = loaded(tmp_path, HEAD.replace("updated_at", "{column: changed, unit: s}") + "attributes: {}").mapping

    assert found.modified_index is not None
    assert found.readings[found.modified_index - 1].column_unit is Unit.SECONDS


@pytest.mark.parametrize(
    ("written", "partitions", "order"),
    [
        ("order: at", DeclaredPartitions("monthly"), Order("at")),
        ("order: at\npartitions: daily\nundated: true", DeclaredPartitions("daily"), Order("at", has_undated=True)),
        ("order: at\npartitions: {every: weekly}", DeclaredPartitions("weekly"), Order("at")),
        (
            "order: {column: at, unit: ms}\npartitions: {every: daily, start: 2020-01-31}",
            DeclaredPartitions("daily", date(2020, 1, 31)),
            Order("at", Unit.MILLISECONDS),
        ),
        ("partitions: {buckets: 64}", DeclaredPartitions(None, None, 64), Order("", buckets=64)),
    ],
)
def test_partitions(tmp_path: Path, written: str, partitions: DeclaredPartitions, order: Order) -> None:
    found = loaded(tmp_path, HEAD.replace("order: created_at", written) + "attributes: {}")

    assert found.partitions == partitions
    assert found.mapping.order == order


def test_a_table_with_everything(tmp_path: Path) -> None:
    text = """
table: {schema: my.schema, name: The Files}
name: files
entity: file
identity: [origin, media_id]
order: created_at
modified: {newer: source}
key:
  pk: "MEDIA#{origin}#{media_id}"
  sk: {template: "{size}", type: N}
version: {attribute: v, initial: 0}
nulls: left_out
attributes:
  email: owner_email
  who: "{name} <{owner_email}>"
ignored: {caption: "never shown,
  dropped in 2023"}
sensitive: [owner_email]
where: deleted_at IS NULL
pictures: {bucket: b, key: k, type: t, size: s, name: n}
"""
    found = loaded(tmp_path, text).mapping

    assert (found.schema, found.table, found.name, found.entity) == ("my.schema", "The Files", "files", "file")
    assert found.identity == ("origin", "media_id")
    assert found.primary_key == (
        KeyAttribute("pk", Template("MEDIA#{origin}#{media_id}")),
        KeyAttribute("sk", Template("{size}"), "N"),
    )
    assert (found.modified, found.newer) == (None, Newer.SOURCE)
    assert found.version is not None
    assert [(each.null, each.sensitive) for each in found.fields] == [(Null.LEFT_OUT, True), (Null.LEFT_OUT, True)]
    assert found.ignored == {"caption": "never shown, dropped in 2023"}
    assert found.where == "deleted_at IS NULL"
    assert found.pictures == PictureColumns("b", "k", None, "t", "s", "n")


@pytest.mark.parametrize(("table", "schema", "name"), [("files", "public", "files"), ("s.Files", "s", "Files")])
def test_the_table(tmp_path: Path, table: str, schema: str, name: str) -> None:
    found = loaded(tmp_path, HEAD.replace("shop.files", table) + "attributes: {}").mapping

    assert (found.schema, found.table, found.name, found.entity) == (schema, name, name, name)


def test_data_of_another_reader_means_the_same() -> None:
    data = {
        "table": "shop.files",
        "identity": ["id"],
        "order": "created_at",
        "partitions": {"every": "monthly", "start": date(2020, 1, 1)},
        "modified": {"newer": "target"},
        "key": {"PK": "{id}"},
        "attributes": {"a": {"column": "kind", "values": {0: "image", True: "yes"}, None: "rejected"}},
    }
    found = declare(data, "defs/files/defs.yaml")

    assert found.mapping.fields == (
        Field("kind", "a", FieldType.LABEL, Null.REJECTED, labels=(("0", "image"), ("true", "yes"))),
    )
    assert found.partitions.start == date(2020, 1, 1)
    assert found.place == "defs/files/defs.yaml"


def test_where_a_column_is_named(tmp_path: Path) -> None:
    text = """table: shop.files
identity: [id]
order: created_at
modified: {newer: target}
key:
  PK: "FILE#{id}#{part}"
attributes:
  a: {map: {x: left}}
  b: "{left}/{right}"
ignored:
  caption: never shown
"""
    found = loaded(tmp_path, text)
    lines = {"id": 2, "created_at": 3, "part": 6, "left": 8, "right": 9, "caption": 11}

    assert {column: found.at(column) for column in lines} == {
        column: f"{found.place}:{line}" for column, line in lines.items()
    }
    assert found.at("other") == found.place


def test_what_shares_a_column_or_a_map_with_a_sensitive_attribute_is_sensitive(tmp_path: Path) -> None:
    attributes = "{mail: {column: mail, sensitive: true}, GSI1PK: 'MAIL#{mail}', m: {map: {a: mail, b: c}}, d: d}"

    found = loaded(tmp_path, f"{HEAD}attributes: {attributes}\n").mapping

    sensitive = {"mail": True, "GSI1PK": True, "m.a": True, "m.b": True, "d": False}
    assert {each.name: each.sensitive for each in found.fields} == sensitive
    assert found.sensitive_attributes == {"mail", "GSI1PK", "m"}


def test_a_sensitive_column_cannot_be_in_the_key(tmp_path: Path) -> None:
    with pytest.raises(DeclarationRefused, match="id is in the key, which reports have to name; leave `sensitive` out"):
        loaded(tmp_path, f"{HEAD}attributes: {{number: {{column: id, sensitive: true}}}}\n")
