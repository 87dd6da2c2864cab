"""The digest of a row, as PostgreSQL computes it: what is hashed, and the SQL that hashes it.

``docs/recheck.md`` defines it. `mapping.compare.item_digest` computes the same of an item, with separate code. `values`
gives the pieces of SQL for each column.
"""

from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Final

from psycopg import sql

from imgmig_dagster.mapping.fields import Field, FieldType, Unit
from imgmig_dagster.source.columns import ColumnKind
from imgmig_dagster.source.json_digest_sql import CANONICAL, JSON_CONTENT, ONLY_ASCII_ESCAPES, SET_CONTENT, UNFIT
from imgmig_dagster.source.values import Values

# Full names, since a role's search_path may hold other functions. SHA-256, since a server in FIPS mode refuses md5().
_DIGEST: Final = sql.SQL(
    "('x' || pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256({content}), 1, 8), 'hex'))::bit(64)::bigint"
)
_TEXT: Final = sql.SQL("coalesce('S' || octet_length({value}) || ':' || {value}, '-')")
_NUMBER: Final = sql.SQL("coalesce('N' || {value}::text || ';', '-')")
# Trailing zeros are not part of the number; NaN and infinity stay what they are when truncated.
_NUMERIC: Final = sql.SQL(
    "coalesce('N' || CASE WHEN {value} = pg_catalog.trunc({value}) THEN pg_catalog.trunc({value})"
    " ELSE {value} END::text || ';', '-')"
)
_TRIMMED: Final = sql.SQL("coalesce('N' || pg_catalog.trim_scale({value}::numeric)::text || ';', '-')")
# An element may itself be an array, which no set can hold and no cast accepts.
_ELEMENT: Final = "CASE WHEN element ~ '^-?[0-9]' THEN pg_catalog.trim_scale(element::numeric)::text ELSE element END"
_BOOLEAN: Final = sql.SQL("CASE WHEN {value} THEN 'Bt;' WHEN NOT {value} THEN 'Bf;' ELSE '-' END")
# Cut to the unit first, towards the past: if extract() returns a double, it is then exact.
_TIMESTAMP: Final = (
    "coalesce('T' || CASE WHEN isfinite({{value}})"
    " THEN (extract(epoch FROM pg_catalog.date_trunc('{unit}', {{value}})) * {per_second})::{type}::text"
    " ELSE {{value}}::text END || ';', '-')"
)
_BY_UNIT: Final = {
    Unit.SECONDS: sql.SQL(_TIMESTAMP.format(unit="second", per_second=1, type="bigint")),
    Unit.MILLISECONDS: sql.SQL(_TIMESTAMP.format(unit="milliseconds", per_second=1000, type="bigint")),
    # In the last years they exceed a bigint.
    Unit.MICROSECONDS: sql.SQL(_TIMESTAMP.format(unit="microseconds", per_second=1_000_000, type="numeric(30, 0)")),
}
_COUNTED: Final = sql.SQL("coalesce('T' || pg_catalog.floor({value} * {factor})::text || ';', '-')")
_DATE: Final = sql.SQL("coalesce('D' || {value} || ';', '-')")
_BINARY: Final = sql.SQL("coalesce('X' || {value} || ';', '-')")


def field_content(values: Values, field: Field) -> sql.Composed:
    """A field's part of what is hashed."""
    return _CONTENT[field.type](values, field)


def text_content(text: sql.Composable) -> sql.Composed:
    """A text's part of what is hashed."""
    return _TEXT.format(value=text)


def row_digest(content: sql.Composable) -> sql.Composed:
    """The digest of a row, a signed number of 64 bits, from the bytes that are hashed."""
    return _DIGEST.format(content=content)


def _of_text(values: Values, field: Field) -> sql.Composed:
    return text_content(values.text(field.column) if field.template is None else values.rendered(field.template))


def _of_integer(values: Values, field: Field) -> sql.Composed:
    is_numeric = values.kind(field.column) is ColumnKind.NUMERIC
    return (_NUMERIC if is_numeric else _NUMBER).format(value=values.bare(field.column))


def _of_number(values: Values, field: Field) -> sql.Composed:
    kind, value = values.kind(field.column), values.bare(field.column)
    if kind is ColumnKind.WHOLE:
        return _NUMBER.format(value=value)
    # A direct cast of a double would round to 15 digits.
    return _TRIMMED.format(value=values.text(field.column) if kind is ColumnKind.FLOAT else value)


def _of_time(values: Values, field: Field) -> sql.Composed:
    unit = field.unit if field.type is FieldType.EPOCH else Unit.MILLISECONDS
    if field.column_unit is None:
        return _BY_UNIT[unit].format(value=values.moment(field.column))
    factor = Decimal(field.column_unit.microseconds) / unit.microseconds
    number = sql.SQL("{}::numeric").format(values.bare(field.column))
    return _COUNTED.format(value=number, factor=sql.SQL(f"{factor:f}"))


def _of_json(values: Values, field: Field) -> sql.Composed:
    escapes = sql.SQL(" OR {}").format(sql.SQL(ONLY_ASCII_ESCAPES)) if values.bytes_for_text else sql.SQL("")
    unfit = sql.SQL(UNFIT).format(or_escapes=escapes)
    return sql.SQL(JSON_CONTENT).format(value=values.unencoded(field), unfit=unfit, canonical=sql.SQL(CANONICAL))


def _of_set(values: Values, field: Field) -> sql.Composed:
    element = "element" if field.type is FieldType.TEXT_SET else _ELEMENT
    return sql.SQL(SET_CONTENT).format(array=values.bare(field.column), element=sql.SQL(element))


def _plain(template: sql.SQL) -> Callable[[Values, Field], sql.Composed]:
    return lambda values, field: template.format(value=values.unencoded(field))


_CONTENT: Final[Mapping[FieldType, Callable[[Values, Field], sql.Composed]]] = {
    FieldType.TEXT: _of_text,
    FieldType.LABEL: _of_text,
    FieldType.INTEGER: _of_integer,
    FieldType.NUMBER: _of_number,
    FieldType.BOOLEAN: _plain(_BOOLEAN),
    FieldType.TIMESTAMP: _of_time,
    FieldType.EPOCH: _of_time,
    FieldType.DATE: _plain(_DATE),
    FieldType.DOCUMENT: _of_json,
    FieldType.LIST: _of_json,
    FieldType.TEXT_SET: _of_set,
    FieldType.NUMBER_SET: _of_set,
    FieldType.BINARY: _plain(_BINARY),
}
