"""Makes an item of a row, or a rejection that says which field is at fault and why.

`encoders` makes the attribute of one value, `keys` the key; `sizes` measures the item.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from operator import itemgetter
from typing import Any, Final, NamedTuple

from imgmig_dagster.mapping.documents import Attribute
from imgmig_dagster.mapping.encoders import Encoder, encoder
from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.rows import Item, Row, Value
from imgmig_dagster.mapping.sizes import MAX_ITEM_BYTES, MAX_PARTITION_KEY_BYTES, MAX_SORT_KEY_BYTES, item_bytes
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.unfit import KEY_EMPTY, NOT_TEXT, NULL_IN_REQUIRED_FIELD, Unfit

NULL: Final[dict[str, Any]] = {"NULL": True}

# These values are as long as the row's text; every other one takes at most this many bytes.
_LONG: Final = frozenset(
    {
        FieldType.TEXT,
        FieldType.DOCUMENT,
        FieldType.LIST,
        FieldType.TEXT_SET,
        FieldType.NUMBER_SET,
        FieldType.BINARY,
    }
)
_SHORT_BYTES: Final = 32


@dataclass(frozen=True)
class Rejection:
    """A row that can never be written as it is.

    `field` is a source column, or None where the whole item is at fault. `reason` describes the fault without
    the value: it is shown in the ledger and in Dagster.
    """

    row_id: str
    field: str | None
    code: str
    reason: str


class _Part(NamedTuple):
    """One attribute: the place of its value in a row after the id, or its members' values; NULL; its column."""

    attribute: str
    place: Any
    encode: Encoder
    null: Attribute | None
    is_required: bool
    column: str

    def null_written(self) -> Attribute | None:
        """What is written for NULL; None if it is left out."""
        if self.is_required:
            raise Unfit(*NULL_IN_REQUIRED_FIELD)
        return self.null


def transformer(mapping: TableMapping) -> Callable[[Row], Item | Rejection]:
    """Compile the function that turns one row of `mapping` into its item.

    The declaration is resolved once, not per row: this is the hot path of the migration.
    """
    parts = {part.attribute: part for part in _parts(mapping.fields)}
    plan = [(part.attribute, part.place, part.encode) for part in parts.values()]
    width = 1 + len(mapping.readings)
    key, key_fault, key_column = mapping.key, mapping.key_fault, ", ".join(mapping.key_columns)
    constants = {each.attribute: dict(each.value) for each in mapping.constants}
    version = {} if mapping.version is None else {mapping.version.attribute: {"N": str(mapping.version.initial)}}
    always: Item = constants | version
    # The id is a text. If a row has no other text, its characters are picked: they are as many.
    long_values = itemgetter(0, *(1 + at for at, field in enumerate(mapping.fields) if field.type in _LONG))
    # A character takes at most four bytes, so only very long texts are measured exactly.
    long_length = (MAX_ITEM_BYTES - _most_short_bytes(mapping, always)) // 4

    def transform(row: Row) -> Item | Rejection:
        if len(row) != width:
            raise ValueError(f"a row has {len(row)} values, and the mapping reads {width}")
        row_id: Any = row[0]
        if row_id and row_id.__class__ is str:
            fault = key_fault(row_id)
        else:
            row_id, fault = row.id, _no_id(row_id)
        if fault is not None:
            return Rejection(row_id, key_column, *fault)
        item, values = key(row_id), row[1:]
        attribute = ""
        try:
            for attribute, place, encode in plan:
                value = values[place]
                found = None if value is None else encode(value)
                if found is None:
                    found = parts[attribute].null_written()
                    if found is None:
                        continue
                item[attribute] = found
        except Unfit as unfit:
            return Rejection(row_id, unfit.column or parts[attribute].column, unfit.code, unfit.reason)
        item |= always
        try:
            length = sum(map(len, long_values(row)))
        except TypeError:  # a NULL is among them
            length = sum(map(len, filter(None, long_values(row))))
        return item if length <= long_length else _unless_too_large(row_id, item)

    return transform


def _no_id(value: Value) -> tuple[str, str]:
    if value is None:
        return NULL_IN_REQUIRED_FIELD
    return NOT_TEXT if value else KEY_EMPTY


def _parts(fields: Sequence[Field]) -> list[_Part]:
    parts, place = [], 0
    for _name, group in groupby(fields, lambda field: (field.attribute, field.member is None)):
        of_one = list(group)
        parts.append(_part(of_one[0], place) if of_one[0].member is None else _map(of_one, place))
        place += len(of_one)
    if len({part.attribute for part in parts}) < len(parts):
        raise ValueError("the members of a map have to be together, and no attribute may be there twice")
    return parts


def _part(field: Field, place: Any) -> _Part:
    null = NULL if field.null is Null.WRITTEN else None
    return _Part(field.name, place, encoder(field), null, field.null is Null.REJECTED, field.column)


def _map(fields: Sequence[Field], place: int) -> _Part:
    """A map. It is NULL as a whole if all its members are."""
    members = [(str(field.member), _part(field, at)) for at, field in enumerate(fields)]

    def encode(values: Sequence[Any]) -> Attribute | None:
        found: Item = {}
        is_null = True
        for name, member in members:
            value = values[member.place]
            try:
                attribute = None if value is None else member.encode(value)
            except Unfit as unfit:
                raise Unfit(unfit.code, unfit.reason, member.column) from None
            if attribute is None and member.is_required:
                raise Unfit(*NULL_IN_REQUIRED_FIELD, member.column)
            is_null = is_null and attribute is None
            if attribute is not None or member.null is not None:
                found[name] = attribute or NULL
        return None if is_null else {"M": found}

    null = NULL if any(member.null for _name, member in members) else None
    attribute, column = fields[0].attribute, fields[0].column
    return _Part(attribute, slice(place, place + len(fields)), encode, null, False, column)


def _most_short_bytes(mapping: TableMapping, always: Mapping[str, Attribute]) -> int:
    """How much an item may take without its long values: names, keys, and values of bounded length."""
    names = sum(len(f"{field.name}{field.attribute}".encode()) for field in mapping.fields)
    labels = sum(max((len(written.encode()) for _text, written in field.labels), default=0) for field in mapping.fields)
    keys = MAX_PARTITION_KEY_BYTES + MAX_SORT_KEY_BYTES + sum(len(name.encode()) for name in mapping.key_attributes)
    return names + labels + keys + _SHORT_BYTES * len(mapping.fields) + item_bytes(dict(always))


def _unless_too_large(row_id: str, item: Item) -> Item | Rejection:
    if (size := item_bytes(item)) <= MAX_ITEM_BYTES:
        return item
    reason = f"the item has {size:,} bytes; DynamoDB takes {MAX_ITEM_BYTES:,}"
    return Rejection(row_id, None, "item_too_large", reason)
