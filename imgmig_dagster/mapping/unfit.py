"""The reasons why no item can hold a value: each code with its text, without the value."""

from collections.abc import Iterable
from typing import Final


class Unfit(Exception):
    """A value that no item can hold. `column` is its column, if known where it is raised."""

    def __init__(self, code: str, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason
        self.column = column


NULL_IN_REQUIRED_FIELD: Final = ("null_in_required_field", "the column is NULL, and the mapping declares it NOT NULL")
NOT_TEXT: Final = ("not_utf8", "the bytes are not text in the database's encoding, or cannot be represented in UTF-8")
NOT_WHOLE: Final = ("not_a_whole_number", "the number has a fraction or more than 38 digits, is infinite or NaN")
NO_NUMBER: Final = ("not_a_number", "the number is infinite or NaN, or the text is not a number")
TOO_MANY_DIGITS: Final = ("number_too_precise", "the number has more than 38 significant digits")
NUMBER_OUT_OF_RANGE: Final = (
    "number_out_of_range",
    "the number is beyond 9.99E+125, or closer to 0 than 1E-130",
)
NOT_BOOLEAN: Final = ("not_a_boolean", "the value is neither true nor false")
TIMESTAMP_OUT_OF_RANGE: Final = (
    "timestamp_out_of_range",
    "the timestamp is infinite or outside the years 0001 to 9999",
)
EPOCH_OUT_OF_RANGE: Final = ("timestamp_out_of_range", "the timestamp is infinite, or has more than 38 digits")
DATE_OUT_OF_RANGE: Final = ("date_out_of_range", "the date is infinite or outside the years 0001 to 9999")
NO_LABEL: Final = ("no_label", "the mapping declares no label for the column's value")
NOT_BINARY: Final = ("not_binary", "the value is not given as bytes")
NOT_JSON: Final = ("not_json", "the text is not valid JSON")
NOT_AN_ARRAY: Final = ("not_an_array", "the value is not an array")
REPEATED_NAME: Final = ("repeated_name", "an object in the JSON has the same name twice")
EMPTY_NAME: Final = ("empty_name", "an object in the JSON has an empty name, and DynamoDB accepts none")
NAME_TOO_LONG: Final = ("name_too_long", "a name in the JSON has more than 65,535 bytes")
TOO_DEEP: Final = ("too_deep", "the value is nested deeper than DynamoDB's 32 levels")
NOT_IN_TEXT: Final = ("not_in_text", "a text in the JSON has the character \\u0000 or half of a surrogate pair")
NULL_IN_SET: Final = ("null_in_set", "an element is NULL, and a set cannot hold NULL")
NESTED_IN_SET: Final = ("nested_in_set", "an element is not a single value, and a set holds only single values")
REPEATED_IN_SET: Final = ("repeated_in_set", "an element is repeated, and a set holds each value once")
KEY_NULL: Final = ("null_in_required_field", "a column of the key is NULL")
KEY_EMPTY: Final = ("key_empty", "the id is empty")
KEY_NOT_WHOLE: Final = (
    "key_not_a_number",
    "the key is a number, and the column holds no whole number of at most 38 digits",
)
KEY_AMBIGUOUS: Final = (
    "key_ambiguous",
    "a column contains a separator of the key, so another row could have the same key",
)
_OF_THE_WHOLE: Final = (
    ("key_too_long", "the partition key has more than 2,048 bytes, or the sort key more than 1,024"),
    ("item_too_large", "the item has more than 409,600 bytes, names included"),
)
_TAKEN_AS_TEXT: Final = {
    code
    for code, _reason in (
        *(NOT_WHOLE, NO_NUMBER, TOO_MANY_DIGITS, NUMBER_OUT_OF_RANGE),
        *(TIMESTAMP_OUT_OF_RANGE, EPOCH_OUT_OF_RANGE, DATE_OUT_OF_RANGE),
    )
}


def remedy(faults: Iterable[tuple[str, str | None]]) -> str:
    """Say what helps rejected rows, by code and column; a number or a time can be written as text."""
    columns = dict.fromkeys(column for code, column in faults if column and code in _TAKEN_AS_TEXT)
    as_text = f"declare `as: text` for {', '.join(columns)}, " if columns else ""
    return f"fix them in the source, {as_text}or leave them out with `where`"


def table_of_codes() -> str:
    """Every code with its reasons, as a table in Markdown."""
    reasons: dict[str, list[str]] = {}
    for code, reason in (*(each for each in globals().values() if _is_fault(each)), *_OF_THE_WHOLE):
        reasons.setdefault(code, []).append(reason)
    lines = [f"| `{code}` | {'; or: '.join(found)} |" for code, found in sorted(reasons.items())]
    return "\n".join(["| code | what is wrong |", "|---|---|", *lines])


def _is_fault(each: object) -> bool:
    return isinstance(each, tuple) and len(each) == 2 and all(isinstance(text, str) for text in each)
