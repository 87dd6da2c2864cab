"""Every type of attribute at its edges: what is written, what is rejected, and what equals its row."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmig_dagster.mapping.compare import comparer
from imgmig_dagster.mapping.digests import item_digester, row_digester
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Unit
from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY
from imgmig_dagster_tests.arrange import us
from imgmig_dagster_tests.unit.mapping.types import field, item, mapping_of, row, transform

INTEGER, NUMBER, BOOLEAN = field(FieldType.INTEGER), field(FieldType.NUMBER), field(FieldType.BOOLEAN)
DATE, BINARY, DOCUMENT = field(FieldType.DATE), field(FieldType.BINARY), field(FieldType.DOCUMENT)
LIST, TEXTS, NUMBERS = field(FieldType.LIST), field(FieldType.TEXT_SET), field(FieldType.NUMBER_SET)
TEXT, TIMESTAMP = field(FieldType.TEXT), field(FieldType.TIMESTAMP)
LABEL = field(FieldType.LABEL, labels=(("0", "image"), ("1", "video"), ("2", "")))
SECONDS = field(FieldType.EPOCH)
MILLISECONDS = field(FieldType.EPOCH, unit=Unit.MILLISECONDS)
MICROSECONDS = field(FieldType.EPOCH, unit=Unit.MICROSECONDS)
LATER = field(FieldType.EPOCH, plus_us=30 * 86_400_000_000)
EARLIER = field(FieldType.EPOCH, plus_us=-86_400_000_000)
OF_NUMBER = field(FieldType.EPOCH, column_unit=Unit.MILLISECONDS)
NULL = {"NULL": True}


def nested(levels: int) -> tuple[str, dict[str, Any]]:
    """A number in so many arrays, as JSON and as an attribute."""
    attribute: dict[str, Any] = {"N": "1"}
    for _level in range(levels):
        attribute = {"L": [attribute]}
    return "[" * levels + "1" + "]" * levels, attribute


WRITTEN = [
    (TEXT, "", {"S": ""}),
    (TEXT, "a\u0301 🖼", {"S": "a\u0301 🖼"}),
    (INTEGER, 0, {"N": "0"}),
    (INTEGER, -(2**63), {"N": "-9223372036854775808"}),
    (INTEGER, 10**38 - 1, {"N": "9" * 38}),
    (NUMBER, "0", {"N": "0"}),
    (NUMBER, "-0", {"N": "0"}),
    (NUMBER, "-0.000", {"N": "0"}),
    (NUMBER, "0e-200", {"N": "0"}),
    (NUMBER, "1.50", {"N": "1.5"}),
    (NUMBER, "-1.50", {"N": "-1.5"}),
    (NUMBER, "100", {"N": "100"}),
    (NUMBER, "100.00", {"N": "100"}),
    (NUMBER, "0.1", {"N": "0.1"}),
    (NUMBER, "-0.05", {"N": "-0.05"}),
    (NUMBER, "1e-07", {"N": "0.0000001"}),
    (NUMBER, "1e+22", {"N": "10000000000000000000000"}),
    (NUMBER, "1.7976931348623157e+100", {"N": "1.7976931348623157E100"}),
    (NUMBER, "0.30000000000000004", {"N": "0.30000000000000004"}),
    (NUMBER, "9" * 38, {"N": "9" * 38}),
    (NUMBER, "0." + "9" * 38, {"N": "0." + "9" * 38}),
    (NUMBER, "9" * 38 + "0" * 88, {"N": f"9.{'9' * 37}E125"}),
    (NUMBER, "-" + "9" * 38 + "0" * 88, {"N": f"-9.{'9' * 37}E125"}),
    (NUMBER, "1e-130", {"N": "1E-130"}),
    (NUMBER, "0." + "0" * 129 + "1", {"N": "1E-130"}),
    (BOOLEAN, True, {"BOOL": True}),
    (BOOLEAN, False, {"BOOL": False}),
    (TIMESTAMP, us("2024-03-01 00:00:00.123456"), {"S": "2024-03-01T00:00:00.123Z"}),
    (SECONDS, us("2024-03-01 00:00:00.999999"), {"N": "1709251200"}),
    (SECONDS, -1, {"N": "-1"}),
    (MILLISECONDS, us("2024-03-01 00:00:00.999999"), {"N": "1709251200999"}),
    (MICROSECONDS, us("2024-03-01 00:00:00.999999"), {"N": "1709251200999999"}),
    (LATER, us("2024-03-01 00:00:00"), {"N": "1711843200"}),
    (EARLIER, 0, {"N": "-86400"}),
    # PostgreSQL's first and last timestamp: a number holds them.
    (SECONDS, -210_866_803_200_000_000, {"N": "-210866803200"}),
    # The number of a column is never infinite, and as large as it is.
    (OF_NUMBER, INFINITY, {"N": "9223372036854"}),
    (OF_NUMBER, (2**63 - 1) * 1_000, {"N": "9223372036854775"}),
    (DATE, "0001-01-01", {"S": "0001-01-01"}),
    (DATE, "9999-12-31", {"S": "9999-12-31"}),
    (BINARY, "", {"B": ""}),
    (BINARY, "00ff10", {"B": "AP8Q"}),
    (LABEL, "0", {"S": "image"}),
    (LABEL, "2", {"S": ""}),
    (DOCUMENT, "{}", {"M": {}}),
    (DOCUMENT, "[]", {"L": []}),
    (DOCUMENT, "null", NULL),
    (DOCUMENT, " null ", NULL),
    (DOCUMENT, '""', {"S": ""}),
    (DOCUMENT, "1.0e2", {"N": "100"}),
    (DOCUMENT, "true", {"BOOL": True}),
    (
        DOCUMENT,
        '{"b": [1, "x", null, true, {"c": {}}], "a": -0.0, "é\\n": "\\u00e9"}',
        {
            "M": {
                "b": {"L": [{"N": "1"}, {"S": "x"}, NULL, {"BOOL": True}, {"M": {"c": {"M": {}}}}]},
                "a": {"N": "0"},
                "é\n": {"S": "é"},
            }
        },
    ),
    (DOCUMENT, '"\\ud83d\\uddbc"', {"S": "🖼"}),
    (DOCUMENT, '"\\\\u0000"', {"S": "\\u0000"}),
    (DOCUMENT, json.dumps({"x" * 65_535: 1}), {"M": {"x" * 65_535: {"N": "1"}}}),
    (DOCUMENT, *nested(31)),
    (DOCUMENT, "1e0000125", {"N": "1E125"}),
    (DOCUMENT, "[0e999,-0E-999]", {"L": [{"N": "0"}, {"N": "0"}]}),
    (DOCUMENT, "1e-00000000000000000000130", {"N": "1E-130"}),
    (LIST, "[]", {"L": []}),
    (LIST, "[1,2.50,null]", {"L": [{"N": "1"}, {"N": "2.5"}, NULL]}),
    (LIST, '["NaN","x"]', {"L": [{"S": "NaN"}, {"S": "x"}]}),
    (LIST, "[[1],[2]]", {"L": [{"L": [{"N": "1"}]}, {"L": [{"N": "2"}]}]}),
    (TEXTS, '["b","a",""]', {"SS": ["b", "a", ""]}),
    (TEXTS, "[1,true]", {"SS": ["1", "true"]}),
    (TEXTS, "[]", NULL),
    (NUMBERS, "[1,2.50]", {"NS": ["1", "2.5"]}),
    (NUMBERS, "[]", NULL),
]
REJECTED = [
    (TEXT, b"\xff", "not_utf8"),
    (INTEGER, "1.5", "not_a_whole_number"),
    (INTEGER, 10**38, "not_a_whole_number"),
    (NUMBER, "NaN", "not_a_number"),
    (NUMBER, "Infinity", "not_a_number"),
    (NUMBER, "-Infinity", "not_a_number"),
    (NUMBER, "1" + "0" * 37 + "1", "number_too_precise"),
    (NUMBER, "1." + "0" * 37 + "1", "number_too_precise"),
    (NUMBER, "1e126", "number_out_of_range"),
    (NUMBER, "-1e+308", "number_out_of_range"),
    (NUMBER, "9.9e-131", "number_out_of_range"),
    (NUMBER, "5e-324", "number_out_of_range"),
    (NUMBER, "1" + "0" * 131_071, "number_out_of_range"),
    (BOOLEAN, "t", "not_a_boolean"),
    (TIMESTAMP, INFINITY, "timestamp_out_of_range"),
    (SECONDS, INFINITY, "timestamp_out_of_range"),
    (SECONDS, MINUS_INFINITY, "timestamp_out_of_range"),
    (OF_NUMBER, "1.5", "timestamp_out_of_range"),
    (OF_NUMBER, 10**44, "timestamp_out_of_range"),
    (DATE, "infinity", "date_out_of_range"),
    (DATE, "-infinity", "date_out_of_range"),
    (DATE, "0044-03-15 BC", "date_out_of_range"),
    (DATE, "10000-01-01", "date_out_of_range"),
    (BINARY, "no hex", "not_binary"),
    (LABEL, "3", "no_label"),
    (DOCUMENT, "", "not_json"),
    (DOCUMENT, "{'a': 1}", "not_json"),
    (DOCUMENT, "NaN", "not_json"),
    (DOCUMENT, b"\xff", "not_utf8"),
    (DOCUMENT, '{"a": 1, "a": 1}', "repeated_name"),
    (DOCUMENT, '[{"b": {"a": 1, "\\u0061": 2}}]', "repeated_name"),
    (DOCUMENT, '{"a": {"": 1}}', "empty_name"),
    (DOCUMENT, json.dumps({"x" * 65_536: 1}), "name_too_long"),
    (DOCUMENT, json.dumps({"é" * 32_768: 1}), "name_too_long"),
    (DOCUMENT, '{"a": "\\u0000"}', "not_in_text"),
    (DOCUMENT, '{"\\u0000": 1}', "not_in_text"),
    (DOCUMENT, '["\\ud800"]', "not_in_text"),
    (DOCUMENT, '["\\udc00\\ud800"]', "not_in_text"),
    (DOCUMENT, "[1e400]", "number_out_of_range"),
    (DOCUMENT, f"[{'1' * 39}]", "number_too_precise"),
    (DOCUMENT, "1e999999999999999999999", "number_out_of_range"),
    (DOCUMENT, "0e1000", "number_out_of_range"),
    (DOCUMENT, "[0e9999999]", "number_out_of_range"),
    (DOCUMENT, "0.0E-1000000", "number_out_of_range"),
    (DOCUMENT, nested(32)[0], "too_deep"),
    (DOCUMENT, nested(5_000)[0], "too_deep"),
    (DOCUMENT, nested(200_000)[0], "too_deep"),
    (LIST, nested(32)[0], "too_deep"),
    (LIST, '{"a": 1}', "not_an_array"),
    (LIST, '[1,"NaN"]', "not_a_number"),
    (LIST, '[[1],["-Infinity"]]', "not_a_number"),
    (LIST, '["NaN",null]', "not_a_number"),
    (TEXTS, '["a",null]', "null_in_set"),
    (TEXTS, '["a","a"]', "repeated_in_set"),
    (TEXTS, '[["a"]]', "nested_in_set"),
    (TEXTS, '["\\ud800"]', "not_in_text"),
    (TEXTS, '"a"', "not_an_array"),
    (TEXTS, "{a}", "not_json"),
    (TEXTS, nested(200_000)[0], "nested_in_set"),
    (NUMBERS, "[1,1.0]", "repeated_in_set"),
    (NUMBERS, "[null]", "null_in_set"),
    (NUMBERS, '["NaN"]', "not_a_number"),
    (NUMBERS, "[1e200]", "number_out_of_range"),
]


def named(case: Any) -> str:
    return str(case)[:40] if not isinstance(case, Field) else case.type.value


@pytest.mark.parametrize(("declared", "value", "attribute"), WRITTEN, ids=named)
def test_a_value_is_written_and_equals_its_row(declared: Field, value: Any, attribute: dict[str, Any]) -> None:
    mapping = mapping_of(declared)

    assert transform(mapping, row(value)) == item(attribute)
    assert comparer(mapping)(row(value), item(attribute)).equal
    assert item_digester(mapping)(item(attribute)) == row_digester(mapping)(row(value))


@pytest.mark.parametrize(("declared", "value", "code"), REJECTED, ids=named)
def test_a_value_that_no_item_holds_rejects_its_row(declared: Field, value: Any, code: str) -> None:
    assert transform(mapping_of(declared), row(value)) == ("a", code)


@pytest.mark.parametrize(("declared", "value", "attribute"), WRITTEN, ids=named)
def test_whether_a_value_of_any_type_is_there_is_a_difference(
    declared: Field, value: Any, attribute: dict[str, Any]
) -> None:
    mapping = mapping_of(declared)
    is_null = attribute == NULL

    for other in (None, NULL):
        assert comparer(mapping)(row(value), item(other)).equal is is_null
        assert comparer(mapping)(row(None), item(other)).equal
        assert (item_digester(mapping)(item(other)) == row_digester(mapping)(row(value))) is is_null
    assert comparer(mapping)(row(None), item(attribute)).equal is is_null
    assert comparer(mapping)(row(value), item(None)).absent == (() if is_null else ("a",))


@pytest.mark.parametrize("declared", [each for each, _value, attribute in WRITTEN if attribute != NULL], ids=named)
@pytest.mark.parametrize(
    "attribute",
    [{"S": "?"}, {"N": "0.123"}, {"BOOL": False}, {"M": {"z": {"B": ""}}}, {"L": [NULL]}, {"SS": ["z"]}, {"B": "!"}],
)
def test_what_is_of_no_rows_value_differs_and_has_another_digest(declared: Field, attribute: dict[str, Any]) -> None:
    mapping = mapping_of(declared)
    values = [value for each, value, _attribute in WRITTEN if each == declared]

    for value in values:
        if transform(mapping, row(value)) != item(attribute):
            assert [each.attribute for each in comparer(mapping)(row(value), item(attribute)).differences] == ["a"]
            assert item_digester(mapping)(item(attribute)) != row_digester(mapping)(row(value))


@pytest.mark.parametrize(
    ("declared", "null", "attribute"),
    [
        (declared, null, attribute)
        for declared in {each.type: each for each, _value, _attribute in WRITTEN}.values()
        for null, attribute in ((Null.WRITTEN, NULL), (Null.LEFT_OUT, None))
    ],
    ids=named,
)
def test_null_is_written_or_left_out(declared: Field, null: Null, attribute: dict[str, Any] | None) -> None:
    mapping = mapping_of(field(declared.type, null=null, labels=declared.labels))

    assert transform(mapping, row(None)) == item(attribute)


@pytest.mark.parametrize(
    ("kind", "value"),
    [(FieldType.TEXT, None), (FieldType.DOCUMENT, "null"), (FieldType.TEXT_SET, "[]"), (FieldType.NUMBER_SET, "[]")],
)
def test_what_counts_as_null_is_rejected_where_null_is(kind: FieldType, value: str | None) -> None:
    mapping = mapping_of(field(kind, null=Null.REJECTED))

    assert transform(mapping, row(value)) == ("a", "null_in_required_field")


EQUAL = [
    (INTEGER, 100, {"N": "1E2"}),
    (INTEGER, 100, {"N": "100.0"}),
    (NUMBER, "1.50", {"N": "1.500"}),
    (NUMBER, "1", {"N": "1E0"}),
    (NUMBER, "1", {"N": "0.1e1"}),
    (NUMBER, "0.0", {"N": "-0"}),
    (NUMBER, "1e-07", {"N": ".0000001"}),
    (SECONDS, 1_999_999, {"N": "1.0"}),
    (DOCUMENT, '{"a": 1, "b": 2.50}', {"M": {"b": {"N": "2.5"}, "a": {"N": "1E0"}}}),
    (DOCUMENT, '"\\u0041"', {"S": "A"}),
    (LIST, "[1.0]", {"L": [{"N": "1"}]}),
    (TEXTS, '["b","a"]', {"SS": ["a", "b"]}),
    (NUMBERS, "[10,2]", {"NS": ["2.0", "1E1"]}),
]
DIFFERENT = [
    (NUMBER, "1.5", {"N": "1.50000000000000000001"}),
    (NUMBER, "1", {"S": "1"}),
    (NUMBER, "NaN", {"N": "NaN"}),
    (BOOLEAN, True, {"N": "1"}),
    (BOOLEAN, True, {"BOOL": False}),
    (SECONDS, 1_999_999, {"N": "2"}),
    (SECONDS, 1_000_000, {"N": "1.5"}),
    (SECONDS, INFINITY, {"N": "9223372036854"}),
    (LATER, 0, {"N": "0"}),
    (DATE, "2024-01-02", {"S": "2024-1-2"}),
    (BINARY, "00", {"B": "AQ=="}),
    (BINARY, "00", {"B": "AA"}),
    (LABEL, "0", {"S": "video"}),
    (LABEL, "0", {"S": "0"}),
    (DOCUMENT, '{"a": null}', {"M": {}}),
    (DOCUMENT, "[1, 2]", {"L": [{"N": "2"}, {"N": "1"}]}),
    (DOCUMENT, "1", {"S": "1"}),
    (DOCUMENT, '"\\u0000"', {"S": "\0"}),
    (DOCUMENT, "{}", {"L": []}),
    (DOCUMENT, "no JSON", {"S": "no JSON"}),
    (TEXTS, '["a"]', {"SS": ["a", "b"]}),
    (TEXTS, '["a"]', {"L": [{"S": "a"}]}),
    (TEXTS, '["a",null]', {"SS": ["a"]}),
    (NUMBERS, "[1]", {"NS": ["one"]}),
]


@pytest.mark.parametrize(("declared", "value", "attribute"), EQUAL, ids=named)
def test_a_value_is_compared_by_what_it_means(declared: Field, value: Any, attribute: dict[str, Any]) -> None:
    mapping = mapping_of(declared)

    assert comparer(mapping)(row(value), item(attribute)).equal
    assert item_digester(mapping)(item(attribute)) == row_digester(mapping)(row(value))


@pytest.mark.parametrize(("declared", "value", "attribute"), DIFFERENT, ids=named)
def test_what_means_something_else_differs(declared: Field, value: Any, attribute: dict[str, Any]) -> None:
    mapping = mapping_of(declared)

    assert not comparer(mapping)(row(value), item(attribute)).equal
    assert item_digester(mapping)(item(attribute)) != row_digester(mapping)(row(value))


documents = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats(allow_nan=False, allow_infinity=False).filter(lambda number: not number or 1e-100 < abs(number) < 1e100)
    | st.text(st.characters(exclude_characters="\0", codec="utf-8")),
    lambda children: (
        st.lists(children, max_size=4)
        | st.dictionaries(
            st.text(st.characters(exclude_characters="\0", codec="utf-8"), min_size=1), children, max_size=4
        )
    ),
    max_leaves=12,
)


@given(documents, st.booleans())
def test_every_document_equals_its_own_attribute(document: Any, ascii_alone: bool) -> None:
    mapping, value = mapping_of(DOCUMENT), json.dumps(document, ensure_ascii=ascii_alone)
    found = transform(mapping, row(value))

    assert isinstance(found, dict)
    assert comparer(mapping)(row(value), found).equal
    assert item_digester(mapping)(found) == row_digester(mapping)(row(value))
