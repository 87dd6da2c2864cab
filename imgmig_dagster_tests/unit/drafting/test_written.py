from typing import Any

import pytest

from imgmig_dagster.drafting.seen import PK_SK, KeyPart, SeenColumn, SeenTable, SeenTarget
from imgmig_dagster.drafting.written import scalar, written
from imgmig_dagster.mapping.declaration import yaml_lines
from imgmig_dagster.mapping.declaration.loading import parse
from imgmig_dagster.mapping.fields import FieldType, Unit

NATURAL = {
    *(FieldType.TEXT, FieldType.INTEGER, FieldType.NUMBER, FieldType.BOOLEAN, FieldType.TIMESTAMP, FieldType.DATE),
    *(FieldType.DOCUMENT, FieldType.LIST, FieldType.BINARY),
}
TIME, WHOLE, WORDS = FieldType.TIMESTAMP, FieldType.INTEGER, FieldType.TEXT


def table(*columns: tuple[str, FieldType], name: str = "images", **more: Any) -> SeenTable:
    found = tuple(SeenColumn(column, "bigint", kind, True) for column, kind in columns)
    return SeenTable("public", name, found, **{"primary_key": ("id",), **more})


def read(text: str) -> Any:
    (found,) = yaml_lines.read(text)
    assert not found.faults
    return found.data


@pytest.mark.parametrize(
    "name", ["width", "ownerId", "no", "NULL", "Y", "on", "2024", "", " a", "a: b", "a # b", "{x}", "%", 'say "x"', "ö"]
)
def test_a_name_is_read_back_as_it_is(name: str) -> None:
    assert read(f"{{a: [{scalar(name)}]}}") == {"a": [name]}
    assert read(f"{scalar(name)}: 1") == {name: 1}


def test_a_table_of_many_types() -> None:
    seen = table(
        ("id", WHOLE),
        ("created_at", TIME),
        ("updated_at", TIME),
        ("deleted_at", TIME),
        ("size_bytes", WHOLE),
        ("price", FieldType.NUMBER),
        ("is_public", FieldType.BOOLEAN),
        ("meta", FieldType.DOCUMENT),
        ("tags", FieldType.LIST),
        ("hash", FieldType.BINARY),
        ("day", FieldType.DATE),
        ("PK", WORDS),
    )

    draft = written(seen, PK_SK, "2020-03-01", ["Of 3 rows that were looked at, DynamoDB can hold all."])

    assert read(draft.text) == {
        "table": "public.images",
        "entity": "image",
        "identity": ["id"],
        "order": "created_at",
        "partitions": {"every": "monthly", "start": "2020-03-01"},
        "modified": "updated_at",
        "key": {"PK": "IMAGE#{id}", "SK": "METADATA"},
        "attributes": {
            "createdAt": "created_at",
            "updatedAt": "updated_at",
            "deletedAt": {"column": "deleted_at", "as": "iso"},
            "sizeBytes": {"column": "size_bytes", "as": "integer"},
            "price": {"column": "price", "as": "number"},
            "isPublic": {"column": "is_public", "as": "boolean"},
            "meta": {"column": "meta", "as": "document"},
            "tags": {"column": "tags", "as": "list"},
            "hash": {"column": "hash", "as": "binary"},
            "day": {"column": "day", "as": "date"},
            "pk": "PK",
        },
    }
    assert draft.decide == ()
    assert "where: 'deleted_at IS NULL'" in draft.text
    assert "# Of 3 rows" in draft.text


def test_numbers_that_are_times_and_a_name_that_needs_another() -> None:
    units = {"created_ts": Unit.MILLISECONDS, "mtime": Unit.SECONDS}
    seen = table(("id", WHOLE), ("created_ts", WHOLE), ("mtime", WHOLE), name="My Photos", units=units)

    found = read(written(seen, PK_SK).text)

    assert (found["table"], found["name"]) == ("public.My Photos", "my_photos")
    assert found["order"] == {"column": "created_ts", "unit": "ms"}
    assert found["modified"] == {"column": "mtime", "unit": "s"}
    assert found["attributes"]["createdTs"] == {"column": "created_ts", "unit": "ms", "as": "epoch_ms"}
    assert found["attributes"]["mtime"] == {"column": "mtime", "unit": "s", "as": "epoch_seconds"}
    assert found["partitions"] == "monthly"


def test_names_with_points_and_no_time() -> None:
    draft = written(table(("id", WHOLE), name="a.b"), PK_SK)
    found = read(draft.text)

    assert found["table"] == {"schema": "public", "name": "a.b"}
    assert found["partitions"] == {"buckets": 16}
    assert found["modified"] == {"newer": "target"}
    assert found["attributes"] == {}
    assert "order" not in found
    assert "DECIDE: no column tells when a row was last changed" in " ".join(draft.decide)


def test_the_targets_key_and_indexes_are_followed() -> None:
    indexes = {
        "by-owner": (KeyPart("ownerId", "S"), KeyPart("id", "N")),
        "gsi1": (KeyPart("GSI1PK", "S"),),
        "flag": (KeyPart("isPublic", "S"),),
    }
    target = SeenTarget("t", (KeyPart("id", "N"),), indexes)
    seen = table(("id", WHOLE), ("owner_id", WHOLE), ("is_public", FieldType.BOOLEAN))

    draft = written(seen, target)
    found = read(draft.text)

    assert found["key"] == {"id": {"template": "{id}", "type": "N"}}
    assert found["attributes"]["ownerId"] == {"column": "owner_id", "as": "text", "null": "left_out"}
    told = "\n".join(draft.decide)
    assert "the index gsi1 has the key GSI1PK, which nothing here fills" in told
    assert "the index flag has the key isPublic of type S" in told
    assert "by-owner" not in told


def test_a_comment_of_the_catalog_stays_on_its_line() -> None:
    columns = (
        SeenColumn("id", "bigint", WHOLE, True),
        SeenColumn("a", "text", WORDS, True, "one\nattributes: {}"),
    )

    found = read(written(SeenTable("public", "t", columns, ("id",)), PK_SK).text)

    assert found["attributes"] == {"a": "a"}


@pytest.mark.parametrize("name", ["images", "My Photos", "a.b", "no", "größe", "%"])
def test_a_draft_is_a_declaration(name: str) -> None:
    columns = [(f"{kind.value} column", kind) for kind in FieldType if kind in NATURAL]
    times = [("created_at", WHOLE), ("updated_at", WHOLE)]
    units = {"created_at": Unit.SECONDS, "updated_at": Unit.MICROSECONDS}
    seen = table(("id", WHOLE), *times, *columns, ("100 %", WORDS), ("a: b", WORDS), name=name, units=units)

    mapping = parse(written(seen, PK_SK).text, "draft.yaml").mapping

    assert (mapping.schema, mapping.table) == ("public", name)
    assert mapping.not_migrated(column.name for column in seen.columns).unmapped == ()
    assert {field.column: field.type for field in mapping.fields} == {
        "created_at": FieldType.EPOCH,
        "updated_at": FieldType.EPOCH,
        **dict(columns),
        "100 %": WORDS,
        "a: b": WORDS,
    }
    assert (mapping.order.column, mapping.order.unit) == ("created_at", Unit.SECONDS)
    assert (mapping.modified, mapping.modified_unit) == ("updated_at", Unit.MICROSECONDS)
