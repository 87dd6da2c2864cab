"""Which attributes are keys of a table's indexes, and whether a mapping's items fit them."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.spec import TableMapping

_TYPES: Final = {
    **dict.fromkeys((FieldType.TEXT, FieldType.TIMESTAMP, FieldType.DATE, FieldType.LABEL), "S"),
    **dict.fromkeys((FieldType.INTEGER, FieldType.NUMBER, FieldType.EPOCH), "N"),
    FieldType.BOOLEAN: "BOOL",
    FieldType.DOCUMENT: "a document",
    FieldType.LIST: "L",
    FieldType.TEXT_SET: "SS",
    FieldType.NUMBER_SET: "NS",
    FieldType.BINARY: "B",
}


@dataclass(frozen=True)
class IndexKey:
    """An attribute that is a key of an index, and its type there."""

    index: str
    attribute: str
    type: str


def index_keys(described: Mapping[str, Any]) -> Iterator[IndexKey]:
    """The keys of all indexes of a table, as DescribeTable gives it."""
    types = {each["AttributeName"]: each["AttributeType"] for each in described["AttributeDefinitions"]}
    for index in indexes(described):
        for name in (each["AttributeName"] for each in index["KeySchema"]):
            yield IndexKey(index["IndexName"], name, types[name])


def indexes(described: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The indexes of a table, as DescribeTable gives it."""
    return [*described.get("GlobalSecondaryIndexes", []), *described.get("LocalSecondaryIndexes", [])]


def type_of(field: Field) -> str:
    """The DynamoDB type of a field's attribute."""
    return "M" if field.member is not None else _TYPES[field.type]


@dataclass(frozen=True)
class UnfitKeys:
    """Keys of indexes with which DynamoDB rejects items of the mapping, in words: all items, those of rows that are
    NULL there, or those of rows with an empty text or a long one."""

    wrong: Sequence[str]
    null: Sequence[str]
    unfit: Sequence[str]


def unfit_keys(keys: Iterable[IndexKey], mapping: TableMapping) -> UnfitKeys:
    """Compare the keys with what the mapping writes. Attributes that it does not write are skipped."""
    written = {each.attribute: _Written(next(iter(each.value))) for each in mapping.constants}
    if mapping.version is not None:
        written[mapping.version.attribute] = _Written("N")
    for field in mapping.fields:
        # A template adds text of its own to its columns' texts.
        may_be_empty = field.type in (FieldType.TEXT, FieldType.BINARY) and field.template is None
        written[field.attribute] = _Written(type_of(field), field.columns, field.null is Null.WRITTEN, may_be_empty)
    wrong, null, unfit = list[str](), list[str](), list[str]()
    for key in keys:
        if (found := written.get(key.attribute)) is None:
            continue
        columns = f" (column {', '.join(found.columns)})" if found.columns else ""
        place = f"{key.index} has the key {key.attribute}{columns}"
        if key.type != found.type:
            wrong.append(f"{place} of type {key.type}, and {found.type} is written")
        elif found.may_be_null:
            null.append(place)
        elif found.may_be_empty:
            unfit.append(place)
    return UnfitKeys(wrong, null, unfit)


@dataclass(frozen=True)
class _Written:
    """What is written to an attribute: DynamoDB's type, the columns, and whether it may be what no key may be."""

    type: str
    columns: tuple[str, ...] = ()
    may_be_null: bool = False
    may_be_empty: bool = False
