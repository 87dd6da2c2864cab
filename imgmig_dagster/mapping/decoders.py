"""What a row's value and an item's attribute say, in one form, so that the two can be compared and digested.

It shares nothing with `encoders`. One `Decoder` per `FieldType`; `compare` and `digests` use it.
"""

import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from typing import Any, Final

from imgmig_dagster.mapping.canonical import canonical_json, parsed_json, plain
from imgmig_dagster.mapping.fields import Field, FieldType, Rule
from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY, Value

Attribute = Mapping[str, Any]

# The application's spelling: nearly all timestamps have it, and need no parsing.
_CANONICAL_TIMESTAMP: Final = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]\.[0-9]{3}Z"
)
_TIMESTAMP: Final = re.compile(
    r"(\d{4})-(\d\d)-(\d\d)[Tt ](\d\d):(\d\d):(\d\d)(?:[.,](\d{1,9}))?(?:([Zz])|([+-])(\d\d):?(\d\d))",
    re.ASCII,  # the digits of other scripts are none here
)
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[Ee][+-]?[0-9]{1,4})?")
_MAX_DIGITS: Final = 38
_EPOCH: Final = datetime(1970, 1, 1)
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_MICROSECOND: Final = timedelta(microseconds=1)
_SECOND_US: Final = 1_000_000
_MILLISECOND_US: Final = 1_000


class Undecodable(Exception):
    """An attribute whose type or spelling is not the declared one."""


@dataclass(frozen=True)
class Decoder:
    """How values of a field are read: equal ones are equal in every spelling. NULL is None.

    `of_row` is None if the row's value can be used as it is. `of_item` raises `Undecodable`.
    """

    of_row: Callable[[Any], Value] | None
    of_item: Callable[[Attribute], Value]


def meaning(field: Field) -> Decoder:
    """How the values of a field are read."""
    return _MEANINGS[field.type](field)


def constant_meaning(attribute: Attribute) -> Any:
    """What an attribute of any type says: numbers by value, sets without order."""
    kind, content = next(iter(attribute.items()))
    if kind == "M":
        return {name: constant_meaning(member) for name, member in content.items()}
    if kind == "L":
        return [constant_meaning(element) for element in content]
    try:
        known: Any = content
        if kind == "N":
            known = plain(content)
        elif kind == "NS":
            known = frozenset(map(plain, content))
        elif kind in ("SS", "BS"):
            known = frozenset(content)
    except ValueError:
        known = content
    return kind, known


def _text(attribute: Attribute) -> Any:
    text = attribute.get("S")
    return text if isinstance(text, str) else _null_or_undecodable(attribute)


def _integer(attribute: Attribute) -> Any:
    digits = attribute.get("N")
    if digits is None:
        return _null_or_undecodable(attribute)
    if digits.isdigit() and digits.isascii() and len(digits) <= _MAX_DIGITS:
        return int(digits)
    if _NUMBER.fullmatch(digits) is None:
        raise Undecodable
    # "-1", "1E2" and "100.0" are integers too; a fraction is none.
    number = Decimal(digits)
    # DynamoDB keeps 38 digits: a larger exponent is not worth the memory of its integer.
    if number.adjusted() >= _MAX_DIGITS or number != number.to_integral_value():
        raise Undecodable
    return int(number)


def _number(attribute: Attribute) -> Any:
    text = attribute.get("N")
    if text is None:
        return _null_or_undecodable(attribute)
    try:
        return plain(text)
    except ValueError:
        raise Undecodable from None


def _number_of_row(value: Any) -> Value:
    try:
        return plain(value)
    except (TypeError, ValueError):
        return value  # type: ignore[no-any-return]  # NaN and infinity have no other spelling


def _boolean(attribute: Attribute) -> Any:
    found = attribute.get("BOOL")
    return found if isinstance(found, bool) else _null_or_undecodable(attribute)


def _timestamp(attribute: Attribute) -> Any:
    text = attribute.get("S")
    return _null_or_undecodable(attribute) if text is None else _instant(text)


@lru_cache(maxsize=4096)  # an item is compared, and then digested
def _instant(text: str) -> int:
    if _CANONICAL_TIMESTAMP.fullmatch(text):
        try:
            return (datetime.fromisoformat(text[:-1]) - _EPOCH) // _MICROSECOND
        except ValueError:  # no such day
            raise Undecodable from None
    match = _TIMESTAMP.fullmatch(text)
    if match is None:
        raise Undecodable
    year, month, day, hour, minute, second, fraction, _utc, sign, offset_hours, offset_minutes = match.groups()
    if int(hour) > 23 or int(minute) > 59 or int(second) > 59:
        raise Undecodable
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
        raise Undecodable from None


def _timestamps(field: Field) -> Decoder:
    if field.rule is Rule.WITHIN_ONE_SECOND:
        return Decoder(None, _timestamp)

    def cut(value: Any) -> Value:
        is_infinite = field.column_unit is None and value in (INFINITY, MINUS_INFINITY)
        return value - value % _MILLISECOND_US if isinstance(value, int) and not is_infinite else value

    return Decoder(cut, lambda attribute: cut(_timestamp(attribute)))


def _epochs(field: Field) -> Decoder:
    unit_us, later = field.unit.microseconds, field.plus_us // field.unit.microseconds

    def of_row(value: Any) -> Value:
        if field.column_unit is None and value in (INFINITY, MINUS_INFINITY):
            return "infinity" if value == INFINITY else "-infinity"
        return value // unit_us if isinstance(value, int) else value

    def of_item(attribute: Attribute) -> Value:
        number = _integer(attribute)
        return None if number is None else number - later

    return Decoder(of_row, of_item)


def _binary(attribute: Attribute) -> Any:
    encoded = attribute.get("B")
    if encoded is None:
        return _null_or_undecodable(attribute)
    try:
        return b64decode(encoded, validate=True).hex()
    except (TypeError, ValueError):
        raise Undecodable from None


def _labels(field: Field) -> Decoder:
    texts = {label: text for text, label in field.labels}

    def of_item(attribute: Attribute) -> Value:
        label = _text(attribute)
        if label is not None and label not in texts:
            raise Undecodable
        return None if label is None else texts[str(label)]

    return Decoder(None, of_item)


def _document_of_row(value: Any) -> Value:
    """The canonical JSON; the bytes of a text that is not JSON, or is nested too deeply."""
    try:
        found = parsed_json(value)
        return None if found is None else canonical_json(found)
    except TypeError:
        return value  # type: ignore[no-any-return]
    except (ValueError, RecursionError):
        return str(value).encode("utf-8", "surrogatepass")


def _document(attribute: Attribute) -> Value:
    found = _of_attribute(attribute)
    return None if found is None else canonical_json(found)


def _of_attribute(attribute: Attribute) -> Any:
    if "M" in attribute:
        return {name: _of_attribute(member) for name, member in attribute["M"].items()}
    if "L" in attribute:
        return [_of_attribute(element) for element in attribute["L"]]
    if "N" in attribute:
        return _number(attribute)
    if "BOOL" in attribute:
        return _boolean(attribute)
    return _text(attribute)


def _set_of_row(value: Any) -> Value:
    """The set as canonical JSON; an empty one is NULL. A value that no set can hold stays, and equals nothing."""
    try:
        elements = parsed_json(value)
    except TypeError:
        return value  # type: ignore[no-any-return]
    except ValueError:
        return str(value).encode("utf-8", "surrogatepass")
    if not isinstance(elements, list) or any(each is None or isinstance(each, (list, dict)) for each in elements):
        return canonical_json([elements])
    return _set(str(each).lower() if isinstance(each, bool) else str(each) for each in elements)


def _set_of_item(kind: str) -> Callable[[Attribute], Value]:
    def of_item(attribute: Attribute) -> Any:
        elements = attribute.get(kind)
        if elements is None:
            return _null_or_undecodable(attribute)
        return _set(str(_number({"N": each})) if kind == "NS" else each for each in elements)

    return of_item


def _set(texts: Iterable[str]) -> str | None:
    once = sorted(set(texts), key=lambda text: text.encode("utf-8", "surrogatepass"))
    return canonical_json(once) if once else None


def _null_or_undecodable(attribute: Attribute) -> Any:
    if attribute.get("NULL") is True:
        return None
    raise Undecodable


_MEANINGS: Final[Mapping[FieldType, Callable[[Field], Decoder]]] = {
    FieldType.TEXT: lambda _field: Decoder(None, _text),
    # A value that is not an integer is text, and equals no number.
    FieldType.INTEGER: lambda _field: Decoder(None, _integer),
    FieldType.NUMBER: lambda _field: Decoder(_number_of_row, _number),
    FieldType.BOOLEAN: lambda _field: Decoder(None, _boolean),
    FieldType.TIMESTAMP: _timestamps,
    FieldType.EPOCH: _epochs,
    FieldType.DATE: lambda _field: Decoder(None, _text),
    FieldType.DOCUMENT: lambda _field: Decoder(_document_of_row, _document),
    FieldType.LIST: lambda _field: Decoder(_document_of_row, _document),
    FieldType.TEXT_SET: lambda _field: Decoder(_set_of_row, _set_of_item("SS")),
    FieldType.NUMBER_SET: lambda _field: Decoder(_set_of_row, _set_of_item("NS")),
    FieldType.BINARY: lambda _field: Decoder(None, _binary),
    FieldType.LABEL: _labels,
}
