"""Which texts PostgreSQL accepts as numbers, days and moments, in its own spelling.

Each value that a column can have is among them. `columns` uses it to look up rows by texts of any origin.
"""

import re
from collections.abc import Callable
from typing import Final

_ENDS: Final = ("infinity", "-infinity")
_NO_NUMBERS: Final = ("NaN", "Infinity", "-Infinity")
_NUMERIC: Final = re.compile(r"-?(0|[1-9][0-9]{0,131071})(\.[0-9]{1,16383})?")
# A year has four digits, or as many as it needs.
_DAY: Final = r"(?P<year>[0-9]{4}|[1-9][0-9]{4,6})-(?P<month>[0-9]{2})-(?P<day>[0-9]{2})"
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]"
_DATE: Final = re.compile(rf"{_DAY}(?P<before> BC)?")
# As JavaScript writes it, or as PostgreSQL does if the year has not four digits.
_MOMENT: Final = re.compile(rf"{_DAY}(?:T{_CLOCK}\.[0-9]{{6}}Z?| {_CLOCK}(?:\.[0-9]{{1,6}})?(?P<before> BC)?)")
_DAYS: Final = (31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)
_FIRST_DAY: Final = (-4713, 11, 24)
_LAST_YEAR_OF_DATES: Final = 5_874_897
_LAST_YEAR_OF_MOMENTS: Final = 294_276


def is_numeric(text: str) -> bool:
    """Whether it is a value of numeric."""
    return text in _NO_NUMBERS or _NUMERIC.fullmatch(text) is not None


def is_date(text: str) -> bool:
    """Whether it is a value of date."""
    return _is_day_of(_DATE, text, _LAST_YEAR_OF_DATES)


def is_moment(text: str) -> bool:
    """Whether it is a value of a timestamp with a zone or without, in a key."""
    return _is_day_of(_MOMENT, text, _LAST_YEAR_OF_MOMENTS)


def matches(pattern: str) -> Callable[[str], bool]:
    """A test whether a whole text matches the pattern."""
    compiled = re.compile(pattern)
    return lambda text: compiled.fullmatch(text) is not None


def _is_day_of(pattern: re.Pattern[str], text: str, last_year: int) -> bool:
    if text in _ENDS:
        return True
    match = pattern.fullmatch(text)
    if match is None:
        return False
    year, month, day = int(match["year"]), int(match["month"]), int(match["day"])
    if not year or not 1 <= month <= len(_DAYS):
        return False
    # The year before year 1 is 1 BC: counted on, it is 0.
    year = 1 - year if match["before"] else year
    is_leap = year % 4 == 0 and (year % 100 != 0 or year % 400 == 0)
    is_in_month = 1 <= day <= _DAYS[month - 1] + (is_leap and month == 2)
    return is_in_month and (year, month, day) >= _FIRST_DAY and year <= last_year
