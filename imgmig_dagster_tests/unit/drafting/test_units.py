import pytest

from imgmig_dagster.drafting.see import unit_of
from imgmig_dagster.mapping.fields import Unit


@pytest.mark.parametrize(
    ("least", "most", "unit"),
    [
        ("1700000000", "1750000000", Unit.SECONDS),
        ("1700000000.5", "1750000000", Unit.SECONDS),
        ("1700000000000", "1750000000000", Unit.MILLISECONDS),
        ("1700000000000000", "1750000000000000", Unit.MICROSECONDS),
        ("1", "1750000000", None),
        ("1700000000", "1750000000000", None),
        ("5000000000", "5000000001", None),
        ("NaN", "NaN", None),
        ("1700000000", "Infinity", None),
        (None, None, None),
    ],
)
def test_the_unit_in_which_numbers_are_times_of_our_days(
    least: str | None, most: str | None, unit: Unit | None
) -> None:
    assert unit_of(least, most) is unit
