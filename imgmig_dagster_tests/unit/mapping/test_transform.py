"""What a row becomes, pinned by golden items and by Python's own datetime."""

from datetime import datetime, timedelta, timezone

import pytest
from hypothesis import given

from imgmig_dagster.mapping.encoders import encoder
from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY, Item, Row
from imgmig_dagster.mapping.sizes import item_bytes, write_units
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster_tests.arrange import us
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.mapping.rows import GOLDEN, YEAR_1, YEAR_10000, row, timestamps


def transform(source: Row) -> Item | Rejection:
    # Compiled within the test: mutants exist only while a test runs.
    return transformer(IMAGE)(source)


def transformed(source: Row) -> Item:
    item = transform(source)
    assert not isinstance(item, Rejection), item
    return item


def rejected(source: Row) -> Rejection:
    rejection = transform(source)
    assert isinstance(rejection, Rejection)
    return rejection


def iso_milliseconds(timestamp_us: int) -> str:
    attribute = encoder(IMAGE.fields[1])(timestamp_us)
    assert attribute is not None
    return str(attribute["S"])


@pytest.mark.parametrize("name", GOLDEN)
def test_a_row_becomes_the_item_that_the_application_writes(name: str) -> None:
    source, item = GOLDEN[name]

    assert transformed(source) == item


def test_attributes_are_written_in_the_declared_order_for_stable_logs() -> None:
    assert list(transformed(GOLDEN["full"][0])) == list(GOLDEN["full"][1])


@pytest.mark.parametrize(
    ("moment", "written"),
    [
        ("2024-03-01 00:00:00.123456", "2024-03-01T00:00:00.123Z"),
        ("2024-03-01 00:00:00.0009", "2024-03-01T00:00:00.000Z"),
        ("2024-03-01 00:00:00.001", "2024-03-01T00:00:00.001Z"),
        ("2024-12-31 23:59:59.999999", "2024-12-31T23:59:59.999Z"),
        ("2024-03-01 00:00:00.999500", "2024-03-01T00:00:00.999Z"),
        ("2024-03-01 00:00:00", "2024-03-01T00:00:00.000Z"),
        ("2024-02-29 23:59:59.5", "2024-02-29T23:59:59.500Z"),
        ("2000-02-29 00:00:00", "2000-02-29T00:00:00.000Z"),
        ("1900-03-01 00:00:00", "1900-03-01T00:00:00.000Z"),
        ("1969-12-31 23:59:59.999999", "1969-12-31T23:59:59.999Z"),
        ("1969-12-31 23:59:59.000001", "1969-12-31T23:59:59.000Z"),
        ("1582-10-14 12:00:00", "1582-10-14T12:00:00.000Z"),
        ("9999-12-31 23:59:59.999999", "9999-12-31T23:59:59.999Z"),
    ],
)
def test_timestamps_are_cut_to_milliseconds_and_never_rounded(moment: str, written: str) -> None:
    assert iso_milliseconds(us(moment)) == written


def test_the_first_instant_of_year_1_has_four_digits_of_year() -> None:
    assert iso_milliseconds(YEAR_1) == "0001-01-01T00:00:00.000Z"


@given(timestamps)
def test_every_timestamp_is_written_as_python_truncates_it(timestamp_us: int) -> None:
    moment = datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(microseconds=timestamp_us)

    assert iso_milliseconds(timestamp_us) == moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@pytest.mark.parametrize(
    "timestamp_us",
    [
        pytest.param(INFINITY, id="infinity"),
        pytest.param(MINUS_INFINITY, id="-infinity"),
        pytest.param(YEAR_1 - 1, id="a microsecond BC"),
        pytest.param(YEAR_10000, id="year 10000"),
        pytest.param(317_367_936_000_000_000, id="year 12026"),
    ],
)
@pytest.mark.parametrize("column", ["created_at", "updated_at"])
def test_a_timestamp_that_toisostring_writes_otherwise_is_rejected_by_its_field(column: str, timestamp_us: int) -> None:
    rejection = rejected(row(**{column: timestamp_us}))

    assert (rejection.field, rejection.code) == (column, "timestamp_out_of_range")
    assert rejection.row_id == GOLDEN["full"][0][0]


@pytest.mark.parametrize(
    "column",
    ["user_id", "created_at", "updated_at", "original_filename", "s3_key", "s3_bucket", "mime_type", "size_bytes"],
)
def test_null_in_a_required_column_is_rejected_by_name(column: str) -> None:
    rejection = rejected(row(**{column: None}))

    assert (rejection.field, rejection.code) == (column, "null_in_required_field")
    assert rejection.row_id == GOLDEN["full"][0][0]


# Names: 106 bytes. Fixed values: METADATA 8, version 2 (1 + one byte of two digits).
NAMES_AND_FIXED = 106 + 8 + 2


def row_of_bytes(size: int, character: str = "x") -> Row:
    """A row whose item has exactly that many bytes as DynamoDB counts them."""
    # PK IMAGE#i 7, u 1, two timestamps 24 each, k 1, b 1, t 1, m 1, sizeBytes 1+1 (two digits), width and height 1+1.
    rest = 7 + 1 + 48 + 4 + 2 + 2 + 2
    left = size - NAMES_AND_FIXED - rest
    width = len(character.encode())
    name = character * (left // width) + "x" * (left % width)
    return Row(("i", "u", 0, 0, name, "k", "b", "t", "m", 12, 12, 12))


@pytest.mark.parametrize("character", ["x", "é", "\U0001f600"])
def test_an_item_of_exactly_409600_bytes_is_taken_and_one_of_409601_rejected(character: str) -> None:
    """As a server judges the same edge: conformance/."""
    assert item_bytes(transformed(row_of_bytes(409_600, character))) == 409_600

    rejection = rejected(row_of_bytes(409_601, character))

    assert (rejection.field, rejection.code) == (None, "item_too_large")
    assert "409,601" in rejection.reason


def test_a_name_of_500000_bytes_is_rejected_without_its_text() -> None:
    rejection = rejected(row(original_filename="secret" * 83_334))

    assert rejection.code == "item_too_large"
    assert "secret" not in rejection.reason


@pytest.mark.parametrize(
    ("size", "units"), [(1_023, 1), (1_024, 1), (1_025, 2), (2_048, 2), (2_049, 3), (409_600, 400)]
)
def test_an_item_costs_one_write_unit_per_started_kilobyte(size: int, units: int) -> None:
    assert write_units(transformed(row_of_bytes(size))) == units


@pytest.mark.parametrize(
    ("value", "size"),
    [
        ({"S": "é"}, 3),
        ({"S": ""}, 1),
        ({"N": "0"}, 2),
        ({"N": "100"}, 3),
        ({"N": "1000"}, 3),
        ({"N": "640"}, 4),
        ({"N": "6400"}, 3),
        ({"N": "1234"}, 4),
        ({"N": "-1"}, 4),
        ({"NULL": True}, 2),
        ({"BOOL": False}, 2),
        ({"B": "AP8="}, 3),
        ({"SS": ["a", "bc"]}, 4),
        ({"NS": ["1", "100"]}, 5),
        ({"BS": ["AA==", "AP8="]}, 4),
        ({"L": [{"S": "ab"}, {"NULL": True}]}, 9),
        ({"M": {"k": {"S": "ab"}}}, 8),
    ],
)
def test_values_have_the_size_that_dynamodb_documents(value: dict[str, object], size: int) -> None:
    assert item_bytes({"n": value}) == size


def test_a_row_of_another_width_is_an_error_and_never_cut() -> None:
    with pytest.raises(ValueError, match="values"):
        transform(Row(GOLDEN["full"][0][:-1]))
