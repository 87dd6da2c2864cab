"""The comparison, pinned by hand-written items and by what the transformation gives."""

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from imgmig_dagster.mapping.compare import (
    FieldDifference,
    describe_fields,
    modified_reader,
    undeclared_attributes,
)
from imgmig_dagster.mapping.digests import item_digester, row_digester
from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.mapping.rows import INFINITY, Item, Row
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster_tests.arrange import us
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.mapping.rows import (
    FULL_ITEM,
    FULL_ROW,
    GOLDEN,
    compare,
    integers,
    item,
    mappable_rows,
    named,
    row,
    texts,
)

S, N, NULL = "S", "N", {"NULL": True}


def transformed(source: Row) -> Item:
    found = transformer(IMAGE)(source)
    assert not isinstance(found, Rejection)
    return found


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_item_equals_its_row_exactly(name: str) -> None:
    comparison = compare(*GOLDEN[name])

    assert comparison.equal
    assert (comparison.differences, comparison.absent, comparison.inexact) == ((), (), ())


@pytest.mark.parametrize(
    ("attribute", "value", "expected", "found"),
    [
        ("userId", {S: "somebody else"}, 'S:"0b6a2f6e-5a0c-4b7e-9a59-8f1d5a2f7c11"', 'S:"somebody else"'),
        ("originalFilename", {S: "Lowe im Gras.jpg"}, 'S:"Löwe im Gras.jpg"', 'S:"Lowe im Gras.jpg"'),
        ("originalFilename", {S: "Löwe im Gras.jpg "}, 'S:"Löwe im Gras.jpg"', 'S:"Löwe im Gras.jpg "'),
        ("originalFilename", {S: "löwe im gras.jpg"}, 'S:"Löwe im Gras.jpg"', 'S:"löwe im gras.jpg"'),
        ("originalFilename", {S: "Lo\u0308we im Gras.jpg"}, 'S:"Löwe im Gras.jpg"', 'S:"Lo\u0308we im Gras.jpg"'),
        ("sizeBytes", {N: "9007199254740992"}, "N:9007199254740993", "N:9007199254740992"),
        ("sizeBytes", {S: "9007199254740993"}, "N:9007199254740993", 'S:"9007199254740993"'),
        ("width", {S: "4032"}, "N:4032", 'S:"4032"'),
        ("width", NULL, "N:4032", "NULL"),
        ("width", None, "N:4032", "absent"),
        ("width", {N: "0"}, "N:4032", "N:0"),
        ("s3Key", {N: "1"}, 'S:"uploads/2024/löwe.jpg"', "N:1"),
        ("thumbnailS3Key", {S: ""}, 'S:"thumbs/löwe.webp"', 'S:""'),
        ("mimeType", {"BOOL": True}, 'S:"image/jpeg"', "BOOL:True"),
        ("createdAt", {S: "2024-02-29T12:34:58.123Z"}, "2024-02-29T12:34:56.123456Z", 'S:"2024-02-29T12:34:58.123Z"'),
        ("createdAt", {N: "1709210096"}, "2024-02-29T12:34:56.123456Z", "N:1709210096"),
    ],
)
def test_a_wrong_value_is_named_with_both_sides_and_their_types(
    attribute: str, value: dict[str, Any] | None, expected: str, found: str
) -> None:
    columns = {field.attribute: field.column for field in IMAGE.fields}

    assert compare(FULL_ROW, item(**{attribute: value})).differences == (
        FieldDifference(columns[attribute], attribute, expected, found),
    )


def test_several_differences_are_all_named() -> None:
    wrong = item(userId={S: "x"}, width=None, height={N: "1"}, updatedAt={S: "soon"})

    assert named(FULL_ROW, wrong) == ["userId", "updatedAt", "width", "height"]


@pytest.mark.parametrize("column", ["thumbnail_s3_key", "width", "height"])
@pytest.mark.parametrize("value", [NULL, None], ids=["NULL", "absent"])
def test_null_equals_a_null_and_an_absent_attribute(column: str, value: dict[str, Any] | None) -> None:
    attribute = {"thumbnail_s3_key": "thumbnailS3Key"}.get(column, column)

    assert compare(row(**{column: None}), item(**{attribute: value})).equal


@pytest.mark.parametrize(
    ("column", "attribute", "value"),
    [
        ("thumbnail_s3_key", "thumbnailS3Key", {S: ""}),
        ("thumbnail_s3_key", "thumbnailS3Key", {S: "NULL"}),
        ("width", "width", {N: "0"}),
        ("height", "height", {S: ""}),
    ],
)
def test_null_never_equals_an_empty_or_zero_value(column: str, attribute: str, value: dict[str, Any]) -> None:
    assert named(row(**{column: None}), item(**{attribute: value})) == [attribute]


def test_an_empty_string_never_equals_null_or_an_absent_attribute() -> None:
    assert named(row(original_filename=""), item(originalFilename=NULL)) == ["originalFilename"]
    assert named(row(original_filename=""), item(originalFilename=None)) == ["originalFilename"]


def test_absent_names_only_attributes_whose_row_value_is_not_null() -> None:
    partial = {name: FULL_ITEM[name] for name in ("PK", "SK", "userId", "updatedAt")}

    absent = compare(row(width=None, height=None, thumbnail_s3_key=None), partial).absent

    assert absent == ("createdAt", "originalFilename", "s3Key", "s3Bucket", "mimeType", "sizeBytes")


def test_a_null_attribute_is_a_difference_but_not_absent() -> None:
    comparison = compare(FULL_ROW, item(userId=NULL))

    assert [difference.attribute for difference in comparison.differences] == ["userId"]
    assert comparison.absent == ()


@pytest.mark.parametrize(
    "spelling", ["100", "1E2", "1e2", "1E+2", "100.0", "100.00", "+100", "0100", "1000E-1", "100.", "+.1E+3"]
)
def test_other_spellings_of_the_same_number_are_equal(spelling: str) -> None:
    assert compare(row(size_bytes=100), item(sizeBytes={N: spelling})).equal


@pytest.mark.parametrize(
    "spelling",
    [
        "100.5",
        "99.9999999999999999999",
        "NaN",
        "Infinity",
        "",
        "1E999999999",
        "1E99999999999999999999",
        "1E-9999",
        "abc",
        "1_00",
        " 100",
        "100\n",
        "١٠٠",  # Arabic digits
        "１００",  # full-width ones
        "100E",
        ".",
        "0x64",
        "100E２",
    ],
)
def test_what_is_no_integer_is_a_difference(spelling: str) -> None:
    assert named(row(size_bytes=100), item(sizeBytes={N: spelling})) == ["sizeBytes"]


def test_the_numbers_of_38_digits_that_dynamodb_holds_are_read_and_longer_ones_are_not() -> None:
    largest = 10**38 - 1

    assert compare(row(size_bytes=largest), item(sizeBytes={N: str(largest)})).equal
    assert compare(row(size_bytes=-largest), item(sizeBytes={N: str(-largest)})).equal
    assert compare(row(size_bytes=10**37), item(sizeBytes={N: "1E37"})).equal
    for longer in (10**38, -(10**38)):
        assert named(row(size_bytes=longer), item(sizeBytes={N: str(longer)})) == ["sizeBytes"]


def test_numbers_beyond_floating_point_are_told_apart() -> None:
    assert named(row(size_bytes=2**63 - 1), item(sizeBytes={N: str(2**63)})) == ["sizeBytes"]
    assert named(row(size_bytes=2**53 + 1), item(sizeBytes={N: "9007199254740993.5"})) == ["sizeBytes"]


@pytest.mark.parametrize(
    "value", [{"NULL": False}, {"SS": ["a"]}, {"L": []}, {"M": {}}, {"B": "YQ=="}, {"BOOL": False}]
)
@pytest.mark.parametrize("attribute", ["originalFilename", "width", "createdAt"])
def test_an_attribute_of_another_type_is_undecodable_and_differs(attribute: str, value: dict[str, Any]) -> None:
    nulls = row(width=None)

    assert attribute in named(nulls, item(**{attribute: value}))


def test_undeclared_attributes_and_the_version_are_not_compared_but_can_be_named() -> None:
    extended = item(version={N: "7"}, tags={"SS": ["x"]}, ttl={N: "1"})

    assert compare(FULL_ROW, extended).equal
    assert undeclared_attributes(IMAGE, extended) == {"tags", "ttl"}


@pytest.mark.parametrize("look", [compare, lambda source, found: describe_fields(IMAGE, source, found)])
def test_a_row_of_another_width_is_an_error_and_never_cut(look: Callable[[Row, Item], object]) -> None:
    with pytest.raises(ValueError, match="values"):
        look(Row(FULL_ROW[:-1]), FULL_ITEM)


@pytest.mark.parametrize(
    ("moment", "shown"),
    [
        ("2024-03-01 23:00:00.000001", "2024-03-01T23:00:00.000001Z"),
        ("2024-03-01 00:59:59", "2024-03-01T00:59:59.000000Z"),
        ("1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999999Z"),
    ],
)
def test_a_rows_timestamp_is_shown_to_the_microsecond(moment: str, shown: str) -> None:
    assert describe_fields(IMAGE, row(created_at=us(moment)), FULL_ITEM)[1][1] == shown


def test_fields_are_described_side_by_side_for_a_person() -> None:
    described = describe_fields(IMAGE, row(width=None, updated_at=INFINITY), item(height=None))

    user = str(FULL_ROW[1])
    assert described[0] == ("userId", f'S:"{user}"', f'S:"{user}"')
    assert described[2][1].startswith("timestamp out of range")
    assert described[9] == ("width", "NULL", "N:4032")
    assert described[10] == ("height", "N:3024", "absent")


@pytest.mark.parametrize(
    ("attribute", "expected"),
    [
        ({S: "2024-03-01T00:00:00.123Z"}, us("2024-03-01 00:00:00.123")),
        ({S: "soon"}, None),
        ({N: "1"}, None),
        (NULL, None),
    ],
)
def test_an_items_timestamp_is_read_or_none(attribute: dict[str, Any], expected: int | None) -> None:
    assert modified_reader(IMAGE)({"updatedAt": attribute}) == expected
    assert modified_reader(IMAGE)({}) is None


@given(mappable_rows)
def test_every_mappable_row_equals_its_own_item_exactly(source: Row) -> None:
    comparison = compare(source, transformed(source))

    assert comparison.equal
    assert comparison.inexact == ()


@given(mappable_rows, st.sampled_from(IMAGE.fields), texts, integers)
def test_changing_any_one_field_is_named_and_changes_the_digest(
    source: Row, field: Field, text: str, number: int
) -> None:
    own = transformed(source)
    changed: dict[str, Any]
    if field.type is FieldType.TEXT:
        changed = {S: text}
    elif field.type is FieldType.INTEGER:
        changed = {N: str(number)}
    else:
        changed = {S: f"{1 + number % 9999:04}-06-15T00:00:00.000Z"}
        found = modified_reader(IMAGE)({"updatedAt": changed})
        expected = source[IMAGE.columns.index(field.column)]
        assert isinstance(found, int)
        assert isinstance(expected, int)
        assume(abs(found - expected) >= 1_000_000)
    assume(changed != own[field.attribute])

    altered = {**own, field.attribute: changed}

    assert named(source, altered) == [field.attribute]
    assert item_digester(IMAGE)(altered) != row_digester(IMAGE)(source)


@given(mappable_rows, st.sampled_from(IMAGE.fields))
def test_dropping_any_one_field_is_named_unless_it_is_null(source: Row, field: Field) -> None:
    altered = {name: value for name, value in transformed(source).items() if name != field.attribute}
    is_null = source[IMAGE.columns.index(field.column)] is None

    assert named(source, altered) == ([] if is_null else [field.attribute])
    assert (item_digester(IMAGE)(altered) == row_digester(IMAGE)(source)) is is_null
