"""Does an item say what the row says?

Shares the declaration with `transform`, and nothing else: items are decoded by this module's own code, because
a verifier that reuses the writer's code cannot see the writer's bugs.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from imgmig_dagster.mapping.canonical import short_hash
from imgmig_dagster.mapping.fields import Field, FieldType, Rule
from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY, Item, Row, Value
from imgmig_dagster.mapping.spec import TableMapping

# As the application writes it: nearly all timestamps are of this spelling, and need not be taken apart.
_CANONICAL_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
)
_TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:([Zz])|([+-])(\d\d):?(\d\d))",
    re.ASCII,  # the digits of other scripts are none here
)
# Decimal's own reading takes more: spaces, underscores, the digits of other scripts, infinity.
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[Ee][+-]?[0-9]{1,4})?")
_MAX_DIGITS: Final = 38
_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_US: Final = 1_000_000
_MILLISECOND_US: Final = 1_000


@dataclass(frozen=True)
class FieldDifference:
    """One field on which row and item disagree.

    `expected` is the row's value and `found` the item's, both as text that shows the type: ``S:"123"`` is not
    ``N:123``, and ``NULL`` is not ``S:""``.
    """

    column: str
    attribute: str
    expected: str
    found: str


@dataclass(frozen=True)
class Comparison:
    """What one look at a row and its item gave.

    `absent` names attributes that the item lacks although the row has a value: what a partial write leaves.
    `inexact` names timestamps that are equal within the tolerance but not the row's milliseconds, cut.
    """

    differences: tuple[FieldDifference, ...]
    absent: tuple[str, ...]
    inexact: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every declared field agrees by its rule."""
        return not self.differences


_ALL_EQUAL: Final = Comparison((), (), ())


class _Undecodable(Exception):
    """An attribute whose type or spelling is not the declared one."""


def comparer(mapping: TableMapping) -> Callable[[Row, Item], Comparison]:
    """Compile the function that compares a row of `mapping` with its item, field by field and by type.

    NULL equals an absent attribute. `version` and undeclared attributes are not compared.
    """
    fields = [
        (field, field.attribute, _DECODERS[field.type], field.rule is Rule.WITHIN_ONE_SECOND)
        for field in mapping.fields
    ]

    def compare(row: Row, item: Item) -> Comparison:
        differences: list[FieldDifference] = []
        absent: list[str] = []
        inexact: list[str] = []
        for (field, name, decode, tolerant), expected in zip(fields, row[1:], strict=True):
            attribute = item.get(name)
            try:
                found = None if attribute is None else decode(attribute)
            except _Undecodable:
                differences.append(_difference(field, expected, attribute))
                continue
            if tolerant and isinstance(found, int) and isinstance(expected, int):
                if abs(found - expected) >= _SECOND_US:
                    differences.append(_difference(field, expected, attribute))
                elif found != expected - expected % _MILLISECOND_US:
                    inexact.append(name)
            elif found != expected:
                differences.append(_difference(field, expected, attribute))
                if attribute is None:
                    absent.append(name)
        if differences or inexact:
            return Comparison(tuple(differences), tuple(absent), tuple(inexact))
        return _ALL_EQUAL

    return compare


def item_timestamp(item: Item, attribute: str) -> int | None:
    """An item's timestamp in microseconds since 1970, or None where it is absent or unreadable."""
    try:
        found = _decode_timestamp(item.get(attribute, {"NULL": True}))
    except _Undecodable:
        return None
    return found if isinstance(found, int) else None


def undeclared_attributes(mapping: TableMapping, item: Item) -> frozenset[str]:
    """The names of an item's attributes that the mapping says nothing about."""
    declared = mapping.declared_attributes
    return frozenset() if declared.issuperset(item) else frozenset(item) - declared


def describe_fields(mapping: TableMapping, row: Row, item: Item) -> list[tuple[str, str, str]]:
    """Every declared attribute with the row's value and the item's, as text that shows the type."""
    return [
        (field.attribute, _show_value(field, value), _show_attribute(item.get(field.attribute)))
        for field, value in zip(mapping.fields, row[1:], strict=True)
    ]


def row_digest(mapping: TableMapping, row: Row) -> int:
    """The digest of a row's id and content as an item should hold it; see `item_digest`.

    A difference is a candidate for a second look, since timestamps may differ within their tolerance.
    """
    parts = [_text_content(row[0])]
    for field, value in zip(mapping.fields, row[1:], strict=True):
        parts.append(_CONTENT[field.type](value))
    return short_hash(b"".join(parts))


def item_digest(mapping: TableMapping, item: Item) -> int:
    """The digest of an item's key and declared content, a signed number of 64 bits, as ``docs/recheck.md`` defines it.

    Timestamps are cut to milliseconds. Equals the digest that PostgreSQL computes of the row (`source.digests`).
    """
    parts = [_text_content(mapping.row_id(item))]
    for field in mapping.fields:
        attribute = item.get(field.attribute)
        try:
            value = None if attribute is None else _DECODERS[field.type](attribute)
        except _Undecodable:
            parts.append(b"?" + repr(attribute).encode("utf-8", "surrogatepass"))  # what no row holds
        else:
            parts.append(_CONTENT[field.type](value))
    return short_hash(b"".join(parts))


def _text_content(value: Value) -> bytes:
    if value is None:
        return b"-"
    text = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return b"S%d:%b" % (len(text), text)


def _number_content(value: Value) -> bytes:
    return b"-" if value is None else b"N%b;" % str(value).encode()


def _timestamp_content(value: Value) -> bytes:
    if value is None:
        return b"-"
    if value in (INFINITY, MINUS_INFINITY):
        return b"Tinfinity;" if value == INFINITY else b"T-infinity;"
    return b"T%d;" % (int(value) // _MILLISECOND_US)


def _decode_text(attribute: dict[str, Any]) -> Value:
    text = attribute.get("S")
    return text if isinstance(text, str) else _null_or_undecodable(attribute)


def _decode_integer(attribute: dict[str, Any]) -> Value:
    digits = attribute.get("N")
    if digits is None:
        return _null_or_undecodable(attribute)
    if digits.isdigit() and digits.isascii() and len(digits) <= _MAX_DIGITS:
        return int(digits)
    if _NUMBER.fullmatch(digits) is None:
        raise _Undecodable
    # "-1", "1E2" and "100.0" are integers too; a fraction is none.
    number = Decimal(digits)
    # DynamoDB keeps 38 digits: a larger exponent is not worth the memory of its integer.
    if number.adjusted() >= _MAX_DIGITS or number != number.to_integral_value():
        raise _Undecodable
    return int(number)


def _decode_timestamp(attribute: dict[str, Any]) -> Value:
    text = attribute.get("S")
    if text is None:
        return _null_or_undecodable(attribute)
    if _CANONICAL_TIMESTAMP.fullmatch(text):
        try:
            return (datetime.fromisoformat(text[:-1]) - _EPOCH) // _MICROSECOND
        except ValueError:  # no such day
            raise _Undecodable from None
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise _Undecodable
    year, month, day, hour, minute, second, fraction, _utc, sign, offset_hours, offset_minutes = match.groups()
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        raise _Undecodable
    seconds = _days_since_1970(year, month, day) * 86_400 + int(hour) * 3_600 + int(minute) * 60 + int(second)
    if sign is not None:
        offset = int(offset_hours) * 3_600 + int(offset_minutes) * 60
        seconds += offset if sign == "-" else -offset
    return seconds * _SECOND_US + (int(fraction.ljust(9, "0")[:6]) if fraction else 0)


@lru_cache(maxsize=4096)
def _days_since_1970(year: str, month: str, day: str) -> int:
    try:
        return date(int(year), int(month), int(day)).toordinal() - _EPOCH_ORDINAL
    except ValueError:
        raise _Undecodable from None


def _null_or_undecodable(attribute: dict[str, Any]) -> Value:
    if attribute.get("NULL") is True:
        return None
    raise _Undecodable


_DECODERS: Final[dict[FieldType, Callable[[dict[str, Any]], Value]]] = {
    FieldType.TEXT: _decode_text,
    FieldType.INTEGER: _decode_integer,
    FieldType.TIMESTAMP: _decode_timestamp,
}

_CONTENT: Final[dict[FieldType, Callable[[Value], bytes]]] = {
    FieldType.TEXT: _text_content,
    FieldType.INTEGER: _number_content,
    FieldType.TIMESTAMP: _timestamp_content,
}


def _difference(field: Field, expected: Value, attribute: dict[str, Any] | None) -> FieldDifference:
    return FieldDifference(field.column, field.attribute, _show_value(field, expected), _show_attribute(attribute))


def _show_value(field: Field, value: Value) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f"bytes:{value!r}"
    if field.type is FieldType.TEXT:
        return f'S:"{value}"'
    if field.type is FieldType.INTEGER:
        return f"N:{value}"
    seconds, microseconds = divmod(int(value), _SECOND_US)
    days, second_of_day = divmod(seconds, 86_400)
    try:
        day = date.fromordinal(_EPOCH_ORDINAL + days).isoformat()
    except (ValueError, OverflowError):
        return f"timestamp out of range ({value} microseconds since 1970)"
    clock = f"{second_of_day // 3600:02d}:{second_of_day // 60 % 60:02d}:{second_of_day % 60:02d}"
    return f"{day}T{clock}.{microseconds:06d}Z"


def _show_attribute(attribute: dict[str, Any] | None) -> str:
    if attribute is None:
        return "absent"
    if "NULL" in attribute:
        return "NULL"
    kind, content = next(iter(attribute.items()))
    return f'S:"{content}"' if kind == "S" else f"{kind}:{content}"
