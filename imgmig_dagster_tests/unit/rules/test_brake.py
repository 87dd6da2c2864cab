"""How many deletes pass without a person's word, and with it."""

import pytest

from imgmig_dagster.rules.brake import Brake, held_back_line, may_take_back


@pytest.mark.parametrize(
    ("rows", "confirmed", "deletes", "passes"),
    [
        # Few go, of however small a window.
        (0, None, 0, True),
        (0, None, 10, True),
        (0, None, 11, False),
        (1_000, None, 11, False),
        # A hundredth of the rows.
        (1_999, None, 19, True),
        (1_999, None, 20, False),
        (50_000, None, 500, True),
        # Never more than a thousand.
        (1_000_000, None, 1_000, True),
        (1_000_000, None, 1_001, False),
        # Confirmed: that number and no other, fewer neither.
        (100, 40, 40, True),
        (100, 40, 39, False),
        (100, 40, 41, False),
        (100, 40, 0, False),
        (1_000_000, 5_000, 5_000, True),
    ],
)
def test_the_brake(rows: int, confirmed: int | None, deletes: int, passes: bool) -> None:
    assert Brake(rows, confirmed).lets_pass(deletes) is passes


@pytest.mark.parametrize(
    ("gone", "inserted", "taken_back"),
    [(0, 0, True), (10, 10, True), (11, 109, False), (11, 110, True), (100, 1_000, True), (101, 1_000, False)],
)
def test_what_a_page_may_take_back(gone: int, inserted: int, taken_back: bool) -> None:
    assert may_take_back(gone, inserted) is taken_back


def test_what_is_held_back_is_told_with_the_command_that_deletes_it() -> None:
    told = held_back_line([str(number) for number in range(1_234)], "imgmig retry-failures")
    assert told.startswith("1,234 items without a row were not deleted (0, 1, 2, 3, 4, ...).")
    assert "imgmig retry-failures --confirm-deletes 1234 " in told
