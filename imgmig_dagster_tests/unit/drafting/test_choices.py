from typing import Any

import pytest

from imgmig_dagster.drafting.choices import (
    DraftedKey,
    choose_identity,
    choose_key,
    choose_modified,
    choose_order,
    deletion_marks,
)
from imgmig_dagster.drafting.seen import PK_SK, KeyPart, SeenColumn, SeenTable, SeenTarget
from imgmig_dagster.mapping.fields import FieldType, Unit

TIME, WHOLE, WORDS = FieldType.TIMESTAMP, FieldType.INTEGER, FieldType.TEXT


def table(*columns: tuple[str, FieldType, bool], name: str = "images", **more: Any) -> SeenTable:
    """A table of columns with name, type, and whether they are NOT NULL."""
    return SeenTable("public", name, tuple(SeenColumn(n, "?", t, required) for n, t, required in columns), **more)


ID = ("id", WHOLE, True)
BOTH = (ID, ("o_type", WORDS, True))


@pytest.mark.parametrize(
    ("seen", "columns", "said"),
    [
        (table(ID, primary_key=("id",), unique=(("key",),)), ("id",), ""),
        (table(*BOTH, primary_key=("id", "o_type")), ("id", "o_type"), ""),
        (table(("a", WORDS, False), ("b", WORDS, True), unique=(("a",), ("b",))), ("b",), "no primary key"),
        (table(("a", WORDS, True), ("b", WORDS, True), unique=(("a", "b"), ("b",))), ("b",), "no primary key"),
        (table(("a", WORDS, False), unique=(("a",),)), ("a",), "a may be NULL"),
        (table(("a", WORDS, False), ("id", WORDS, False)), ("id",), "DECIDE: no primary key"),
        (table(("a", WORDS, False), is_view=True), (), "DECIDE: a view has no unique index; name the columns"),
    ],
)
def test_the_identity(seen: SeenTable, columns: tuple[str, ...], said: str) -> None:
    found = choose_identity(seen)

    assert found.columns == columns
    assert said in " ".join(found.remarks)
    assert bool(said) == bool(found.remarks)


def target(*parts: tuple[str, str]) -> SeenTarget:
    return SeenTarget("t", tuple(KeyPart(*part) for part in parts))


ONE = table(ID, name="images")
TWO = table(*BOTH, name="object_keys")


@pytest.mark.parametrize(
    ("seen", "identity", "of", "templates"),
    [
        (ONE, ["id"], PK_SK, [("PK", "IMAGE#{id}", "S"), ("SK", "METADATA", "S")]),
        (TWO, ["id", "o_type"], PK_SK, [("PK", "OBJECT_KEY#{id}", "S"), ("SK", "OBJECT_KEY#{o_type}", "S")]),
        (TWO, ["id", "o_type"], target(("pk", "S")), [("pk", "OBJECT_KEY#{id}#{o_type}", "S")]),
        (ONE, ["id"], target(("id", "N")), [("id", "{id}", "N")]),
        (ONE, ["id"], target(("pk", "S"), ("n", "N")), [("pk", "IMAGE#{id}", "S"), ("n", "{id}", "N")]),
        (
            TWO,
            ["id", "o_type"],
            target(("id", "N"), ("sk", "S")),
            [("id", "{id}", "N"), ("sk", "OBJECT_KEY#{o_type}", "S")],
        ),
    ],
)
def test_the_key_holds_the_identity(
    seen: SeenTable, identity: list[str], of: SeenTarget, templates: list[tuple[str, str, str]]
) -> None:
    assert choose_key(seen, identity, of) == ([DraftedKey(*each) for each in templates], [])


@pytest.mark.parametrize(
    ("seen", "identity", "of", "said"),
    [
        (table(("id", WORDS, True)), ["id"], target(("id", "N")), "no column of the identity is"),
        (TWO, ["id", "o_type"], target(("id", "N")), "no place for o_type"),
        (ONE, ["id"], target(("id", "B")), "of type B"),
        (table(("i{d", WORDS, True)), ["i{d"], PK_SK, "without braces"),
    ],
)
def test_a_key_that_cannot_hold_it_is_said(seen: SeenTable, identity: list[str], of: SeenTarget, said: str) -> None:
    _keys, remarks = choose_key(seen, identity, of)

    assert [remark for remark in remarks if remark.startswith("DECIDE") and said in remark]


@pytest.mark.parametrize(
    ("seen", "column", "unit", "undated", "said"),
    [
        (table(ID, ("updated_at", TIME, True), ("created_at", TIME, True)), "created_at", None, False, ""),
        (table(("created_at", TIME, False), ("uploaded_at", TIME, True)), "uploaded_at", None, False, ""),
        (
            table(("created", TIME, True), ("inserted_at", TIME, True), leading=frozenset({"inserted_at"})),
            "inserted_at",
            None,
            False,
            "",
        ),
        (table(("published_at", TIME, True), ("updated_at", TIME, True)), "published_at", None, False, ""),
        (table(("taken_at", TIME, True)), "taken_at", None, False, "DECIDE: taken_at"),
        (table(("updated_at", TIME, True), ("expires_at", TIME, True)), None, None, False, "buckets"),
        (
            table(("created_ts", WHOLE, True), units={"created_ts": Unit.MILLISECONDS}),
            "created_ts",
            Unit.MILLISECONDS,
            False,
            "",
        ),
        (table(("created_ts", WHOLE, True)), None, None, False, "buckets"),
        (table(("created_at", TIME, False)), "created_at", None, True, "partition of their own"),
        (
            table(("created_ts", WHOLE, False), units={"created_ts": Unit.SECONDS}),
            "created_ts",
            Unit.SECONDS,
            True,
            "NULL",
        ),
        (table(("day_created", FieldType.DATE, True)), "day_created", None, False, ""),
        (table(ID), None, None, False, "buckets"),
    ],
)
def test_the_order(seen: SeenTable, column: str | None, unit: Unit | None, undated: bool, said: str) -> None:
    found = choose_order(seen)

    assert (found.column, found.unit, found.undated) == (column, unit, undated)
    assert said in " ".join(found.remarks)


@pytest.mark.parametrize(
    ("seen", "column", "said"),
    [
        (table(("created_at", TIME, True), ("updated_at", TIME, True)), ("updated_at",), ""),
        (table(("updated_at", TIME, False), ("modified_on", TIME, True)), ("modified_on",), ""),
        (table(("updated_at", TIME, False)), ("updated_at",), "nothing tells which side is newer"),
        (table(("updation_time", WHOLE, True), units={"updation_time": Unit.MICROSECONDS}), ("updation_time",), ""),
        (table(("updated_on", FieldType.DATE, True)), (), "DECIDE: no column tells"),
        (table(("file_updated_at", TIME, True)), (), "DECIDE: no column tells"),
    ],
)
def test_which_column_tells_the_newer_side(seen: SeenTable, column: tuple[str, ...], said: str) -> None:
    found = choose_modified(seen)

    assert found.columns == column
    assert said in " ".join(found.remarks)


def test_marks_of_deletion_are_times_and_flags() -> None:
    seen = table(("deleted_at", TIME, False), ("is_deleted", FieldType.BOOLEAN, True), ("deleted_by", WHOLE, False))

    assert [each.name for each in deletion_marks(seen)] == ["deleted_at", "is_deleted"]
