"""When so many rows fail that a pass stops."""

import pytest

from imgmig_dagster.rules.failing import too_many_failed


@pytest.mark.parametrize(
    ("failed", "rows", "stops"),
    [
        (0, 0, False),
        # Fewer than a hundred say nothing about a cause, whatever their share.
        (99, 99, False),
        (100, 100, True),
        # Exactly a hundredth goes on.
        (100, 10_000, False),
        (101, 10_000, True),
        # Ten thousand are too many of any number.
        (9_999, 100_000_000, False),
        (10_000, 100_000_000, True),
    ],
)
def test_a_pass_stops_after_too_many_failures(failed: int, rows: int, stops: bool) -> None:
    assert too_many_failed(failed, rows) is stops
