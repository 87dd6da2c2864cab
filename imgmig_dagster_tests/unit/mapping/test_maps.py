"""Attributes that are maps, constants, and what is never shown."""

from typing import Any

import pytest

from imgmig_dagster.mapping.compare import FieldDifference, comparer, describe_fields, modified_reader
from imgmig_dagster.mapping.digests import item_digester, row_digester
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Unit
from imgmig_dagster.mapping.spec import Constant
from imgmig_dagster_tests.unit.mapping.types import KEY, field, mapping_of, row, transform

NULL = {"NULL": True}


def member(name: str, null: Null = Null.WRITTEN, **changes: Any) -> Field:
    return field(FieldType.INTEGER, column=f"c_{name}", attribute="m", member=name, null=null, **changes)


POINT = mapping_of(member("x"), member("y"))
SPARSE = mapping_of(member("x", Null.LEFT_OUT), member("y", Null.LEFT_OUT))
STRICT = mapping_of(member("x"), member("y", Null.REJECTED))
LABELLED = mapping_of(field(FieldType.TEXT), constants=(Constant("kind", {"S": "photo"}), Constant("n", {"N": "1.0"})))


def of(members: dict[str, Any] | None) -> dict[str, Any]:
    return KEY if members is None else {**KEY, "m": {"M": members} if members else NULL}


@pytest.mark.parametrize(
    ("mapping", "values", "members"),
    [
        (POINT, (1, 2), {"x": {"N": "1"}, "y": {"N": "2"}}),
        (POINT, (None, 2), {"x": NULL, "y": {"N": "2"}}),
        (POINT, (None, None), {}),
        (SPARSE, (None, 2), {"y": {"N": "2"}}),
        (SPARSE, (None, None), None),
        (STRICT, (None, 2), {"x": NULL, "y": {"N": "2"}}),
    ],
)
def test_columns_become_members_of_a_map(mapping: Any, values: tuple[Any, ...], members: dict[str, Any] | None) -> None:
    assert transform(mapping, row(*values)) == of(members)
    assert comparer(mapping)(row(*values), of(members)).equal
    assert item_digester(mapping)(of(members)) == row_digester(mapping)(row(*values))


def test_a_member_at_fault_is_named_by_its_column() -> None:
    assert transform(POINT, row(1, "1.5")) == ("c_y", "not_a_whole_number")
    assert transform(STRICT, row(1, None)) == ("c_y", "null_in_required_field")


def test_a_document_in_a_map_is_a_level_deeper() -> None:
    mapping = mapping_of(field(FieldType.DOCUMENT, attribute="m", member="d"))

    assert isinstance(transform(mapping, row("[" * 30 + "]" * 30)), dict)
    assert transform(mapping, row("[" * 31 + "1" + "]" * 31)) == ("a", "too_deep")


@pytest.mark.parametrize(
    ("members", "differing", "absent"),
    [
        ({"x": {"N": "1"}, "y": {"N": "3"}}, ["m.y"], ()),
        ({"x": {"N": "1"}}, ["m.y"], ("m",)),
        ({"x": {"N": "1"}, "y": NULL}, ["m.y"], ()),
        ({"z": {"N": "1"}}, ["m.x", "m.y"], ("m",)),
        ({}, ["m.x", "m.y"], ()),
        (None, ["m.x", "m.y"], ("m",)),
    ],
)
def test_members_are_compared_one_by_one(
    members: dict[str, Any] | None, differing: list[str], absent: tuple[str, ...]
) -> None:
    comparison = comparer(POINT)(row(1, 2), of(members))

    assert [each.attribute for each in comparison.differences] == differing
    assert comparison.absent == absent
    assert item_digester(POINT)(of(members)) != row_digester(POINT)(row(1, 2))


def test_what_is_no_map_differs_in_each_member() -> None:
    comparison = comparer(POINT)(row(1, None), {**KEY, "m": {"S": "1,2"}})

    assert comparison.differences == (
        FieldDifference("c_x", "m.x", "N:1", 'S:"1,2"'),
        FieldDifference("c_y", "m.y", "NULL", 'S:"1,2"'),
    )
    assert comparison.absent == ()


def test_members_that_the_mapping_does_not_name_do_not_count() -> None:
    assert comparer(POINT)(row(1, 2), of({"x": {"N": "1"}, "y": {"N": "2"}, "z": {"S": "?"}})).equal


def test_the_members_of_a_map_are_together() -> None:
    with pytest.raises(ValueError, match="have to be together"):
        transform(mapping_of(member("x"), field(FieldType.TEXT), member("y")), row(1, "", 2))


def test_constants_are_written_and_compared() -> None:
    item = transform(LABELLED, row("x"))

    assert item == {**KEY, "a": {"S": "x"}, "kind": {"S": "photo"}, "n": {"N": "1.0"}}
    assert isinstance(item, dict)
    assert comparer(LABELLED)(row("x"), {**item, "n": {"N": "1"}}).equal
    comparison = comparer(LABELLED)(row("x"), {**KEY, "a": {"S": "x"}, "kind": {"S": "video"}})
    assert comparison.differences == (
        FieldDifference("", "kind", 'S:"photo"', 'S:"video"'),
        FieldDifference("", "n", "N:1.0", "absent"),
    )
    assert comparison.absent == ("n",)
    assert describe_fields(LABELLED, row("x"), item)[1:] == [
        ("kind", 'S:"photo"', 'S:"photo"'),
        ("n", "N:1.0", "N:1.0"),
    ]


@pytest.mark.parametrize(
    ("kind", "value", "attribute"),
    [
        (FieldType.TEXT, "secret", {"S": "other secret"}),
        (FieldType.TEXT, b"secret", {"S": "other secret"}),
        (FieldType.NUMBER, "5.5", {"S": "secret"}),
        (FieldType.DOCUMENT, '{"secret": 1}', {"M": {"secret": {"N": "2"}}}),
        (FieldType.TEXT_SET, '["secret"]', {"SS": ["secret 2"]}),
        (FieldType.BINARY, "00", {"B": "AQ=="}),
    ],
)
def test_of_a_sensitive_field_no_value_is_shown(kind: FieldType, value: Any, attribute: dict[str, Any]) -> None:
    mapping = mapping_of(field(kind, sensitive=True))
    item = {**KEY, "a": attribute}

    assert comparer(mapping)(row(value), item).differences == (FieldDifference("a", "a", "***", "***"),)
    assert describe_fields(mapping, row(value), item) == [("a", "***", "***")]
    assert describe_fields(mapping, row(None), KEY) == [("a", "NULL", "absent")]


SHOWN = [
    (field(FieldType.BOOLEAN), True, {"BOOL": True}, "BOOL:True", "BOOL:True"),
    (field(FieldType.NUMBER), "1.50", {"N": "1.5"}, "N:1.50", "N:1.5"),
    (field(FieldType.EPOCH, plus_us=5_000_000), 1_000_000, {"N": "6"}, "N:6", "N:6"),
    (field(FieldType.EPOCH), 2**63 - 1, None, "N:infinity", "absent"),
    (field(FieldType.TIMESTAMP), "1.5", None, "no timestamp:1.5", "absent"),
    (field(FieldType.DATE), "2024-01-31", {"S": "2024-01-31"}, 'S:"2024-01-31"', 'S:"2024-01-31"'),
    (field(FieldType.BINARY), "00ff", {"B": "AP8="}, "B:AP8=", "B:AP8="),
    (field(FieldType.LABEL, labels=(("0", "image"),)), "0", {"S": "image"}, 'S:"image"', 'S:"image"'),
    (field(FieldType.LABEL, labels=(("0", "image"),)), "1", {"S": "x"}, 'no label:"1"', 'S:"x"'),
    (
        field(FieldType.DOCUMENT),
        '{"bb":1.0, "a":[]}',
        {"M": {"a": {"L": []}}},
        'JSON:{"a": [], "bb": 1}',
        'JSON:{"a": []}',
    ),
    (field(FieldType.DOCUMENT), "null", {"B": "AA=="}, "JSON:null", "B:AA=="),
    (field(FieldType.DOCUMENT), "no", {"S": "no"}, "no JSON:no", 'JSON:"no"'),
    (field(FieldType.NUMBER_SET), "[10,2]", {"NS": ["2", "10"]}, 'NS:["10", "2"]', 'NS:["10", "2"]'),
    (field(FieldType.TEXT_SET), "[]", {"L": []}, "SS:[]", "L:[]"),
]


@pytest.mark.parametrize(("declared", "value", "attribute", "expected", "found"), SHOWN)
def test_both_sides_are_shown_so_that_they_can_be_compared(
    declared: Field, value: Any, attribute: dict[str, Any] | None, expected: str, found: str
) -> None:
    item = KEY if attribute is None else {**KEY, "a": attribute}

    assert describe_fields(mapping_of(declared), row(value), item) == [("a", expected, found)]


@pytest.mark.parametrize(
    ("declared", "attribute", "expected"),
    [
        (field(FieldType.TIMESTAMP), {"S": "1970-01-01T00:00:01.500Z"}, 1_500_000),
        (field(FieldType.EPOCH), {"N": "7"}, 7_000_000),
        (field(FieldType.EPOCH, unit=Unit.MILLISECONDS, plus_us=1_000), {"N": "8"}, 7_000),
        (field(FieldType.EPOCH), {"S": "soon"}, None),
    ],
)
def test_when_an_item_was_modified_is_read_of_any_type(
    declared: Field, attribute: dict[str, Any], expected: int | None
) -> None:
    mapping = mapping_of(declared, modified="a")

    assert modified_reader(mapping)({**KEY, "a": attribute}) == expected
    assert modified_reader(mapping_of(declared))({**KEY, "a": attribute}) is None
