"""A mapping in words: every kind of attribute has a line that says what it is made of."""

from dataclasses import replace

import pytest

from imgmig_dagster.mapping.described import Line, documented, markdown_table
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule, Unit
from imgmig_dagster.mapping.spec import Constant, KeyAttribute, TableMapping
from imgmig_dagster.mapping.template import Template
from imgmig_dagster_tests.images import IMAGE


def told(mapping: TableMapping) -> Line:
    (found,) = documented(mapping)
    return found


BARE = replace(IMAGE, primary_key=(), fields=(), version=None)


@pytest.mark.parametrize(
    ("field", "expected"),
    [
        (Field("a", "b", FieldType.NUMBER), Line("`a`", "`b`", "number", "rejected", "exact")),
        (
            Field("a", "b", FieldType.TIMESTAMP, Null.LEFT_OUT, Rule.WITHIN_ONE_SECOND, column_unit=Unit.MILLISECONDS),
            Line("`a`", "`b`", "timestamp, of a number in ms", "left out; equals NULL", "less than 1 second apart"),
        ),
        (
            Field("a", "b", FieldType.EPOCH, plus_us=30 * 86_400_000_000),
            Line("`a`", "`b`", "epoch in s, 30 days, 0:00:00 later", "rejected", "exact"),
        ),
        (
            Field("a", "b", FieldType.EPOCH, unit=Unit.MICROSECONDS, plus_us=-3_600_000_000),
            Line("`a`", "`b`", "epoch in us, 1:00:00 earlier", "rejected", "exact"),
        ),
        (
            Field("a", "b", FieldType.LABEL, labels=(("0", "image"), ("1", "video"))),
            Line("`a`", "`b`", "label: `image` for 0, `video` for 1", "rejected", "exact"),
        ),
        (
            Field("{c}/{d}", "b", FieldType.TEXT, template=Template("{c}/{d}")),
            Line("`c`, `d`", "`b` = `<c>/<d>`", "text", "rejected", "exact"),
        ),
        (
            Field("a", "b", FieldType.TEXT, member="m", sensitive=True),
            Line("`a`", "`b.m`", "text, never shown", "rejected", "exact"),
        ),
    ],
)
def test_a_field(field: Field, expected: Line) -> None:
    assert told(replace(BARE, fields=(field,))) == expected


def test_a_key_that_is_a_number() -> None:
    key = KeyAttribute("id", Template("{id}"), "N")

    assert told(replace(BARE, primary_key=(key,))) == Line("`id`", "`id` = `<id>`", "number", "never", "exact")


def test_a_constant() -> None:
    found = told(replace(BARE, constants=(Constant("kind", {"BOOL": True}),)))

    assert found == Line("", "`kind` = `true`", "constant", "never", "exact")


def test_a_bar_in_a_name_ends_no_cell() -> None:
    table = markdown_table(replace(BARE, fields=(Field("a|b", "c", FieldType.TEXT),)))

    assert table.splitlines()[-1] == r"| `a\|b` | `c` | text | rejected | exact |"
