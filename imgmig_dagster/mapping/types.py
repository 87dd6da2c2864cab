"""The table of types in words: the attribute in DynamoDB, when it equals its column, which values are rejected.

Documents, drafts and checks print from it. `encoders` and `decoders` do what it says.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.mapping.fields import FieldType


@dataclass(frozen=True)
class TypeInWords:
    """One `FieldType`: DynamoDB's type, what is written, what counts as equal, and what is rejected."""

    dynamodb: str
    written: str
    compared: str
    rejected: str


AS: Final[Mapping[FieldType, str]] = {
    FieldType.TEXT: "text",
    FieldType.INTEGER: "integer",
    FieldType.NUMBER: "number",
    FieldType.BOOLEAN: "boolean",
    FieldType.TIMESTAMP: "iso",
    FieldType.DATE: "date",
    FieldType.DOCUMENT: "document",
    FieldType.LIST: "list",
    FieldType.BINARY: "binary",
}
"""How a declaration names each type that a column can have by itself."""

_NUMBERS: Final = "NaN, infinity, more than 38 significant digits, beyond 9.99E+125, closer to 0 than 1E-130"
_JSON: Final = (
    "invalid JSON, a repeated name, an empty name, `\\u0000`, half of a surrogate pair, a value below level 32 "
    f"(the attribute itself is level 1); of numbers: {_NUMBERS}"
)
_SETS: Final = "an element that is NULL, repeated, or not a single value"

TYPES: Final[Mapping[FieldType, TypeInWords]] = {
    FieldType.TEXT: TypeInWords("S", "the exact text", "exactly", "bytes that are not text"),
    FieldType.INTEGER: TypeInWords(
        "N", "the digits", "by value: `1E2` is 100", "a fraction, more than 38 digits, NaN, infinity"
    ),
    FieldType.NUMBER: TypeInWords("N", "every digit, never rounded; -0 as 0", "by value: 1.0 is 1 is `1E0`", _NUMBERS),
    FieldType.BOOLEAN: TypeInWords("BOOL", "true or false", "exactly", "nothing"),
    FieldType.TIMESTAMP: TypeInWords(
        "S",
        "as JavaScript's `toISOString()`: UTC, three decimals, truncated",
        "less than 1 second apart; exactly to the millisecond with `tolerance: exact`",
        "infinity, years before 0001 and after 9999",
    ),
    FieldType.EPOCH: TypeInWords(
        "N",
        "whole units since 1970, rounded towards the past, and `plus`",
        "exactly, in whole units",
        "infinity, more than 38 digits",
    ),
    FieldType.DATE: TypeInWords("S", "`2024-01-31`", "exactly", "infinity, years before 0001 and after 9999"),
    FieldType.DOCUMENT: TypeInWords(
        "M, L, S, N, BOOL",
        "the JSON's own type; JSON null is NULL",
        "by value: neither the order of names nor the spelling of numbers matters",
        _JSON,
    ),
    FieldType.LIST: TypeInWords("L", "the elements, including NULL", "by value, in order", _JSON),
    FieldType.TEXT_SET: TypeInWords(
        "SS", "the elements; an empty array is NULL, since DynamoDB has no empty set", "in any order", _SETS
    ),
    FieldType.NUMBER_SET: TypeInWords("NS", "the same", "in any order, by value", f"{_SETS}; of numbers: {_NUMBERS}"),
    FieldType.BINARY: TypeInWords("B", "the bytes", "exactly", "nothing"),
    FieldType.LABEL: TypeInWords("S", "the label of the column's text", "exactly", "a text without a label"),
}


def table_of_types() -> str:
    """The types as a table in Markdown."""
    lines = ["| type | DynamoDB | written | equal | row is rejected for |", "|---|---|---|---|---|"]
    lines += [
        f"| {kind.value} | {words.dynamodb} | {words.written} | {words.compared} | {words.rejected} |"
        for kind, words in TYPES.items()
    ]
    return "\n".join(lines)
