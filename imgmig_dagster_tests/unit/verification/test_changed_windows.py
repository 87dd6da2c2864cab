"""How many windows one statement digests."""

import pytest

from imgmig_dagster.verification.changed_windows import batches_of
from imgmig_dagster_tests.unit.reporting.stage_state import month

WINDOWS = [month(number) for number in range(1, 6)]


@pytest.mark.parametrize(
    ("rows", "sizes"),
    [
        ([1, 1, 1, 1, 1], [5]),
        ([2_000_000, 0, 1, 1_999_999, 1], [2, 2, 1]),
        ([3_000_000, 3_000_000, 1, 1, 1], [1, 1, 3]),
    ],
)
def test_a_statement_digests_about_two_million_rows_or_one_window(rows: list[int], sizes: list[int]) -> None:
    counted = {window.partition: count for window, count in zip(WINDOWS, rows, strict=True)}

    found = list(batches_of(WINDOWS, counted))

    assert [len(some) for some in found] == sizes
    assert [window for some in found for window in some] == WINDOWS
