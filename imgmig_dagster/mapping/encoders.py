"""Makes an attribute of a row's value: one encoder per `FieldType`, chosen once per field.

An encoder returns None for what counts as NULL, and raises `Unfit` for what no item can hold. `transform` makes the
item; `decoders` reads items with separate code.
"""

import re
from base64 import b64encode
from collections.abc import Callable, Mapping
from datetime import date
from functools import lru_cache, partial
from typing import Any, Final

from imgmig_dagster.mapping import documents
from imgmig_dagster.mapping.documents import Attribute
from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.mapping.numbers import MAX_DIGITS, dynamodb_number
from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY
from imgmig_dagster.mapping.unfit import (
    DATE_OUT_OF_RANGE,
    EPOCH_OUT_OF_RANGE,
    NO_LABEL,
    NO_NUMBER,
    NOT_BINARY,
    NOT_BOOLEAN,
    NOT_TEXT,
    NOT_WHOLE,
    TIMESTAMP_OUT_OF_RANGE,
    Unfit,
)

Encoder = Callable[[Any], Attribute | None]

_DAY_US: Final = 86_400_000_000
_ORDINAL_1970: Final = date(1970, 1, 1).toordinal()
# 0001-01-01 and the first instant of year 10000, in microseconds since 1970: the range in which
# JavaScript's toISOString() writes four digits of year.
_MIN_TIMESTAMP: Final = -62_135_596_800_000_000
_END_TIMESTAMP: Final = 253_402_300_800_000_000
_END_NUMBER: Final = 10**MAX_DIGITS
_DATE: Final = re.compile(r"(?!0000)[0-9]{4}-[0-9]{2}-[0-9]{2}")

# A clock read from tables takes a sixth of the time of one that is formatted.
_MINUTES: Final = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02d}" for second in range(60)]
_MILLISECONDS: Final = [f"{ms:03d}" for ms in range(1000)]


def encoder(field: Field) -> Encoder:
    """A function that makes the attribute of a field's values, which are not NULL."""
    return _ENCODERS[field.type](field)


@lru_cache(maxsize=4096)
def _iso_date(days_since_1970: int) -> str:
    return date.fromordinal(_ORDINAL_1970 + days_since_1970).isoformat()


def _text(value: Any) -> Attribute:
    if value.__class__ is not str:
        raise Unfit(*NOT_TEXT)
    return {"S": value}


def _integer(value: Any) -> Attribute:
    if value.__class__ is not int:
        raise Unfit(*NOT_WHOLE)
    digits = str(value)
    if len(digits) > MAX_DIGITS and not -_END_NUMBER < value < _END_NUMBER:
        raise Unfit(*NOT_WHOLE)
    return {"N": digits}


def _number(value: Any) -> Attribute:
    if value.__class__ is not str:
        raise Unfit(*NO_NUMBER)
    return {"N": dynamodb_number(value)}


def _boolean(value: Any) -> Attribute:
    if value.__class__ is not bool:
        raise Unfit(*NOT_BOOLEAN)
    return {"BOOL": value}


def _timestamp(value: Any) -> Attribute:
    """What JavaScript's `toISOString()` writes: UTC, three decimals, cut and not rounded.

    The application's dual-write builds its items from a JavaScript `Date`, which drops microseconds.
    """
    if value.__class__ is not int or not _MIN_TIMESTAMP <= value < _END_TIMESTAMP:
        raise Unfit(*TIMESTAMP_OUT_OF_RANGE)
    day, rest_us = divmod(value, _DAY_US)
    minutes, ms = divmod(rest_us // 1000, 60_000)
    return {"S": f"{_iso_date(day)}T{_MINUTES[minutes]}:{_SECONDS[ms // 1000]}.{_MILLISECONDS[ms % 1000]}Z"}


def _epoch(field: Field) -> Encoder:
    unit_us = field.unit.microseconds
    later = field.plus_us // unit_us
    # A number is never infinite, in any spelling.
    ends = (INFINITY, MINUS_INFINITY) if field.column_unit is None else ()

    def encode(value: Any) -> Attribute:
        if value.__class__ is not int or value in ends:
            raise Unfit(*EPOCH_OUT_OF_RANGE)
        number = value // unit_us + later
        if not -_END_NUMBER < number < _END_NUMBER:
            raise Unfit(*EPOCH_OUT_OF_RANGE)
        return {"N": str(number)}

    return encode


def _date(value: Any) -> Attribute:
    if value.__class__ is not str or _DATE.fullmatch(value) is None:
        raise Unfit(*DATE_OUT_OF_RANGE)
    return {"S": value}


def _binary(value: Any) -> Attribute:
    try:
        return {"B": b64encode(bytes.fromhex(value)).decode()}
    except (TypeError, ValueError):
        raise Unfit(*NOT_BINARY) from None


def _label(field: Field) -> Encoder:
    labels = dict(field.labels)

    def encode(value: Any) -> Attribute:
        label = labels.get(value)
        if label is None:
            raise Unfit(*NO_LABEL)
        return {"S": label}

    return encode


def _json(parse: Callable[[str], Attribute | None]) -> Encoder:
    def encode(value: Any) -> Attribute | None:
        if value.__class__ is not str:
            raise Unfit(*NOT_TEXT)
        return parse(value)

    return encode


def _level(field: Field) -> int:
    """The level of the item at which a field's value is."""
    return 1 if field.member is None else 2


_ENCODERS: Final[Mapping[FieldType, Callable[[Field], Encoder]]] = {
    FieldType.TEXT: lambda _field: _text,
    FieldType.INTEGER: lambda _field: _integer,
    FieldType.NUMBER: lambda _field: _number,
    FieldType.BOOLEAN: lambda _field: _boolean,
    FieldType.TIMESTAMP: lambda _field: _timestamp,
    FieldType.EPOCH: _epoch,
    FieldType.DATE: lambda _field: _date,
    FieldType.DOCUMENT: lambda field: _json(partial(documents.document, level=_level(field))),
    FieldType.LIST: lambda field: _json(partial(documents.array, level=_level(field))),
    FieldType.TEXT_SET: lambda _field: _json(documents.text_set),
    FieldType.NUMBER_SET: lambda _field: _json(documents.number_set),
    FieldType.BINARY: lambda _field: _binary,
    FieldType.LABEL: _label,
}
