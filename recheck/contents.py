"""Values of rows and items by type, and the bytes that are hashed for them. docs/recheck.md defines both.

`sides.py` reads the two databases; `recheck.py` is the command.
"""

import hashlib
import json
import re
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from fractions import Fraction
from math import floor
from typing import Any

Document = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=timezone.utc)
MICROSECOND = timedelta(microseconds=1)
MICROSECONDS = {"s": 1_000_000, "ms": 1_000, "us": 1}
SINCE_1970 = 946_684_800_000_000  # PostgreSQL counts its microseconds from 2000
INFINITE = {2**63 - 1: "infinity", -(2**63): "-infinity"}
NO_NUMBER = {"NaN", "Infinity", "-Infinity"}
NUMBER = re.compile(r"[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([Ee][+-]?0*[0-9]{1,4})?")
MOMENT = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]([0-9:]{8})(?:[.,]([0-9]{1,9}))?([Zz]|[+-][0-9]{2}:?[0-9]{2})")
# Of JSON; PostgreSQL's jsonb may refuse it.
TOO_LONG = re.compile(r"[0-9]{255}|[Ee][+-]?0*[1-9][0-9]{3}")


class Unreadable(str):
    """A value that is not of the declared type: it has no digest and equals nothing."""


class Plain(str):
    """A number in plain decimal: no exponent, no zeros at the end of its fraction, no minus before zero."""


class Raw(str):
    """JSON that PostgreSQL's jsonb cannot hold, as it is spelled."""


def plain(text: str) -> Plain:
    """Read a number in any spelling. ValueError: it is not a number."""
    if not NUMBER.fullmatch(text):
        raise ValueError("no number")
    digits = f"{Decimal(text):f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return Plain("0" if digits == "-0" else digits)


def canonical(value: Any) -> str:
    """A JSON value as PostgreSQL writes jsonb. ValueError: it contains a text that PostgreSQL cannot hold."""
    if isinstance(value, Plain):
        return str(value)
    if isinstance(value, str):
        if "\0" in value:
            raise ValueError("NUL in a text")
        value.encode()  # half a surrogate pair is not a text
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(canonical, value))}]"
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return "{" + ", ".join(f"{canonical(name)}: {canonical(value[name])}" for name in names) + "}"
    return json.dumps(value)  # true, false or null


def number_of_json(text: str) -> Plain:
    """A number in plain decimal. ValueError: jsonb may refuse it."""
    if TOO_LONG.search(text):
        raise ValueError("a number that is too long")
    return plain(text)


def parsed(text: str) -> Any:
    """JSON of PostgreSQL, with numbers in plain decimal; of a repeated name the last counts."""
    return json.loads(text, parse_int=number_of_json, parse_float=number_of_json)


def moment(text: str) -> Any:
    """A timestamp of an item in microseconds since 1970."""
    if not (found := MOMENT.fullmatch(text)):
        raise ValueError("no timestamp")
    day, clock, fraction, zone = found.groups()
    since = datetime.strptime(f"{day} {clock} {zone.upper()}", "%Y-%m-%d %H:%M:%S %z") - EPOCH
    return since // MICROSECOND + int((fraction or "").ljust(6, "0")[:6])


def decoded(attribute: Document) -> Any:
    """An attribute of a document as a JSON value."""
    ((kind, stored),) = attribute.items()
    if kind == "M":
        return {name: decoded(each) for name, each in stored.items()}
    if kind == "L":
        return list(map(decoded, stored))
    if kind == "N":
        return plain(stored)
    if kind not in ("S", "BOOL", "NULL"):
        raise ValueError("no JSON")
    return None if kind == "NULL" else stored


def as_set(texts: Iterable[str | None]) -> str:
    """The elements of a set, each once and in the order of their bytes, as a JSON array of texts; NULL is the last."""
    once = set(texts)
    return canonical([*sorted((str(text) for text in once - {None}), key=str.encode), *(once & {None})])


def element(value: Any) -> str | None:
    """The text of an element of an array."""
    return value if value is None or isinstance(value, str) else canonical(value)


def of_column(field: Document, stored: Any) -> Any:
    """The value of a row's field: microseconds of times, canonical JSON, plain numbers, and text."""
    kind = field["type"]
    if stored is None:
        return None
    if kind in ("timestamp", "epoch"):
        if field["column_unit"]:
            return stored if stored in NO_NUMBER else floor(Fraction(stored) * MICROSECONDS[field["column_unit"]])
        since_2000 = int.from_bytes(stored, "big", signed=True)
        return INFINITE.get(since_2000, since_2000 + SINCE_1970)
    if kind in ("integer", "number"):
        return stored if stored in NO_NUMBER else plain(stored)
    try:
        if kind in ("document", "list"):
            found = canonical(parsed(stored))
            return None if found == "null" else found
        if kind in ("text set", "number set"):
            return as_set(map(element, parsed(stored))) if stored != "[]" else None
    except (ValueError, RecursionError):
        return Raw(stored)
    return stored


def of_item(field: Document, item: Document) -> Any:
    """The value of an item's field; an absent attribute or member is NULL."""
    attribute = item.get(field["attribute"])
    if field["member"] is not None and attribute not in (None, {"NULL": True}):
        attribute = attribute.get("M", {field["member"]: {}}).get(field["member"])
    if attribute is None or attribute == {"NULL": True}:
        return None
    try:
        return of_attribute(field, attribute)
    except (ValueError, KeyError, AttributeError, TypeError):
        return Unreadable(attribute)


def whole(number: Plain) -> Plain:
    """The number. ValueError: it has a fraction."""
    if "." in number:
        raise ValueError("no whole number")
    return number


# By the field's type: the attribute's, and its value.
ATTRIBUTES: dict[str, tuple[str, Callable[[Document, Any], Any]]] = {
    "text": ("S", lambda _, text: text),
    "date": ("S", lambda _, text: text),
    "label": ("S", lambda field, text: {label: stored for stored, label in field["labels"].items()}[text]),
    "timestamp": ("S", lambda _, text: moment(text)),
    "integer": ("N", lambda _, number: whole(plain(number))),
    "number": ("N", lambda _, number: plain(number)),
    "epoch": ("N", lambda field, n: int(whole(plain(n))) * MICROSECONDS[field["unit"]] - field["plus_us"]),
    "boolean": ("BOOL", lambda _, flag: "true" if flag else "false"),
    "binary": ("B", lambda _, stored: stored.hex()),
    "list": ("L", lambda _, elements: canonical(list(map(decoded, elements)))),
    "text set": ("SS", lambda _, texts: as_set(texts)),
    "number set": ("NS", lambda _, numbers: as_set(map(plain, numbers))),
}


def of_attribute(field: Document, attribute: Document) -> Any:
    """The value of an attribute. ValueError, KeyError: it is not of the declared type."""
    if field["type"] == "document":
        return canonical(decoded(attribute))
    kind, read = ATTRIBUTES[field["type"]]
    return read(field, attribute[kind])


def same(found: Document | None, expected: Document) -> bool:
    """Return whether an attribute is the declared constant."""
    try:
        return found is not None and canonical(decoded(found)) == canonical(decoded(expected))
    except ValueError:
        return False


def content(field: Document, value: Any) -> bytes:
    """Return the bytes that are hashed for a value."""
    kind = field["type"]
    if value is None:
        return b"-"
    if kind in ("timestamp", "epoch"):
        per = MICROSECONDS[field["unit"] or "ms"]
        return f"T{value if isinstance(value, str) else value // per};".encode()
    if kind in ("integer", "number"):
        return f"N{value};".encode()
    if kind == "boolean":
        return f"B{value[0]};".encode()
    if kind in ("date", "binary"):
        return f"{'D' if kind == 'date' else 'X'}{value};".encode()
    mark = "S" if kind in ("text", "label") else "J?" if isinstance(value, Raw) else "J"
    return b"%b%d:%b" % (mark.encode(), len(value.encode()), value.encode())


def digest(fields: Sequence[Document], row_id: str, values: Sequence[Any]) -> int | None:
    """Return the digest of a row or an item; None if a value is not readable."""
    if any(isinstance(value, Unreadable) for value in values):
        return None
    parts = map(content, [{"type": "text"}, *fields], [row_id, *values])
    return int.from_bytes(hashlib.sha256(b"".join(parts)).digest()[:8], "big", signed=True)
