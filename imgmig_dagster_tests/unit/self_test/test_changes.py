"""What is done to an attribute of each type: harm that says something else, and what only looks so."""

from random import Random
from typing import Any

import pytest

from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule
from imgmig_dagster.self_test.corruptions import Corruption, changes_of
from imgmig_dagster.self_test.number_corruptions import meaning
from imgmig_dagster.self_test.value_corruptions import ABSENT, NULL, Attribute

GONE = {"attribute missing", "value became NULL"}
DOCUMENT = {
    "M": {
        "size": {"N": "12345678901234567890.5"},
        "tags": {"L": [{"S": "b"}, {"S": "a"}]},
        "on": {"BOOL": True},
        "none": NULL,
    }
}


def of(kind: FieldType, **values: Any) -> Field:
    return Field("c", "a", kind, Null.WRITTEN, **values)


LABEL = of(FieldType.LABEL, labels=(("0", "image"), ("1", "video")))
TOLERANT = of(FieldType.TIMESTAMP, rule=Rule.WITHIN_ONE_SECOND)


def offered(field: Field, attribute: Attribute) -> dict[Corruption, list[Attribute]]:
    """What each change that goes with the attribute makes of it, for some seeds."""
    found: dict[Corruption, list[Attribute]] = {}
    for change in changes_of(field):
        made = [change.apply(attribute, field, Random(seed)) for seed in range(20)]
        if all(each is not None for each in made):
            found[change] = [each for each in made if each is not None]
        else:
            assert made == [None] * 20, change.kind
    return found


CASES = [
    (of(FieldType.TEXT), {"S": "Name"}, GONE | {"wrong value", "type changed"}, set()),
    (of(FieldType.TEXT), {"S": ""}, {"attribute missing", "'' became NULL", "wrong value", "type changed"}, set()),
    (of(FieldType.INTEGER), {"N": "4096"}, GONE | {"wrong value", "type changed", "precision lost"}, {"number"}),
    (of(FieldType.INTEGER), {"N": "-7"}, GONE | {"wrong value", "type changed"}, {"number"}),
    (
        of(FieldType.INTEGER),
        {"N": "9007199254740993"},
        GONE | {"wrong value", "type changed", "precision lost", "wrong below a double's precision"},
        {"number"},
    ),
    (
        of(FieldType.NUMBER),
        {"N": "0.1000000000000000055511151231257827"},
        GONE | {"wrong value", "type changed", "precision lost", "wrong below a double's precision"},
        {"number"},
    ),
    (of(FieldType.NUMBER), {"N": "0"}, GONE | {"wrong value", "type changed"}, {"number"}),
    (of(FieldType.NUMBER), {"N": "1.5E+100"}, GONE | {"wrong value", "type changed"}, {"number"}),
    (of(FieldType.BOOLEAN), {"BOOL": False}, GONE | {"wrong value", "type changed"}, set()),
    (
        of(FieldType.TIMESTAMP),
        {"S": "2024-03-15T09:26:53.589Z"},
        GONE | {"wrong value", "type changed", "off by 1 second", "off by a time zone", "off by 1 ms"},
        {"instant"},
    ),
    (
        TOLERANT,
        {"S": "2024-03-15T09:26:53.589Z"},
        GONE | {"wrong value", "type changed", "off by 1 second", "off by a time zone"},
        {"instant", "999 ms"},
    ),
    (of(FieldType.EPOCH), {"N": "1700000000"}, GONE | {"off by one", "another unit", "type changed"}, {"number"}),
    (of(FieldType.DATE), {"S": "2024-02-29"}, GONE | {"off by 1 day", "type changed"}, set()),
    (of(FieldType.DATE), {"S": "infinity"}, GONE, set()),
    (
        of(FieldType.DOCUMENT),
        DOCUMENT,
        GONE | {"wrong value inside", "member missing", "list reordered", "type changed"},
        {"map", "number"},
    ),
    (of(FieldType.DOCUMENT), {"BOOL": True}, GONE | {"wrong value inside", "type changed"}, set()),
    (
        of(FieldType.LIST),
        {"L": [{"N": "1"}, {"N": "2"}]},
        GONE | {"wrong value inside", "member missing", "list reordered", "type changed"},
        {"number"},
    ),
    (
        of(FieldType.LIST),
        {"L": [{"S": "same"}, {"S": "same"}]},
        GONE | {"wrong value inside", "member missing", "type changed"},
        set(),
    ),
    (of(FieldType.LIST), {"L": []}, GONE | {"type changed"}, set()),
    (
        of(FieldType.TEXT_SET),
        {"SS": ["a", "b"]},
        GONE | {"element added", "element missing", "type changed"},
        {"set"},
    ),
    (of(FieldType.TEXT_SET), {"SS": ["a"]}, GONE | {"element added", "type changed"}, set()),
    (
        of(FieldType.NUMBER_SET),
        {"NS": ["1", "-2.5"]},
        GONE | {"element added", "element missing", "type changed"},
        {"set", "number"},
    ),
    (of(FieldType.BINARY), {"B": b"\0\1"}, GONE | {"wrong value", "another length", "type changed"}, set()),
    (of(FieldType.BINARY), {"B": b"\0"}, GONE | {"wrong value", "another length", "type changed"}, set()),
    (of(FieldType.BINARY), {"B": b""}, GONE | {"another length", "type changed"}, set()),
    (LABEL, {"S": "image"}, GONE | {"wrong value", "not translated", "type changed"}, set()),
]
HARMLESS = {
    "number": "same number spelled otherwise",
    "instant": "same instant spelled otherwise",
    "999 ms": "off by 999 ms or less",
    "map": "map reordered",
    "set": "set reordered",
}


@pytest.mark.parametrize(("field", "attribute", "harm", "harmless"), CASES)
def test_each_type_has_its_own_kinds_of_harm(
    field: Field, attribute: Attribute, harm: set[str], harmless: set[str]
) -> None:
    found = offered(field, attribute)

    assert {change.kind for change in found if change.harmful} == harm
    assert {change.kind for change in found if not change.harmful} == {HARMLESS[each] for each in harmless}


@pytest.mark.parametrize(("field", "attribute", "harm", "harmless"), CASES)
def test_harm_says_something_else_and_what_is_harmless_does_not(
    field: Field, attribute: Attribute, harm: set[str], harmless: set[str]
) -> None:
    del harm, harmless
    for change, made in offered(field, attribute).items():
        for changed in made:
            assert changed != attribute or change.kind in ("map reordered", "set reordered")
            if change.harmful or field.type is not FieldType.TIMESTAMP:
                assert (meaning(changed) != meaning(attribute)) is change.harmful, (change.kind, changed)


def test_every_type_is_among_the_cases() -> None:
    assert {field.type for field, *_rest in CASES} == set(FieldType)


@pytest.mark.parametrize("kind", [kind for kind in FieldType if kind is not FieldType.LABEL])
def test_null_can_become_a_value_of_the_type_and_can_be_left_out(kind: FieldType) -> None:
    kinds = {change.kind: change.harmful for change in offered(of(kind), NULL)}

    assert kinds["NULL became '' or 0"] is True
    assert kinds["NULL left out"] is False
    assert meaning(NULL) == meaning(ABSENT)


def test_what_is_left_out_by_declaration_can_be_null() -> None:
    left_out = Field("c", "a", FieldType.TEXT, Null.LEFT_OUT)

    assert "left out became NULL" in {change.kind for change in offered(left_out, ABSENT)}
    assert "left out became NULL" not in {change.kind for change in offered(of(FieldType.TEXT), ABSENT)}
