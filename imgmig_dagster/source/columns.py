"""What a column of the source is to the mapping: which fields it can fill, and which ids it can hold.

How it is read and compared in SQL is in `expressions`.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final

from psycopg import sql

from imgmig_dagster.mapping.fields import FieldType

# As PostgreSQL writes them: another spelling of the same id makes another key.
_WHOLE_ID: Final = re.compile(r"0|-?[1-9][0-9]{0,37}")
_UUID_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
MAX_DIGITS: Final = 38
"""What DynamoDB keeps of a number."""
_NUMERIC_HEADER: Final = 4
_NUMERIC_SCALE: Final = 0x7FF


class Kind(Enum):
    """A family of types that are read and compared alike."""

    TEXT = "text"
    PADDED = "character(n)"
    """Its padding is part of the value: that is what PostgreSQL hands to the application."""
    TEXT_LIKE = "text-like"
    """citext, name, and whatever else PostgreSQL counts among the string types."""
    ENUM = "enum"
    UUID = "uuid"
    WHOLE = "whole number"
    NUMERIC = "numeric"
    INSTANT = "timestamp with time zone"
    LOCAL = "timestamp without time zone"
    OTHER = "other"


_BUILT_IN: Final = {
    "text": Kind.TEXT,
    "varchar": Kind.TEXT,
    "bpchar": Kind.PADDED,
    "uuid": Kind.UUID,
    "int2": Kind.WHOLE,
    "int4": Kind.WHOLE,
    "int8": Kind.WHOLE,
    "numeric": Kind.NUMERIC,
    "timestamptz": Kind.INSTANT,
    "timestamp": Kind.LOCAL,
}
_FILLS: Final[Mapping[FieldType, frozenset[Kind]]] = {
    FieldType.TEXT: frozenset({Kind.TEXT, Kind.PADDED, Kind.TEXT_LIKE, Kind.ENUM, Kind.UUID, Kind.WHOLE}),
    FieldType.INTEGER: frozenset({Kind.WHOLE, Kind.NUMERIC}),
    FieldType.TIMESTAMP: frozenset({Kind.INSTANT, Kind.LOCAL}),
}
ACCEPTED: Final[Mapping[FieldType, str]] = {
    FieldType.TEXT: "text, varchar, char, citext and other string types, uuid, enums, whole numbers",
    FieldType.INTEGER: "smallint, integer, bigint, numeric",
    FieldType.TIMESTAMP: "timestamp with or without time zone",
}
"""The types that a field takes, for people; domains over them too."""


@dataclass(frozen=True)
class Column:
    """A column as the catalog describes it.

    `shown` is PostgreSQL's name of its type. `schema` and `type_name` are of the type behind it, where that is a
    domain. `whole` says that a numeric column keeps no fraction.
    """

    name: str
    shown: str
    required: bool
    schema: str
    type_name: str
    kind: Kind
    whole: bool

    def fills(self, field: FieldType) -> bool:
        """Whether a field of that type can be read from this column without loss."""
        return self.kind in _FILLS[field] or (field is FieldType.TEXT and self.kind is Kind.NUMERIC and self.whole)

    @property
    def type(self) -> sql.Composable:
        """The type behind the column, for a cast. It has no length: a cast to `character` would cut to one.

        Of whole numbers the widest, which PostgreSQL compares with all of them: a column may be widened meanwhile.
        """
        return sql.Identifier(self.schema, "int8" if self.kind is Kind.WHOLE else self.type_name)

    @property
    def has_own_operators(self) -> bool:
        """Whether its comparisons are an extension's, which the role's search_path may not reach: citext's are."""
        return self.kind is Kind.TEXT_LIKE and self.schema != "pg_catalog"

    def can_hold(self, row_id: str) -> bool:
        """Whether a row may have this id. A key found in the target need not: PostgreSQL would refuse to look it up."""
        if self.kind in (Kind.WHOLE, Kind.NUMERIC):
            limit = 2**63 if self.kind is Kind.WHOLE else 10**MAX_DIGITS
            return bool(_WHOLE_ID.fullmatch(row_id)) and -limit <= int(row_id) < limit
        if self.kind is Kind.UUID:
            return bool(_UUID_ID.fullmatch(row_id))
        return "\0" not in row_id


def column_of(
    name: str, shown: str, required: bool, schema: str, type_name: str, form: str, category: str, modifier: int
) -> Column:
    """The column that a row of the catalog describes; `form` and `category` are `pg_type.typtype` and `typcategory`."""
    if schema == "pg_catalog" and type_name in _BUILT_IN:
        kind = _BUILT_IN[type_name]
    elif form == "e":
        kind = Kind.ENUM
    else:
        kind = Kind.TEXT_LIKE if category == "S" else Kind.OTHER
    whole = modifier >= _NUMERIC_HEADER and not (modifier - _NUMERIC_HEADER) & _NUMERIC_SCALE
    return Column(name, shown, required, schema, type_name, kind, whole and kind is Kind.NUMERIC)
