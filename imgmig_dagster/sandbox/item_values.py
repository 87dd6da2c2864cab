"""What an application writes for a row. Shares no code with transform and comparison, so that it checks both.

`selection` gives the SQL expressions that an application would read; `attributes` makes the item's values from them,
for boto3. `declared_records` chooses the rows.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Final, TypeAlias

from psycopg import sql

from imgmig_dagster.mapping.fields import Field, FieldType, Null
from imgmig_dagster.mapping.rows import Item

Attribute: TypeAlias = dict[str, Any]

_NULL: Final[Attribute] = {"NULL": True}


class Unwritable(Exception):
    """A row that an application could not write either: DynamoDB has no such value."""


def selection(field: Field) -> list[sql.Composable]:
    """What is read of a row for the field: each as text, or NULL."""
    if field.template is not None:
        return [as_text(column) for column in field.template.columns]
    column = sql.Identifier(field.column)
    if field.type in (FieldType.TIMESTAMP, FieldType.EPOCH):
        if field.column_unit is not None:
            return [sql.SQL("({}::numeric * {})::text").format(column, sql.Literal(field.column_unit.microseconds))]
        return [sql.SQL("(extract(epoch FROM {}) * 1000000)::text").format(column)]
    if field.type in (FieldType.LIST, FieldType.TEXT_SET, FieldType.NUMBER_SET):
        return [sql.SQL("array_to_json({})::text").format(column)]
    if field.type is FieldType.BINARY:
        return [sql.SQL("encode({}, 'hex')").format(column)]
    return [as_text(field.column)]


def attributes(fields: Sequence[Field], read: Mapping[Field, Sequence[str | None]]) -> Item:
    """The values of these attributes; an empty one is to be left out.

    Raises:
        Unwritable: DynamoDB cannot hold one of them.
    """
    found: Item = {}
    for field in fields:
        value = _attribute(field, read[field])
        if field.member is None:
            found[field.attribute] = value
        elif value:
            found.setdefault(field.attribute, {"M": {}})["M"][field.member] = value
    for field in fields:
        if field.member is not None:
            members = found.get(field.attribute, {}).get("M", {})
            if all(value == _NULL for value in members.values()):
                found[field.attribute] = _NULL if members else {}
    return found


def as_text(column: str) -> sql.Composable:
    """A column as the text of it."""
    # A cast of character(n) would strip its padding, which every driver hands out.
    return sql.SQL("CASE WHEN pg_typeof({0}) = 'character'::regtype THEN concat({0}) ELSE {0}::text END").format(
        sql.Identifier(column)
    )


def _attribute(field: Field, texts: Sequence[str | None]) -> Attribute:
    present = [text for text in texts if text is not None]
    if len(present) < len(texts):
        if field.null is Null.REJECTED:
            raise Unwritable(field.name)
        return _NULL if field.null is Null.WRITTEN else {}
    if field.template is not None:
        return {"S": field.template.render(dict(zip(field.template.columns, present, strict=True)))}
    if field.type is FieldType.LABEL and present[0] not in dict(field.labels):
        raise Unwritable(field.name)
    try:
        made = _MADE[field.type](present[0], field)
    except (ValueError, OverflowError):  # infinity, NaN, a year of five digits, an empty set
        raise Unwritable(field.name) from None
    return _NULL if made == _NULL and field.null is Null.WRITTEN else made


def _number(text: str) -> Attribute:
    if not text.strip("-").replace(".", "").replace("e+", "").replace("e-", "").isdigit():
        raise ValueError(text)
    return {"N": text}


def _iso(text: str) -> Attribute:
    """By JavaScript's toISOString(): milliseconds, cut."""
    milliseconds = int(text.partition(".")[0]) // 1_000
    moment = datetime(1970, 1, 1) + timedelta(milliseconds=milliseconds)
    return {"S": f"{moment.isoformat(timespec='milliseconds')}Z"}


def _epoch(text: str, field: Field) -> Attribute:
    return {"N": str((int(text.partition(".")[0]) + field.plus_us) // field.unit.microseconds)}


def _document(value: Any) -> Attribute:
    if value is None:
        return _NULL
    if isinstance(value, bool):
        return {"BOOL": value}
    if isinstance(value, _Number):
        return {"N": str(value)}
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [_document(each) for each in value]}
    return {"M": {name: _document(each) for name, each in value.items()}}


class _Number(str):
    """A number of a document, as it is spelled there."""

    __slots__ = ()


def _parsed(text: str) -> Any:
    return json.loads(text, parse_int=_Number, parse_float=_Number)


def _set(kind: str, text: str) -> Attribute:
    elements = _parsed(text)
    if not elements or None in elements or len({*elements}) < len(elements):
        raise ValueError(text)
    return {kind: sorted(map(str, elements))}


_MADE: Final[Mapping[FieldType, Callable[[str, Field], Attribute]]] = {
    FieldType.TEXT: lambda text, _field: {"S": text},
    FieldType.INTEGER: lambda text, _field: _number(text),
    FieldType.NUMBER: lambda text, _field: _number(text),
    FieldType.BOOLEAN: lambda text, _field: {"BOOL": text == "true"},
    FieldType.TIMESTAMP: lambda text, _field: _iso(text),
    FieldType.EPOCH: _epoch,
    FieldType.DATE: lambda text, _field: {"S": text},
    FieldType.DOCUMENT: lambda text, _field: _document(_parsed(text)),
    FieldType.LIST: lambda text, _field: _document(_parsed(text)),
    FieldType.TEXT_SET: lambda text, _field: _set("SS", text),
    FieldType.NUMBER_SET: lambda text, _field: _set("NS", text),
    FieldType.BINARY: lambda text, _field: {"B": bytes.fromhex(text)},
    FieldType.LABEL: lambda text, field: {"S": dict(field.labels)[text]},
}
