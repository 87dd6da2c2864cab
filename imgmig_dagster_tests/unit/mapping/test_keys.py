"""Keys of one attribute or two, of one column or several, of texts or numbers: made, taken apart, and refused."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.spec import KeyAttribute, TableMapping
from imgmig_dagster.mapping.template import Template, joined
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster_tests.unit.mapping.types import mapping_of


def keyed(*templates: str, kind: str = "S") -> TableMapping:
    names = ("PK", "SK")[: len(templates)]
    return mapping_of(key=tuple(KeyAttribute(n, Template(t), kind) for n, t in zip(names, templates, strict=True)))


ONE = keyed("{id}")
NUMBER = keyed("{id}", kind="N")
AROUND = keyed("A#{id}#Z", "METADATA")
BOTH = keyed("A#{id}", "B#{id}")
SEVERAL = keyed("{a}#{b}", "C#{c}")


def transform(mapping: TableMapping, row_id: Any) -> Item | tuple[str | None, str]:
    found = transformer(mapping)(Row((row_id, 0)))
    return (found.field, found.code) if isinstance(found, Rejection) else found


@pytest.mark.parametrize(
    ("mapping", "row_id", "key"),
    [
        (ONE, "x", {"PK": {"S": "x"}}),
        (NUMBER, "-12", {"PK": {"N": "-12"}}),
        (NUMBER, "9" * 38, {"PK": {"N": "9" * 38}}),
        (AROUND, "#", {"PK": {"S": "A###Z"}, "SK": {"S": "METADATA"}}),
        (BOTH, "1", {"PK": {"S": "A#1"}, "SK": {"S": "B#1"}}),
        (SEVERAL, "1|2|3", {"PK": {"S": "1#2"}, "SK": {"S": "C#3"}}),
        (SEVERAL, "1|2#|#", {"PK": {"S": "1#2#"}, "SK": {"S": "C##"}}),
        (SEVERAL, "|2|", {"PK": {"S": "#2"}, "SK": {"S": "C#"}}),
        (SEVERAL, joined(["|", "\\", "\n"]), {"PK": {"S": "|#\\"}, "SK": {"S": "C#\n"}}),
    ],
)
def test_an_id_makes_a_key_and_the_key_the_id(mapping: TableMapping, row_id: str, key: Item) -> None:
    assert transform(mapping, row_id) == key
    assert mapping.row_id(key) == row_id
    assert mapping.key_fault(row_id) is None


@pytest.mark.parametrize(
    ("mapping", "row_id", "rejection"),
    [
        (ONE, None, ("id", "null_in_required_field")),
        (ONE, "", ("id", "key_empty")),
        (ONE, b"\xff", ("id", "not_utf8")),
        (ONE, "x" * 2_049, ("id", "key_too_long")),
        (NUMBER, "1.5", ("id", "key_not_a_number")),
        (NUMBER, "007", ("id", "key_not_a_number")),
        (NUMBER, "9" * 39, ("id", "key_not_a_number")),
        (BOTH, "x" * 1_023, ("id", "key_too_long")),
        (SEVERAL, "1#|2|3", ("a, b, c", "key_ambiguous")),
        (SEVERAL, "1|2|" + "x" * 1_023, ("a, b, c", "key_too_long")),
        (SEVERAL, "1|\\N|3", ("a, b, c", "null_in_required_field")),
        (keyed("{a}", "{b}"), "|x", ("a, b", "key_empty")),
    ],
)
def test_a_row_without_a_key_of_its_own_is_rejected(
    mapping: TableMapping, row_id: Any, rejection: tuple[str, str]
) -> None:
    assert transform(mapping, row_id) == rejection


@pytest.mark.parametrize(
    ("mapping", "row_id"),
    [(ONE, "é" * 1_024), (AROUND, "x" * 2_044), (BOTH, "x" * 1_022), (SEVERAL, "1|2|" + "x" * 1_022)],
)
def test_a_key_as_long_as_dynamodb_takes_is_made(mapping: TableMapping, row_id: str) -> None:
    assert isinstance(transform(mapping, row_id), dict)


@pytest.mark.parametrize(
    ("mapping", "item"),
    [
        (ONE, {"PK": {"N": "1"}}),
        (ONE, {"SK": {"S": "1"}}),
        (NUMBER, {"PK": {"S": "1"}}),
        (AROUND, {"PK": {"S": "A#Z"}, "SK": {"S": "METADATA"}}),
        (AROUND, {"PK": {"S": "A#1"}, "SK": {"S": "METADATA"}}),
        (AROUND, {"PK": {"S": "A#1#Z"}, "SK": {"S": "OTHER"}}),
        (BOTH, {"PK": {"S": "A#1"}, "SK": {"S": "B#2"}}),
        (SEVERAL, {"PK": {"S": "12"}, "SK": {"S": "C#3"}}),
        (SEVERAL, {"PK": {"S": "1#2"}, "SK": {"S": "D#3"}}),
    ],
)
def test_the_key_of_another_entity_has_no_id(mapping: TableMapping, item: Item) -> None:
    assert mapping.row_id(item) is None


texts = st.text("#|\\AC1", max_size=4)


@given(texts, texts, texts)
def test_no_two_rows_make_one_key(first: str, second: str, third: str) -> None:
    row_id = joined([first, second, third])
    found = transform(SEVERAL, row_id)

    if isinstance(found, dict):
        assert SEVERAL.row_id(found) == row_id
    else:
        assert "#" in first
        assert found == ("a, b, c", "key_ambiguous")
