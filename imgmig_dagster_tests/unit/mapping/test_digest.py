"""The digests by which the census compares rows with items."""

import pytest
from hypothesis import given

from imgmig_dagster.mapping.canonical import short_hash
from imgmig_dagster.mapping.digests import item_digester, row_digester
from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.mapping.rows import FULL_ROW, GOLDEN, item, mappable_rows, row
from imgmig_dagster_tests.unit.source.things import things_mapping

S, N, NULL = "S", "N", {"NULL": True}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_row_and_its_item_have_one_digest_of_64_bits(name: str) -> None:
    source, found = GOLDEN[name]

    assert row_digester(IMAGE)(source) == item_digester(IMAGE)(found)
    assert -(2**63) <= row_digester(IMAGE)(source) < 2**63


@given(mappable_rows)
def test_the_digests_of_a_row_and_its_item_are_equal(source: Row) -> None:
    found = transformer(IMAGE)(source)
    assert not isinstance(found, Rejection)

    assert row_digester(IMAGE)(source) == item_digester(IMAGE)(found)


def test_the_digest_covers_every_column() -> None:
    changed = [
        *(Row(f"{value}x" if at == index else each for at, each in enumerate(FULL_ROW)) for index, value in TEXTS),
        *(row(**{column: 1_000}) for column in ("created_at", "updated_at")),
        *(row(**{column: number}) for column in ("size_bytes", "width", "height") for number in (1_000, 1_001)),
    ]

    digests = {row_digester(IMAGE)(each) for each in (FULL_ROW, *changed)}

    assert len(changed) == len(FULL_ROW) + 3
    assert len(digests) == len(changed) + 1


TEXTS = [(index, value) for index, value in enumerate(FULL_ROW) if isinstance(value, str)]


def test_an_absent_attribute_has_the_digest_of_null() -> None:
    assert (
        item_digester(IMAGE)(item(width=None))
        == item_digester(IMAGE)(item(width=NULL))
        == row_digester(IMAGE)(row(width=None))
    )


def test_an_attribute_that_cannot_be_decoded_hides_no_other() -> None:
    assert item_digester(IMAGE)(item(userId=NULL, width={N: "1"})) != item_digester(IMAGE)(item(userId=NULL))
    assert item_digester(IMAGE)(item(userId={N: "1"}, width={N: "1"})) != item_digester(IMAGE)(item(userId={N: "1"}))
    assert item_digester(IMAGE)(item(userId={N: "1"})) != item_digester(IMAGE)(item(userId={N: "2"}))


def test_a_row_of_another_width_is_an_error_and_never_cut() -> None:
    with pytest.raises(ValueError, match="values"):
        row_digester(IMAGE)(Row(FULL_ROW[:-1]))


def test_the_digest_tells_a_value_from_another_type_of_the_same_text() -> None:
    digests = {
        item_digester(IMAGE)(item(thumbnailS3Key=value)) for value in ({S: "1"}, {N: "1"}, NULL, {S: ""}, {S: "None"})
    }

    assert len(digests) == 5


@pytest.mark.parametrize(
    ("spelling", "number"),
    [("0", 0), ("-0", 0), ("007", 7), ("-7", -7), ("7.0", 7), ("7e2", 700), ("+7", 7), ("9" * 38, int("9" * 38))],
)
def test_a_number_has_one_digest_however_it_is_spelled(spelling: str, number: int) -> None:
    assert item_digester(IMAGE)(item(width={N: spelling})) == row_digester(IMAGE)(row(width=number))


@pytest.mark.parametrize("spelling", ["", "-", "1.5", "\u0667", "9" * 39, "1\n"])
def test_what_is_no_whole_number_of_an_item_has_the_digest_of_no_row(spelling: str) -> None:
    numbers = {row_digester(IMAGE)(row(width=number)) for number in (None, 0, 1, 7, int("9" * 39))}

    assert item_digester(IMAGE)(item(width={N: spelling})) not in numbers


@pytest.mark.parametrize("letter", ["a", "\u00e9", "\U0001f600"])
@pytest.mark.parametrize("size", [0, 1, 63, 64, 127, 128, 255, 256, 257, 5_000])
def test_a_text_is_digested_with_its_length_in_bytes(size: int, letter: str) -> None:
    mapping = things_mapping(Field("v", "v", FieldType.TEXT, Null.WRITTEN), order=Order("at"))
    text, row_id = letter * size, "1"
    found = {**mapping.key(row_id), "v": {S: text}, "at": {S: "1970-01-01T00:00:00.000Z"}}
    expected = short_hash(f"S1:1S{len(text.encode())}:{text}".encode())

    assert item_digester(mapping)(found) == expected


def test_the_digest_covers_the_key() -> None:
    assert item_digester(IMAGE)(item(PK={S: "IMAGE#other"})) != row_digester(IMAGE)(FULL_ROW)


def test_no_text_of_a_row_has_the_digest_of_an_undecodable_attribute() -> None:
    imitation = repr(("undecodable", {N: "1"}))

    assert item_digester(IMAGE)(item(userId={N: "1"})) != row_digester(IMAGE)(row(user_id=imitation))


def test_the_digest_cuts_timestamps_to_milliseconds() -> None:
    assert row_digester(IMAGE)(row(created_at=1_000_999)) == row_digester(IMAGE)(row(created_at=1_000_000))
    assert row_digester(IMAGE)(row(created_at=1_000_999)) != row_digester(IMAGE)(row(created_at=1_001_000))


@pytest.mark.parametrize("levels", [450, 900, 100_000])
def test_a_document_nested_too_deep_for_an_item_has_a_digest(levels: int) -> None:
    mapping = things_mapping(Field("v", "v", FieldType.DOCUMENT, Null.WRITTEN), order=Order("at"))
    deep, deeper = ('{"a": ' * depth + "1" + "}" * depth for depth in (levels, levels + 1))

    digests = {row_digester(mapping)(Row(("1", document, 0))) for document in (deep, deeper)}

    assert len(digests) == 2
