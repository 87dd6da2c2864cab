"""What the mapping needs to know about a source column: the fields it can fill and the key texts it can hold.

`values` reads each kind of column, `keyset` compares them.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.mapping.fields import Field, FieldType, Unit
from imgmig_dagster.mapping.types import AS
from imgmig_dagster.source.spellings import is_date, is_moment, is_numeric, matches

MAX_DIGITS: Final = 38
"""How many digits of a number DynamoDB keeps."""
_NUMERIC_HEADER: Final = 4
_NUMERIC_SCALE: Final = 0x7FF
_OWN: Final = "pg_catalog"


class ColumnKind(Enum):
    """Types that are read and compared the same way."""

    TEXT = "text"
    PADDED = "character(n)"
    """The padding is part of the value: PostgreSQL hands it to the application."""
    TEXT_LIKE = "text-like"
    """citext, name, and any other type that PostgreSQL counts among the string types."""
    ENUM = "enum"
    UUID = "uuid"
    WHOLE = "whole number"
    NUMERIC = "numeric"
    FLOAT = "floating-point number"
    BOOLEAN = "boolean"
    INSTANT = "timestamp with time zone"
    LOCAL = "timestamp without time zone"
    DATE = "date"
    JSON = "json"
    JSONB = "jsonb"
    ARRAY = "array"
    BINARY = "bytea"
    COMPOSITE = "composite type"
    OTHER = "other"
    """All other types: time, interval, inet, ranges, xml, money, ... Each has a text."""


_BUILT_IN: Final = {
    "text": ColumnKind.TEXT,
    "varchar": ColumnKind.TEXT,
    "bpchar": ColumnKind.PADDED,
    "uuid": ColumnKind.UUID,
    "int2": ColumnKind.WHOLE,
    "int4": ColumnKind.WHOLE,
    "int8": ColumnKind.WHOLE,
    "numeric": ColumnKind.NUMERIC,
    "float4": ColumnKind.FLOAT,
    "float8": ColumnKind.FLOAT,
    "bool": ColumnKind.BOOLEAN,
    "timestamptz": ColumnKind.INSTANT,
    "timestamp": ColumnKind.LOCAL,
    "date": ColumnKind.DATE,
    "json": ColumnKind.JSON,
    "jsonb": ColumnKind.JSONB,
    "bytea": ColumnKind.BINARY,
}
NATURAL: Final[Mapping[ColumnKind, FieldType]] = {
    ColumnKind.TEXT: FieldType.TEXT,
    ColumnKind.PADDED: FieldType.TEXT,
    ColumnKind.TEXT_LIKE: FieldType.TEXT,
    ColumnKind.ENUM: FieldType.TEXT,
    ColumnKind.UUID: FieldType.TEXT,
    ColumnKind.WHOLE: FieldType.INTEGER,
    ColumnKind.NUMERIC: FieldType.NUMBER,
    ColumnKind.FLOAT: FieldType.NUMBER,
    ColumnKind.BOOLEAN: FieldType.BOOLEAN,
    ColumnKind.INSTANT: FieldType.TIMESTAMP,
    ColumnKind.LOCAL: FieldType.TIMESTAMP,
    ColumnKind.DATE: FieldType.DATE,
    ColumnKind.JSON: FieldType.DOCUMENT,
    ColumnKind.JSONB: FieldType.DOCUMENT,
    ColumnKind.ARRAY: FieldType.LIST,
    ColumnKind.BINARY: FieldType.BINARY,
    ColumnKind.COMPOSITE: FieldType.TEXT,
    ColumnKind.OTHER: FieldType.TEXT,
}
"""The field type of a column if the declaration names none."""

_TEXTS: Final = frozenset(kind for kind, natural in NATURAL.items() if natural is FieldType.TEXT)
_NUMBERS: Final = frozenset({ColumnKind.WHOLE, ColumnKind.NUMERIC, ColumnKind.FLOAT})
_FILLS: Final[Mapping[FieldType, frozenset[ColumnKind]]] = {
    FieldType.TEXT: _TEXTS | {ColumnKind.WHOLE},
    FieldType.INTEGER: frozenset({ColumnKind.WHOLE, ColumnKind.NUMERIC}),
    FieldType.NUMBER: _NUMBERS,
    FieldType.BOOLEAN: frozenset({ColumnKind.BOOLEAN}),
    FieldType.TIMESTAMP: frozenset({ColumnKind.INSTANT, ColumnKind.LOCAL}),
    FieldType.EPOCH: frozenset({ColumnKind.INSTANT, ColumnKind.LOCAL}),
    FieldType.DATE: frozenset({ColumnKind.DATE}),
    FieldType.DOCUMENT: frozenset({ColumnKind.JSON, ColumnKind.JSONB}),
    FieldType.LIST: frozenset({ColumnKind.ARRAY}),
    FieldType.TEXT_SET: frozenset({ColumnKind.ARRAY}),
    FieldType.NUMBER_SET: frozenset({ColumnKind.ARRAY}),
    FieldType.BINARY: frozenset({ColumnKind.BINARY}),
    FieldType.LABEL: frozenset(ColumnKind),
}
# The elements of an array.
_OF_A_SET: Final[Mapping[FieldType, frozenset[ColumnKind]]] = {
    FieldType.TEXT_SET: (_TEXTS | {ColumnKind.INSTANT, ColumnKind.LOCAL, ColumnKind.DATE, ColumnKind.BINARY})
    - {ColumnKind.COMPOSITE},
    FieldType.NUMBER_SET: _NUMBERS,
}
_TIMES_BY_UNIT: Final = frozenset({ColumnKind.WHOLE, ColumnKind.NUMERIC})
_INSTANTS: Final = (FieldType.TIMESTAMP, FieldType.EPOCH)

ACCEPTED: Final[Mapping[FieldType, str]] = {
    FieldType.TEXT: "text, varchar, char, citext and other string types, uuid, enums, whole numbers, and what no other "
    "field takes",
    FieldType.INTEGER: "smallint, integer, bigint, numeric",
    FieldType.NUMBER: "smallint, integer, bigint, numeric, real, double precision",
    FieldType.BOOLEAN: "boolean",
    FieldType.TIMESTAMP: "timestamp with or without time zone, whole numbers and numeric with a unit",
    FieldType.EPOCH: "timestamp with or without time zone, whole numbers and numeric with a unit",
    FieldType.DATE: "date",
    FieldType.DOCUMENT: "json, jsonb",
    FieldType.LIST: "arrays",
    FieldType.TEXT_SET: "arrays of texts",
    FieldType.NUMBER_SET: "arrays of numbers",
    FieldType.BINARY: "bytea",
    FieldType.LABEL: "every type",
}
"""The types that a field accepts, for people. Domains over them are accepted too."""


@dataclass(frozen=True)
class Column:
    """A column as the catalog describes it.

    `shown` is PostgreSQL's name of its type. `schema` and `type_name` name the base type if the type is a domain.
    `element` is the kind of an array's elements. `scale` is the declared scale of a numeric column. The schema
    `operators` holds its comparison operators.
    """

    name: str
    shown: str
    required: bool
    schema: str
    type_name: str
    kind: ColumnKind
    scale: int | None = None
    element: ColumnKind | None = None
    operators: str = _OWN

    def fills(self, field: Field) -> bool:
        """Whether a field can be read from this column without loss, and is probably what the declaration means."""
        if field.column_unit is not None:
            return field.type in _INSTANTS and self.kind in _TIMES_BY_UNIT
        if field.type in _OF_A_SET:
            return self.kind is ColumnKind.ARRAY and self.element in _OF_A_SET[field.type]
        if field.type is FieldType.TEXT and (field.as_text or field.template is not None or self.scale == 0):
            return True
        # A date counts as a time only where it puts rows in order.
        return self.kind in _FILLS[field.type] or (
            field.type in _INSTANTS and not field.attribute and self.kind is ColumnKind.DATE
        )

    def remedy(self, field: Field) -> str:
        """What to declare instead of a field that this column does not fill."""
        view = "make a view that casts it, and name that by `table` in the declaration"
        if field.type in _INSTANTS and self.kind in _TIMES_BY_UNIT:
            return f"say which time the number is: {{column: {self.name}, unit: s}}, ms or us; or {view}"
        if not field.attribute or natural(self) is field.type:
            return view
        return f"write {field.name}: {{column: {self.name}, as: {AS[natural(self)]}}}, or {view}"

    def orders_by(self, unit: Unit) -> bool:
        """Whether each of its numbers, in that unit, is a whole number of microseconds."""
        is_exact = self.scale is not None and unit.microseconds % 10 ** max(self.scale, 0) == 0
        return self.kind is not ColumnKind.NUMERIC or is_exact

    @property
    def type(self) -> sql.Composable:
        """The base type, for a cast. It has no length: a cast to `character` would cut the text to one character.

        For whole numbers it is the widest type, which compares with all of them: a column may be widened during a run.
        """
        return sql.Identifier(self.schema, "int8" if self.kind is ColumnKind.WHOLE else self.type_name)

    @property
    def has_own_operators(self) -> bool:
        """Whether its comparison operators are an extension's, which the role's search_path may not reach."""
        return self.operators != _OWN

    @property
    def is_cast(self) -> bool:
        """Whether each text that it `can_hold` can be cast to it. Otherwise rows are looked up by their text."""
        return self.kind in _HELD

    def can_hold(self, text: str) -> bool:
        """Whether a row may have this text. A key from the target may not: PostgreSQL would refuse to look it up."""
        return _HELD.get(self.kind, _is_text)(text)


def natural(column: Column) -> FieldType:
    """The type that a draft declares for a field of this column."""
    return NATURAL[column.kind]


def column_of(
    name: str,
    shown: str,
    required: bool,
    schema: str,
    type_name: str,
    form: str,
    category: str,
    modifier: int,
    operators: str | None = None,
    *element: Any,
) -> Column:
    """The column that a row of the catalog describes; `form` and `category` are `pg_type.typtype` and `typcategory`.

    `element` is the schema, name, form and category of an array's elements.
    """
    kind, scale = _kind_of(schema, type_name, form, category), None
    if kind is ColumnKind.NUMERIC and modifier >= _NUMERIC_HEADER:
        found = (modifier - _NUMERIC_HEADER) & _NUMERIC_SCALE
        scale = found - (_NUMERIC_SCALE + 1) if found > _NUMERIC_SCALE // 2 else found  # it may be negative
    of = _kind_of(*element) if kind is ColumnKind.ARRAY else None
    return Column(name, shown, required, schema, type_name, kind, scale, of, operators or _OWN)


def _kind_of(schema: str, type_name: str, form: str, category: str) -> ColumnKind:
    if schema == _OWN and type_name in _BUILT_IN:
        return _BUILT_IN[type_name]
    if form in ("e", "c"):
        return ColumnKind.ENUM if form == "e" else ColumnKind.COMPOSITE
    return {"S": ColumnKind.TEXT_LIKE, "A": ColumnKind.ARRAY}.get(category, ColumnKind.OTHER)


def _is_text(text: str) -> bool:
    return "\0" not in text


# As PostgreSQL writes them: another spelling of the same number makes another key.
_is_whole: Final = matches(r"0|-?[1-9][0-9]{0,37}")


def _is_bigint(text: str) -> bool:
    return _is_whole(text) and -(2**63) <= int(text) < 2**63


_HELD: Final[Mapping[ColumnKind, Callable[[str], bool]]] = {
    ColumnKind.TEXT: _is_text,
    ColumnKind.PADDED: _is_text,
    ColumnKind.TEXT_LIKE: _is_text,
    ColumnKind.WHOLE: _is_bigint,
    ColumnKind.NUMERIC: is_numeric,
    ColumnKind.UUID: matches(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    ColumnKind.BOOLEAN: matches("true|false"),
    ColumnKind.BINARY: matches(r"\\x([0-9a-f]{2})*"),
    ColumnKind.DATE: is_date,
    ColumnKind.INSTANT: is_moment,
    ColumnKind.LOCAL: is_moment,
}
"""By kind, which texts the column can hold. Each of its values is among them."""
