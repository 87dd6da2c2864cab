"""The comparison of timestamps: by instant, to the millisecond, and however they are spelled."""

import pytest

from imgmig_dagster_tests.arrange import us
from imgmig_dagster_tests.unit.mapping.rows import FULL_ROW, compare, item, named, row


@pytest.mark.parametrize(
    ("row_moment", "item_moment", "equal"),
    [
        ("2024-03-01 00:00:00.000", "2024-03-01T00:00:00.999Z", True),
        ("2024-03-01 00:00:00.999", "2024-03-01T00:00:00.000Z", True),
        ("2024-03-01 00:00:00.000", "2024-03-01T00:00:01.000Z", False),
        ("2024-03-01 00:00:01.000", "2024-03-01T00:00:00.000Z", False),
        ("2024-03-01 00:00:01.000001", "2024-03-01T00:00:00.000Z", False),
        ("2024-03-01 00:00:00.999999", "2024-03-01T00:00:00.000Z", True),
        ("2024-03-01 00:00:00.000001", "2024-03-01T00:00:01.000Z", True),
        ("2023-12-31 23:59:59.500", "2024-01-01T00:00:00.499Z", True),
    ],
)
@pytest.mark.parametrize("column", ["created_at", "updated_at"])
def test_timestamps_agree_when_less_than_a_second_apart_either_way(
    column: str, row_moment: str, item_moment: str, equal: bool
) -> None:
    attribute = {"created_at": "createdAt", "updated_at": "updatedAt"}[column]

    comparison = compare(row(**{column: us(row_moment)}), item(**{attribute: {"S": item_moment}}))

    assert comparison.equal is equal


@pytest.mark.parametrize(
    ("item_moment", "inexact"),
    [
        ("2024-03-01T00:00:00.123Z", ()),
        ("2024-03-01T00:00:00.124Z", ("createdAt",)),  # rounded up
        ("2024-03-01T00:00:00.122Z", ("createdAt",)),
        ("2024-03-01T00:00:00.123700Z", ("createdAt",)),  # the microseconds were kept
        ("2024-03-01T00:00:00Z", ("createdAt",)),
        ("2024-03-01T00:00:01.000Z", ("createdAt",)),
    ],
)
def test_a_timestamp_within_tolerance_that_is_not_the_cut_milliseconds_is_inexact(
    item_moment: str, inexact: tuple[str, ...]
) -> None:
    comparison = compare(row(created_at=us("2024-03-01 00:00:00.123700")), item(createdAt={"S": item_moment}))

    assert comparison.equal
    assert comparison.inexact == inexact


@pytest.mark.parametrize(
    "spelling",
    [
        "2024-02-29T12:34:56.123Z",
        "2024-02-29T12:34:56.123z",
        "2024-02-29 12:34:56.123Z",
        "2024-02-29T12:34:56.123000Z",
        "2024-02-29T12:34:56.123+00:00",
        "2024-02-29T12:34:56.123-00:00",
        "2024-02-29T13:34:56.123+01:00",
        "2024-02-29T18:04:56.123+0530",
        "2024-02-28T23:34:56,123-13:00",
        "2024-03-01T00:34:56.123+12:00",
    ],
)
def test_other_spellings_of_the_same_instant_are_equal_and_exact(spelling: str) -> None:
    comparison = compare(FULL_ROW, item(createdAt={"S": spelling}))

    assert comparison.equal
    assert comparison.inexact == ()


@pytest.mark.parametrize(
    ("moment", "spelling"),
    [
        ("2024-02-29 23:59:59", "2024-02-29T23:59:59+00:00"),
        ("2024-02-29 12:34:56", "2024-02-29T12:34:56Z"),
        ("2024-02-29 12:34:56.100", "2024-02-29T12:34:56.1Z"),
        ("2024-02-29 12:34:56.123", "2024-02-29T12:34:56.123000000Z"),
    ],
)
def test_a_spelling_without_three_decimals_can_be_exact(moment: str, spelling: str) -> None:
    comparison = compare(row(created_at=us(moment)), item(createdAt={"S": spelling}))

    assert (comparison.equal, comparison.inexact) == (True, ())


@pytest.mark.parametrize(
    "spelling",
    [
        "",
        "2024-02-29",
        "2024-02-29T12:34:56.123",  # no zone: not an instant
        "2024-02-29T12:34Z",
        "2024-02-30T12:34:56.123Z",
        "2023-02-29T12:34:56.123Z",
        "0000-02-29T12:34:56.123Z",
        "2024-02-29T24:00:00.000Z",
        "2024-02-29T12:60:00.000Z",
        "2024-02-29T12:34:60.000Z",
        "+012026-01-01T00:00:00.000Z",
        " 2024-02-29T12:34:56.123Z",
        "2024-02-29T12:34:56.123Z\n",
        "Thu Feb 29 2024",
        "1709210096123",
        "infinity",
        "２０２４-02-29T12:34:56.123Z",  # full-width digits
        "2024-02-29T12:34:56.١٢٣Z",  # Arabic ones
        "2024-02-29T12:34:56.1234567890Z",
        "2024-02-29T12:34:56.123+1:00",
    ],
)
def test_what_is_no_instant_is_a_difference(spelling: str) -> None:
    assert named(FULL_ROW, item(createdAt={"S": spelling})) == ["createdAt"]


@pytest.mark.parametrize(
    ("spelling", "carried_over"),
    [
        ("2024-02-29T24:00:00+00:00", "2024-03-01 00:00:00"),
        ("2024-02-29T12:60:00+00:00", "2024-02-29 13:00:00"),
        ("2024-02-29T12:34:60+00:00", "2024-02-29 12:35:00"),
    ],
)
def test_a_clock_that_is_none_is_a_difference_also_from_what_it_would_carry_over_to(
    spelling: str, carried_over: str
) -> None:
    assert named(row(created_at=us(carried_over)), item(createdAt={"S": spelling})) == ["createdAt"]
