"""The rule for an item that is already there, as a table."""

from collections.abc import Mapping
from typing import Any

import pytest

from imgmig_dagster.mapping.fields import FieldType, Null
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import Constant, Newer
from imgmig_dagster.mapping.transform import transformer
from imgmig_dagster.rules.existing_item import Action, Decision, ExistingItemRule, is_as_migrated
from imgmig_dagster_tests.arrange import item_of, us
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.mapping.rows import row as row_with
from imgmig_dagster_tests.unit.mapping.types import KEY, field, mapping_of
from imgmig_dagster_tests.unit.mapping.types import row as row_of

# `updated_at` of the row, and its item's, to the millisecond.
ROW_AT, ITEM_AT = us("2024-05-06 07:08:09.123456"), "2024-05-06T07:08:09.123Z"


def expected_item() -> Item:
    expected = transformer(IMAGE)(ROW)
    assert isinstance(expected, dict)
    return expected


ROW = row_with(updated_at=ROW_AT)
ITEM = expected_item()
VALUES = {field.attribute: ITEM[field.attribute] for field in IMAGE.fields}
WRONG: Mapping[str, Any] = {"width": {"N": "1"}}


def version(number: int) -> Item:
    return {"version": {"N": str(number)}}


def without(*names: str) -> Item:
    return {name: value for name, value in ITEM.items() if name not in names}


@pytest.mark.parametrize(
    ("item", "decision"),
    [
        (None, Decision(Action.PUT)),
        (ITEM, Decision(Action.NONE)),
        ({**ITEM, **version(7), "tags": {"SS": ["a"]}}, Decision(Action.NONE)),
        (without("width"), Decision(Action.COMPLETE, {"width": ITEM["width"]})),
        (without("width", "version"), Decision(Action.COMPLETE, {"width": ITEM["width"], **version(1)})),
        # What is missing comes first, however new the item is.
        (
            {**without("width"), "updatedAt": {"S": "2030-01-01T00:00:00.000Z"}},
            Decision(Action.COMPLETE, {"width": ITEM["width"]}),
        ),
        ({**ITEM, **WRONG}, Decision(Action.UPDATE, {**VALUES, **version(2)})),
        ({**ITEM, **WRONG, **version(41)}, Decision(Action.UPDATE, {**VALUES, **version(42)})),
        ({**ITEM, **WRONG, "version": {"S": "x"}}, Decision(Action.UPDATE, {**VALUES, **version(1)})),
        ({**ITEM, **WRONG, "updatedAt": {"S": "no time"}}, Decision(Action.UPDATE, {**VALUES, **version(2)})),
        (
            {**ITEM, **WRONG, "updatedAt": {"S": "2024-05-06T07:08:10.123Z"}},
            Decision(Action.UPDATE, {**VALUES, **version(2)}),
        ),
        ({**ITEM, **WRONG, "updatedAt": {"S": "2024-05-06T07:08:10.124Z"}}, Decision(Action.LEAVE)),
    ],
)
def test_what_is_done(item: Item | None, decision: Decision) -> None:
    assert ExistingItemRule(IMAGE).decide(ROW, item, ITEM) == decision


def test_a_source_that_wins_replaces_what_is_newer() -> None:
    newer = {**ITEM, **WRONG, "updatedAt": {"S": "2030-01-01T00:00:00.000Z"}}

    assert ExistingItemRule(IMAGE, source_wins=True).decide(ROW, newer, ITEM).action is Action.UPDATE


def test_only_what_replaces_or_gives_up_waits() -> None:
    assert {action for action in Action if Decision(action).has_to_hold_still} == {Action.UPDATE, Action.LEAVE}


@pytest.mark.parametrize(
    ("item", "ours"),
    [
        (item_of(1), True),
        (item_of(1, version={"N": "2"}), False),
        (item_of(1, version=None), False),
        (item_of(1, tags={"SS": ["a"]}), False),
        (item_of(1, width=None), False),
    ],
)
def test_an_item_that_nobody_wrote_since(item: Item, ours: bool) -> None:
    assert is_as_migrated(IMAGE, item) is ours


def point(**members: str) -> Item:
    return {"m": {"M": {name: {"N": number} for name, number in members.items()}}}


POINT = mapping_of(
    field(FieldType.INTEGER, null=Null.LEFT_OUT),
    field(FieldType.INTEGER, column="x", attribute="m", member="x", null=Null.LEFT_OUT),
    field(FieldType.INTEGER, column="y", attribute="m", member="y", null=Null.LEFT_OUT),
    constants=(Constant("kind", {"S": "point"}),),
    newer=Newer.SOURCE,
)
KIND: Item = {"kind": {"S": "point"}}
A: Item = {"a": {"N": "5"}}
XY = point(x="1", y="2")


@pytest.mark.parametrize(
    ("values", "item", "decision"),
    [
        ((5, 1, 2), {**KIND, **A, **point(x="1", y="2")}, Decision(Action.NONE)),
        # A map without one of its members keeps everything else.
        ((5, 1, 2), {**KIND, **A, **point(x="9", z="3")}, Decision(Action.COMPLETE, point(x="9", y="2", z="3"))),
        ((5, 1, 2), {**KIND, **A}, Decision(Action.COMPLETE, point(x="1", y="2"))),
        ((5, 1, 2), {**A, **point(x="1", y="2")}, Decision(Action.COMPLETE, KIND)),
        (
            (5, 1, 2),
            {**KIND, **A, **point(x="9", y="9", z="3")},
            Decision(Action.UPDATE, {**KIND, **A, **point(x="1", y="2", z="3")}),
        ),
        (
            (5, 1, 2),
            {**A, **point(x="1", y="2"), "kind": {"S": "?"}},
            Decision(Action.UPDATE, {**KIND, **A, **point(x="1", y="2")}),
        ),
        # What is left out is taken away; of a map, what the mapping does not name stays.
        (
            (None, 1, 2),
            {**KIND, **A, **point(x="1", y="2")},
            Decision(Action.UPDATE, {**KIND, "a": None, **point(x="1", y="2")}),
        ),
        ((5, None, None), {**KIND, **A, **point(x="1")}, Decision(Action.UPDATE, {**KIND, **A, "m": None})),
        ((5, None, None), {**KIND, **A, **point(x="1", z="3")}, Decision(Action.UPDATE, {**KIND, **A, **point(z="3")})),
    ],
)
def test_what_is_done_with_maps_constants_and_what_is_left_out(
    values: tuple[int | None, ...], item: Item, decision: Decision
) -> None:
    source = row_of(*values)
    expected = transformer(POINT)(source)
    assert isinstance(expected, dict)

    assert ExistingItemRule(POINT).decide(source, {**KEY, **item}, expected) == decision


@pytest.mark.parametrize(
    ("item", "ours"),
    [
        ({**KIND, **A, **point(x="1")}, True),
        (KIND, True),
        (A, False),
        ({**KIND, "tags": {"SS": ["a"]}}, False),
    ],
)
def test_what_is_left_out_where_it_is_null_need_not_be_there(item: Item, ours: bool) -> None:
    assert is_as_migrated(POINT, {**KEY, **item}) is ours
