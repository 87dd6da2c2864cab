"""What PostgreSQL's catalog says of the source table, and whether it can be migrated safely.

Columns and their types are in `columns`; what kind of thing the table is, and what stands behind it, in `relations`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.columns import ACCEPTED, Column, Kind, column_of
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.relations import Relation, find_relation, refuse_unreadable, view_definitions

UTC: Final = "UTC"


@dataclass(frozen=True)
class SourceTable:
    """A source table that fits its mapping.

    `columns` are the mapped ones by name, and `not_migrated` the others. `id_is_indexed` says that an index keeps the
    id unique; where none does, the inventory and the census look whether it is. `encoding` is the database's, and
    `time_zone` the one in which timestamps without a zone are read. `identity` names server, database, table, and the
    rules by which it is read.
    """

    schema: str
    name: str
    mapping: TableMapping
    relation: Relation
    columns: Mapping[str, Column]
    not_migrated: NotMigrated
    id_is_indexed: bool
    encoding: str
    time_zone: str
    identity: str

    @property
    def qualified(self) -> sql.Composable:
        """The table's quoted name, for a statement with parameters: psycopg reads a bare % as one of them.

        Of a plain table its own rows alone, and never those of tables that inherit from it: they stand outside of its
        unique index, and one that is made in the middle of a pass must not be read in silence.
        """
        name = sql.Identifier(self.schema.replace("%", "%%"), self.name.replace("%", "%%"))
        return sql.SQL("ONLY {}").format(name) if self.relation.is_plain else name

    @property
    def with_children(self) -> sql.Composable:
        """The same as the application's own queries read it: with the rows of tables that inherit from it."""
        return sql.Identifier(self.schema.replace("%", "%%"), self.name.replace("%", "%%"))

    @property
    def local_times(self) -> tuple[str, ...]:
        """The mapped columns whose timestamps have no zone."""
        return tuple(column.name for column in self.columns.values() if column.kind is Kind.LOCAL)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What is taken for granted of this table's rows, as sentences for a certificate."""
        found = []
        if self.local_times:
            columns = ", ".join(self.local_times)
            found.append(f"{columns} have no time zone in the source, and hold the time of {self.time_zone}")
        if not self.id_is_indexed:
            found.append(
                f"no index keeps {self.mapping.identity_shown} unique: none stood twice when the census looked"
            )
        if self.relation.is_view:
            found.append(f"the view {self.relation.shown} gives all rows and columns that are to be migrated")
        return tuple(found)


def inspect(fetch: Fetch, schema: str, name: str, mapping: TableMapping, time_zone: str = UTC) -> SourceTable:
    """Read the catalog, by `fetch`, and check every assumption that the migration makes of its source.

    Raises:
        SourceRefused: no such table; rows that it cannot answer for; a column missing or of another type;
            no unique index on the id, or an id that can be NULL; no such time zone.
    """
    table = f"{schema}.{name}"
    relation = find_relation(fetch, schema, name)
    columns = columns_of(fetch, relation)
    faults = _column_faults(mapping, columns)
    if faults:
        raise SourceRefused(f"{table} does not fit the mapping: {'; '.join(faults)}")
    refuse_unreadable(fetch, relation)
    mapped = {column: columns[column] for column in mapping.columns}
    found = SourceTable(
        schema=schema,
        name=name,
        mapping=mapping,
        relation=relation,
        columns=mapped,
        not_migrated=mapping.not_migrated(columns),
        id_is_indexed=_id_is_indexed(fetch, relation, mapped[mapping.identity[0]]),
        encoding=fetch("SELECT current_setting('server_encoding')", None)[0][0],
        time_zone=time_zone,
        identity=_identity(fetch, table),
    )
    return _with_rules(fetch, found)


def columns_not_migrated(fetch: Fetch, schema: str, name: str, mapping: TableMapping) -> NotMigrated:
    """Which columns of the table no item carries, by its catalog as it is now.

    Raises:
        SourceRefused: there is no such table.
    """
    return mapping.not_migrated(columns_of(fetch, find_relation(fetch, schema, name)))


def columns_of(fetch: Fetch, relation: Relation) -> dict[str, Column]:
    """The columns in the table's order, those of PostgreSQL's own left out."""
    return {found[0]: column_of(*found) for found in fetch(_COLUMNS, {"oid": relation.oid})}


def _column_faults(mapping: TableMapping, columns: Mapping[str, Column]) -> list[str]:
    expected = [(mapping.identity[0], FieldType.TEXT)] + [(each.column, each.type) for each in mapping.readings]
    faults = []
    for name, field_type in expected:
        if name not in columns:
            faults.append(f"column {name} is missing")
        elif not columns[name].fills(field_type):
            faults.append(
                f"column {name} is {columns[name].shown}, and the mapping takes {ACCEPTED[field_type]}: make a view "
                "that casts it, and name that by IMGMIG_SOURCE_TABLE"
            )
    return faults


def _id_is_indexed(fetch: Fetch, relation: Relation, column: Column) -> bool:
    """Whether an index on the id alone keeps it unique. Only of a plain table that is asked for."""
    names = {"oid": relation.oid, "column": column.name}
    alone, within = fetch(_UNIQUE, names)[0]
    if alone and column.required:
        return True
    if relation.is_plain:
        raise SourceRefused(
            f"{relation.shown} has no unique index on {column.name} alone, or {column.name} may be NULL: two rows "
            "could become one item. Create a unique index (or primary key) and set the column NOT NULL"
        )
    if relation.is_partitioned and not within:
        raise SourceRefused(
            f"{relation.shown} has no primary key or unique index that contains {column.name}: two rows could become "
            f"one item. Create one on {column.name} and the columns by which the table is partitioned"
        )
    return False


def _with_rules(fetch: Fetch, table: SourceTable) -> SourceTable:
    """The table, with whatever changes what its rows say in its identity: evidence is of one reading of them."""
    identity = table.identity
    if table.relation.is_view:
        identity += f", as {view_definitions(fetch, table.relation)}"
    if table.local_times and table.time_zone != UTC:
        if not fetch(_TIME_ZONE, {"name": table.time_zone})[0][0]:
            raise SourceRefused(
                f"PostgreSQL knows no time zone {table.time_zone}: set IMGMIG_SOURCE_TIME_ZONE to a name of the IANA "
                "database, such as Europe/Berlin"
            )
        identity += f", in {table.time_zone}"
    return replace(table, identity=identity)


def _identity(fetch: Fetch, table: str) -> str:
    # PostgreSQL asks for the right to call a function even where CASE never calls it.
    database, may_ask = fetch(
        "SELECT current_database()::text, has_function_privilege('pg_control_system()', 'EXECUTE')", None
    )[0]
    system = fetch("SELECT system_identifier::text FROM pg_control_system()", None)[0][0] if may_ask else "unknown"
    return f"postgresql:{system}/{database}/{table}"


# A domain, and a domain over a domain, is of the type behind it, with the length that it declares.
_COLUMNS: Final = """
WITH RECURSIVE found AS (
    SELECT a.attnum, a.attname::text AS name, format_type(a.atttypid, a.atttypmod) AS shown, a.attnotnull AS required,
           a.atttypid AS type, a.atttypmod AS modifier
    FROM pg_catalog.pg_attribute a WHERE a.attrelid = %(oid)s AND a.attnum > 0 AND NOT a.attisdropped
    UNION ALL
    SELECT found.attnum, found.name, found.shown, found.required OR t.typnotnull, t.typbasetype, t.typtypmod
    FROM found JOIN pg_catalog.pg_type t ON t.oid = found.type WHERE t.typtype = 'd'
)
SELECT found.name, found.shown, found.required, n.nspname::text, t.typname::text, t.typtype::text, t.typcategory::text,
       found.modifier
FROM found JOIN pg_catalog.pg_type t ON t.oid = found.type JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
WHERE t.typtype <> 'd' ORDER BY found.attnum
"""

# Of an index with NULLS NOT DISTINCT, or a deferrable one, uniqueness holds for whatever is committed.
_UNIQUE: Final = """
SELECT coalesce(bool_or(i.indnkeyatts = 1), false), count(*) > 0
FROM pg_catalog.pg_index i JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attname = %(column)s
WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid AND i.indpred IS NULL AND i.indexprs IS NULL
  AND a.attnum = ANY((i.indkey::int2[])[0:i.indnkeyatts - 1])
"""

_TIME_ZONE: Final = "SELECT count(*) > 0 FROM pg_catalog.pg_timezone_names WHERE name = %(name)s"
