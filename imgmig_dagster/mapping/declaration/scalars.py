"""The words and texts of a declaration, and how each is read. `form` has the keys that hold them."""

import re
from datetime import date
from decimal import Decimal
from enum import Enum
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import BeforeValidator, WithJsonSchema

from imgmig_dagster.mapping.numbers import dynamodb_number
from imgmig_dagster.mapping.unfit import Unfit

NONE: Final = "none"
"""The word for something that a table does not have."""
PLAIN_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
"""Names that folders, arguments of commands and assets can have."""

Grain: TypeAlias = Literal["daily", "weekly", "monthly"]

# Dagster writes keys by strftime, which leaves out the zeros of earlier years. A week may begin a year before.
_FIRST_DAY: Final = date(1000, 1, 1)
_FIRST_SUNDAY: Final = date(1000, 1, 5)


def earliest_day(grain: Grain) -> date:
    """The earliest day that a first partition can have."""
    return _FIRST_SUNDAY if grain == "weekly" else _FIRST_DAY


class As(str, Enum):
    """What an attribute holds, by the words of a declaration."""

    TEXT = "text"
    ISO = "iso"
    EPOCH_SECONDS = "epoch_seconds"
    EPOCH_MS = "epoch_ms"
    EPOCH_US = "epoch_us"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    DATE = "date"
    DOCUMENT = "document"
    LIST = "list"
    SET = "set"
    NUMBER_SET = "number_set"
    BINARY = "binary"


class Nulls(str, Enum):
    """What happens to a NULL, by the words of a declaration."""

    WRITTEN = "written"
    LEFT_OUT = "left_out"
    REJECTED = "rejected"


def _name(value: Any) -> Any:
    if isinstance(value, str):
        if not value.strip():
            raise ValueError("is empty; write a name")
        return value
    if isinstance(value, (bool, int, float, Decimal)):
        raise ValueError("is a name that YAML reads as a number or a truth value; put it in quotes")
    return value


def _text(value: Any) -> Any:
    """A scalar as PostgreSQL's text of it."""
    if isinstance(value, bool):
        return str(value).lower()
    return str(value) if isinstance(value, (int, float, Decimal)) else value


def _filled(value: Any) -> Any:
    if isinstance(value, str) and not value.strip():
        raise ValueError("is empty; leave the key out, or say it")
    return value


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


def _day(value: Any) -> Any:
    if isinstance(value, str):
        try:
            return date.fromisoformat(value)
        except ValueError:
            raise ValueError("is not a day; write it as 2020-01-31") from None
    return value


def _constant(value: Any) -> str | bool | int | Decimal:
    if isinstance(value, float):
        value = Decimal(repr(value))
    if not isinstance(value, (str, bool, int, Decimal)):
        raise ValueError("is not a constant; write a text, a number, true or false")
    if not isinstance(value, (str, bool)) and not _fits(Decimal(value)):
        raise ValueError("is beyond the 38 digits or the range of DynamoDB's numbers; put it in quotes to have a text")
    return value


def _fits(number: Decimal) -> bool:
    try:
        dynamodb_number(str(number))
    except Unfit:
        return not number  # zero, with any exponent
    return True


Constant: TypeAlias = Annotated[
    Any, BeforeValidator(_constant), WithJsonSchema({"type": ["string", "number", "boolean"]})
]
Name: TypeAlias = Annotated[str, BeforeValidator(_name)]
Filled: TypeAlias = Annotated[str, BeforeValidator(_filled)]
Text: TypeAlias = Annotated[
    str, BeforeValidator(_text), WithJsonSchema({"type": ["string", "number", "boolean"]}, mode="validation")
]
Names: TypeAlias = Annotated[list[Name], BeforeValidator(_listed, json_schema_input_type=Name | list[Name])]
Day: TypeAlias = Annotated[date, BeforeValidator(_day)]
