"""Values of hundreds of kilobytes on a page: both ends, the length, where two differ, and the whole behind a fold."""

import html
import re
from collections.abc import Callable

import pytest

from imgmig_dagster.reporting.escaping import shown_value
from imgmig_dagster.reporting.render import render_spot_check
from imgmig_dagster.verification.pictures import ShownPictures
from imgmig_dagster_tests.unit.reporting.stage_state import pair, spot_check

LONG = 300_000
FOLDED = re.compile("<details>.*?</details>", re.DOTALL)


def long_name(number: int, middle: str = "m") -> str:
    """`LONG` characters, of which those from 150,000 on are `middle`."""
    start = f"first part of {number}".ljust(150_000, "a") + middle
    return start.ljust(LONG - 20, "z") + f"last part of {number}".rjust(20)


def in_sight(page: str) -> str:
    return FOLDED.sub("", page)


def text_of(shown: str) -> str:
    return html.unescape(re.sub("<[^>]*>", "", shown))


def test_a_page_of_fifty_long_values_shows_a_part_of_each_and_folds_the_whole() -> None:
    pairs = [pair(f"id-{n}", ("originalFilename", long_name(n), long_name(n), True)) for n in range(50)]

    page = render_spot_check(spot_check(*pairs), "staging", ShownPictures())

    assert len(in_sight(page)) < 50 * 5_000
    assert len(page) < 50 * (LONG + 6_000), "the whole of two equal values is there once"
    for n in range(50):
        assert in_sight(page).count(f"first part of {n}a") == in_sight(page).count(f"last part of {n}<") == 2
        assert long_name(n) in page
    assert in_sight(page).count("300,000 characters") == 100


@pytest.mark.parametrize(
    ("text", "other", "place", "marked"),
    [
        (long_name(1), long_name(1, "M"), 150_001, "m"),
        (long_name(1, "é"), long_name(1, "é").replace("é", "e\u0301"), 150_001, "é"),
        (long_name(1), long_name(2), 15, None),
        (long_name(1), long_name(1)[:-1], 300_000, "1"),
        (long_name(1)[:-1], long_name(1), 300_000, ""),
        (long_name(1), "NULL", 1, None),
        ("x" * LONG, "y" * LONG, 1, None),
    ],
)
def test_the_place_of_the_first_difference_is_told_and_what_surrounds_it_is_in_sight(
    text: str, other: str, place: int, marked: str | None
) -> None:
    shown = shown_value(text, other)

    assert f"the first difference is at character {place:,}" in shown
    assert "<mark>" in in_sight(shown)
    if marked is not None:
        assert f"<mark>{marked}</mark>" in in_sight(shown)
        assert text[max(0, place - 20) : place - 1] + marked in text_of(in_sight(shown))
    assert len(in_sight(shown)) < 5_000
    assert text in text_of(shown)


@pytest.mark.parametrize("text", ["\u202e" * LONG, "<&>" * (LONG // 3), "\x00\r" * (LONG // 2), "\U000e0001" * LONG])
@pytest.mark.parametrize("shown", [shown_value, lambda text: shown_value(text, "x" + text)])
def test_what_has_to_be_spelled_out_makes_a_page_ten_times_as_long_at_most(
    text: str, shown: Callable[[str], str]
) -> None:
    found = shown(text)

    assert len(found) <= 10 * len(text) + 50_000
    assert not set("\u202e\x00\r\U000e0001") & set(found)
    assert "<&>" not in found


@pytest.mark.parametrize("text", ["", "a", "<b>", "n" * 2_000, "\u202e"])
def test_a_value_that_is_not_long_is_shown_whole_and_has_no_fold(text: str) -> None:
    assert not any(word in shown_value(text) for word in ("details", "characters"))
    assert len(text_of(shown_value(text))) >= len(text)


def test_the_short_one_of_two_values_is_shown_whole_beside_a_long_one() -> None:
    assert shown_value("NULL", long_name(1)) == "<mark>NULL</mark>"
