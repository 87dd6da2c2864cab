"""Values that are equal and not written alike are explained to the person who reviews them."""

import pytest

from imgmig_dagster.reporting.equality import equality

CUT = "equal: the item has milliseconds, the rest is cut"
OTHERWISE = "equal: the same value, written in another way"


@pytest.mark.parametrize(
    ("expected", "found", "said"),
    [
        ("cat.jpg", "cat.jpg", "equal"),
        ("2024-03-10T10:11:52.267928Z", "2024-03-10T10:11:52.267Z", CUT),
        ("2024-03-10 10:11:52.267928+00:00", "2024-03-10 10:11:52.267+00:00", CUT),
        ('["2024-03-10T10:11:52.267928Z"]', '["2024-03-10T10:11:52.267Z"]', CUT),
        ("2024-03-10T10:11:52.267928Z", "2024-03-10T10:11:52.268Z", OTHERWISE),
        ("1.0", "1", OTHERWISE),
        ("1.2345", "1.234", OTHERWISE),
    ],
)
def test_why_two_values_are_equal(expected: str, found: str, said: str) -> None:
    assert equality(expected, found) == said
