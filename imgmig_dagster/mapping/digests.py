"""The digests of rows and items by which the census compares the two, as ``docs/recheck.md`` defines them.

`source.row_digest_sql` has PostgreSQL compute the same of a row. `decoders` says what a value means.
"""

import re
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, Protocol

from imgmig_dagster.mapping.canonical import plain, short_hash
from imgmig_dagster.mapping.decoders import Undecodable, meaning
from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.mapping.rows import INFINITY, MINUS_INFINITY, Item, Row, Value
from imgmig_dagster.mapping.spec import TableMapping

_MILLISECOND_US: Final = 1_000
_HEADS_UNTIL: Final = 256
_HEADS: Final = tuple(b"S%d:" % size for size in range(_HEADS_UNTIL))  # formatting takes most of a short text's time
# As `str` writes it, with the digits that a number of DynamoDB has.
_PLAIN_INTEGER: Final = re.compile(r"0|-?[1-9][0-9]{0,37}")


class ItemDigest(Protocol):
    """Digests an item; see `item_digester`."""

    def __call__(self, item: Item, row_id: str | None = None) -> int:
        """The item's digest; `row_id` is its `TableMapping.row_id`, if that is known already."""


def row_digester(mapping: TableMapping) -> Callable[[Row], int]:
    """Compile a function that digests a row's id and content as an item should hold it; see `item_digester`.

    A difference is a candidate for a second look, since timestamps may differ within their tolerance.
    """
    width = 1 + len(mapping.readings)
    fields = [(meaning(field).of_row, _CONTENTS[field.type]) for field in mapping.fields]

    def digest(row: Row) -> int:
        if len(row) != width:
            raise ValueError(f"a row has {len(row)} values, and the mapping reads {width}")
        parts = [_text(row[0])]
        for (of_row, content), value in zip(fields, row[1:], strict=False):
            known = value if of_row is None or value is None else of_row(value)
            parts.append(b"-" if known is None else content(known))
        return short_hash(b"".join(parts))

    return digest


def item_digester(mapping: TableMapping) -> ItemDigest:
    """Compile a function that digests an item's key and declared content: a signed number of 64 bits.

    Timestamps are cut to milliseconds. Equals the digest that PostgreSQL computes of the row (`source.row_digest_sql`).
    """
    readers = [(field.attribute, _spelled(field), _reader(field)) for field in mapping.fields]
    id_of = mapping.row_id

    def digest(item: Item, row_id: str | None = None) -> int:
        found = id_of(item) if row_id is None else row_id
        parts = [b"-" if found is None else _text(found)]
        add, get = parts.append, item.get
        for name, spelled, read in readers:
            attribute = get(name)
            if attribute is None:
                add(b"-")
            elif spelled == "S" and (text := attribute.get("S")).__class__ is str:
                content = text.encode("utf-8", "surrogatepass")
                size = len(content)
                add(_HEADS[size] if size < _HEADS_UNTIL else b"S%d:" % size)
                add(content)
            elif spelled == "N" and (digits := attribute.get("N")) and _PLAIN_INTEGER.fullmatch(digits):
                add(b"N%b;" % digits.encode())
            else:
                add(read(attribute))
        return short_hash(b"".join(parts))

    return digest


def _spelled(field: Field) -> str | None:
    """The type of an attribute that is spelled as it is digested, or nearly always so: it need not be decoded."""
    return {FieldType.TEXT: "S", FieldType.INTEGER: "N"}.get(field.type) if field.member is None else None


def _reader(field: Field) -> Callable[[dict[str, Any]], bytes]:
    """What reads the content of a field out of its attribute, of a member out of the map."""
    content_of = _content_of(field)
    if field.member is None:
        return content_of

    def read_member(attribute: dict[str, Any]) -> bytes:
        member = field.of({field.attribute: attribute})
        return b"-" if member is None else content_of(member)

    return read_member


def _content_of(field: Field) -> Callable[[Mapping[str, Any]], bytes]:
    of_item, content = meaning(field).of_item, _CONTENTS[field.type]

    def content_of(attribute: Mapping[str, Any]) -> bytes:
        try:
            value = of_item(attribute)
        except Undecodable:
            return b"?" + repr(attribute).encode("utf-8", "surrogatepass")  # what no row holds
        return b"-" if value is None else content(value)

    return content_of


def _text(value: Value) -> bytes:
    text = value if isinstance(value, bytes) else str(value).encode("utf-8", "surrogatepass")
    return (_HEADS[len(text)] if len(text) < _HEADS_UNTIL else b"S%d:" % len(text)) + text


def _number(value: Value) -> bytes:
    return b"N%b;" % str(value).encode()


def _integer(value: Value) -> bytes:
    if isinstance(value, str):  # a numeric that is not whole
        with suppress(ValueError):  # NaN and infinity have no other spelling
            value = plain(value)
    return _number(value)


def _timestamp(value: Any) -> bytes:
    if value in (INFINITY, MINUS_INFINITY):
        return b"Tinfinity;" if value == INFINITY else b"T-infinity;"
    if not isinstance(value, int):  # a number that is no time
        return b"T%b;" % str(value).encode()
    return b"T%d;" % (value // _MILLISECOND_US)


def _json(value: Value) -> bytes:
    if isinstance(value, bytes):  # what jsonb does not hold
        return b"J?%d:%b" % (len(value), value)
    text = str(value).encode("utf-8", "surrogatepass")
    return b"J%d:%b" % (len(text), text)


_CONTENTS: Final[Mapping[FieldType, Callable[[Any], bytes]]] = {
    FieldType.TEXT: _text,
    FieldType.INTEGER: _integer,
    FieldType.NUMBER: _number,
    FieldType.BOOLEAN: lambda value: b"Bt;" if value else b"Bf;",
    FieldType.TIMESTAMP: _timestamp,
    FieldType.EPOCH: lambda value: b"T%b;" % str(value).encode(),
    FieldType.DATE: lambda value: b"D%b;" % str(value).encode(),
    FieldType.DOCUMENT: _json,
    FieldType.LIST: _json,
    FieldType.TEXT_SET: _json,
    FieldType.NUMBER_SET: _json,
    FieldType.BINARY: lambda value: b"X%b;" % str(value).encode(),
    FieldType.LABEL: _text,
}
