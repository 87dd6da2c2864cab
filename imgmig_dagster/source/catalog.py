"""What PostgreSQL's catalog says of the source table, and whether it can be migrated safely."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.spec import FieldType, TableMapping

Fetch: TypeAlias = Callable[[str, "dict[str, Any] | None"], list[Any]]
"""All rows of a statement with parameters."""

_TEXT_TYPES: Final = frozenset({"text", "character varying", "character"})
_INTEGER_TYPES: Final = frozenset({"bigint", "integer", "smallint"})
_TIMESTAMP_TYPES: Final = frozenset({"timestamp with time zone", "timestamp without time zone"})
_ACCEPTED: Final[dict[FieldType, frozenset[str]]] = {
    FieldType.TEXT: _TEXT_TYPES | _INTEGER_TYPES | {"uuid", "citext"},
    FieldType.INTEGER: _INTEGER_TYPES,
    FieldType.TIMESTAMP: _TIMESTAMP_TYPES,
}
_BITS: Final = {"smallint": 16, "integer": 32, "bigint": 64}
# As PostgreSQL writes them: another spelling of the same id makes another key.
_INTEGER_ID: Final = re.compile(r"0|-?[1-9][0-9]{0,18}")
_UUID_ID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(frozen=True)
class SourceTable:
    """A source table that fits its mapping.

    `types` maps each mapped column to PostgreSQL's name of its type; `identity` names server, database and table.
    """

    schema: str
    name: str
    mapping: TableMapping
    types: "dict[str, str]"
    identity: str

    @property
    def qualified(self) -> sql.Composable:
        """The table's quoted name, for a statement with parameters: psycopg reads a bare % as one of them."""
        return sql.Identifier(self.schema.replace("%", "%%"), self.name.replace("%", "%%"))

    def column(self, name: str) -> sql.Composable:
        """A mapped column's quoted name."""
        return sql.SQL("t.{}").format(sql.Identifier(name))

    def type_of(self, name: str) -> sql.Composable:
        """The type of a mapped column, for a cast; one of the accepted names, never free text."""
        # A cast to `character` means character(1), and would cut a cursor.
        return sql.SQL("bpchar" if self.types[name] == "character" else self.types[name])

    def can_hold_id(self, row_id: str) -> bool:
        """Whether a row may have this id. A key found in the target need not: PostgreSQL would refuse to look it up."""
        type_name = self.types[self.mapping.id_column]
        if type_name in _BITS:
            limit = 2 ** (_BITS[type_name] - 1)
            return bool(_INTEGER_ID.fullmatch(row_id)) and -limit <= int(row_id) < limit
        return bool(_UUID_ID.fullmatch(row_id)) if type_name == "uuid" else "\0" not in row_id

    @property
    def select_list(self) -> sql.Composable:
        """The columns of a `Row`: ids and other text-like types as text, the rest as they are."""
        return sql.SQL(", ").join(self._expression(name) for name in self.mapping.columns)

    def _expression(self, name: str) -> sql.Composable:
        is_text = name == self.mapping.id_column or any(
            field.column == name and field.type is FieldType.TEXT for field in self.mapping.fields
        )
        # A cast of character(n) would strip its padding, which the application sees.
        if is_text and self.types[name] not in _TEXT_TYPES:
            return sql.SQL("{}::text").format(self.column(name))
        return self.column(name)


def inspect(fetch: Fetch, schema: str, name: str, mapping: TableMapping) -> SourceTable:
    """Read the catalog, by `fetch`, and check every assumption that the migration makes of its source.

    Raises:
        SourceRefused: a replica; no such table; a column missing or of another type; no unique index on the id,
            or an id that can be NULL.
    """
    table = f"{schema}.{name}"
    if fetch("SELECT pg_is_in_recovery()", None)[0][0]:
        raise SourceRefused(f"the source of {table} is a replica: point IMGMIG_SOURCE_URL at the primary")
    columns = fetch(_COLUMNS, {"schema": schema, "table": name})
    if not columns:
        raise SourceRefused(
            f"there is no table {table} that this role can see: check IMGMIG_SOURCE_SCHEMA, IMGMIG_SOURCE_TABLE "
            "and the role's grants"
        )
    types = {column: type_name for column, type_name, _not_null in columns}
    faults = list(_column_faults(mapping, types))
    if faults:
        raise SourceRefused(f"{table} does not fit the mapping: {'; '.join(faults)}")
    not_null = {column for column, _type_name, required in columns if required}
    unique = fetch(_UNIQUE, {"schema": schema, "table": name, "column": mapping.id_column})
    if not unique or mapping.id_column not in not_null:
        raise SourceRefused(
            f"{table} has no unique index on {mapping.id_column} alone, or {mapping.id_column} may be NULL: two rows "
            "could become one item. Create a unique index (or primary key) and set the column NOT NULL"
        )
    mapped = {column: types[column] for column in mapping.columns}
    return SourceTable(schema, name, mapping, mapped, _identity(fetch, table))


def has_page_index(fetch: Fetch, table: SourceTable) -> bool:
    """Whether a valid, full b-tree index begins with the order column and the id, both in one direction."""
    found = fetch(
        _PAGE_INDEX,
        {
            "schema": table.schema,
            "table": table.name,
            "order": table.mapping.order_column,
            "id": table.mapping.id_column,
        },
    )
    return bool(found)


def _column_faults(mapping: TableMapping, types: "dict[str, str]") -> "list[str]":
    expected = [(mapping.id_column, FieldType.TEXT)] + [(field.column, field.type) for field in mapping.fields]
    faults = []
    for column, field_type in expected:
        if column not in types:
            faults.append(f"column {column} is missing")
        elif types[column] not in _ACCEPTED[field_type]:
            accepted = ", ".join(sorted(_ACCEPTED[field_type]))
            faults.append(f"column {column} is {types[column]}, and the mapping takes {accepted}")
    return faults


def _identity(fetch: Fetch, table: str) -> str:
    database, system = fetch(
        "SELECT current_database(), CASE WHEN has_function_privilege('pg_control_system()', 'EXECUTE')"
        " THEN (SELECT system_identifier::text FROM pg_control_system()) ELSE 'unknown' END",
        None,
    )[0]
    return f"postgresql:{system}/{database}/{table}"


_COLUMNS: Final = """
SELECT a.attname,
       CASE WHEN a.atttypid = 'bpchar'::regtype THEN 'character' ELSE format_type(a.atttypid, NULL) END,
       a.attnotnull
FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND c.relkind IN ('r', 'p')
  AND a.attnum > 0 AND NOT a.attisdropped
"""

_UNIQUE: Final = """
SELECT 1
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0]
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND a.attname = %(column)s
  AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indnkeyatts = 1
"""

# indoption: 0 is ascending with NULLS LAST, and 3 the same read backwards.
_PAGE_INDEX: Final = """
SELECT 1
FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid JOIN pg_namespace n ON n.oid = c.relnamespace
JOIN pg_class x ON x.oid = i.indexrelid JOIN pg_am m ON m.oid = x.relam
JOIN pg_attribute o ON o.attrelid = c.oid AND o.attnum = i.indkey[0]
JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = i.indkey[1]
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND o.attname = %(order)s AND k.attname = %(id)s
  AND i.indisvalid AND i.indpred IS NULL AND m.amname = 'btree' AND i.indnkeyatts >= 2
  AND i.indoption[0] = i.indoption[1] AND i.indoption[0] IN (0, 3)
"""
