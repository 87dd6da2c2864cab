"""One spelling per item, number and JSON document, so that two of them can be compared; and the short hash.

Numbers and documents are spelled as PostgreSQL spells numeric and jsonb, since it digests rows by them.
"""

import hashlib
import json
import re
from decimal import Decimal
from typing import Any, Final

from imgmig_dagster.mapping.rows import Item

_SETS: Final = frozenset({"SS", "NS", "BS"})
# Decimal accepts more: spaces, underscores, the digits of other scripts, infinity. No item can hold an exponent of four
# digits, not even for zero.
_NUMBER: Final = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[Ee][+-]?0*[0-9]{1,3})?")
# PostgreSQL's numeric, and so jsonb, has this many places before and after the point.
_MOST_PLACES: Final = 131_072
_MOST_DECIMALS: Final = 16_383


class Number(str):
    """A JSON number in its plain spelling."""

    __slots__ = ()


def canonical_item(item: Item) -> bytes:
    """The item as JSON: names sorted, no white space, sets in order (DynamoDB does not keep their order)."""
    ordered = {name: _ordered(value) for name, value in item.items()}
    return json.dumps(ordered, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode(
        "utf-8", "surrogatepass"
    )


def short_hash(content: bytes) -> int:
    """The first 8 bytes of a SHA-256, as a signed big-endian number, which PostgreSQL can sum up."""
    return int.from_bytes(hashlib.sha256(content).digest()[:8], "big", signed=True)


def plain(text: str) -> Number:
    """A number in plain decimal: no exponent, no needless zeros, no point without digits, no -0.

    Raises:
        ValueError: it is not a number, or beyond PostgreSQL's numeric.
    """
    if text.isdigit() and text.isascii() and text[0] != "0":
        return Number(text)
    if _NUMBER.fullmatch(text) is None:
        raise ValueError("no number")
    number = Decimal(text)
    if not number:
        return Number("0")
    if not -_MOST_DECIMALS <= number.adjusted() < _MOST_PLACES:
        raise ValueError("beyond numeric")
    spelled = format(number, "f")
    return Number(spelled.rstrip("0").rstrip(".") if "." in spelled else spelled)


def parsed_json(text: str) -> Any:
    """A JSON document as values of Python, its numbers as `Number`. If a name occurs twice, the last one counts.

    Raises:
        ValueError: it is not JSON, or PostgreSQL's jsonb does not hold it.
    """
    try:
        found = _JSON.decode(text)
        if "\\u" in text:
            canonical_json(found).encode()  # half of a surrogate pair has no form in UTF-8
            if "\\u0000" in text and _has_nul(found):
                raise ValueError("a NUL character")
    except RecursionError:
        raise ValueError("nested too deep") from None
    return found


def canonical_json(value: Any) -> str:
    """A document as PostgreSQL's jsonb is spelled: names by their length in bytes, then by their bytes."""
    if value.__class__ is str:
        return _quoted(value)
    if isinstance(value, Number):
        return value
    if isinstance(value, dict):
        names = sorted(value, key=_by_length)
        return "{" + ", ".join(f"{_quoted(name)}: {canonical_json(value[name])}" for name in names) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(canonical_json, value)) + "]"
    return "null" if value is None else "true" if value else "false"


def _by_length(name: str) -> tuple[int, bytes]:
    encoded = name.encode("utf-8", "surrogatepass")
    return len(encoded), encoded


def _quoted(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_JSON: Final = json.JSONDecoder(parse_int=plain, parse_float=plain, parse_constant=_no_constant)


def _has_nul(value: Any) -> bool:
    if isinstance(value, dict):
        return any("\0" in name or _has_nul(member) for name, member in value.items())
    if isinstance(value, list):
        return any(map(_has_nul, value))
    return isinstance(value, str) and "\0" in value


def _ordered(value: dict[str, Any]) -> dict[str, Any]:
    kind, content = next(iter(value.items()))
    if kind in _SETS:
        return {kind: sorted(content)}
    if kind == "L":
        return {kind: [_ordered(element) for element in content]}
    if kind == "M":
        return {kind: {name: _ordered(element) for name, element in content.items()}}
    return value
