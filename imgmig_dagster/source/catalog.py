"""Reads the source table's description from PostgreSQL's catalog, and checks that the table can be migrated safely.

Columns and their types are in `columns`. The kind of table and the tables behind it are in `relations`.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Final

from psycopg import sql

from imgmig_dagster.errors import DoesNotFit, SourceRefused
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.columns import ACCEPTED, Column, ColumnKind, column_of, natural
from imgmig_dagster.source.conditions import filtered, refuse_condition
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.relations import Relation, find_relation, refuse_unreadable, view_definitions
from imgmig_dagster.source.versions import version_faults

UTC: Final = "UTC"
_SERVER: Final = "SELECT current_setting('server_encoding'), current_setting('server_version_num')::integer"


@dataclass(frozen=True)
class SourceTable:
    """A source table that fits its mapping.

    `columns` holds the mapped columns by name, `not_migrated` the other ones. `id_is_indexed` is true if an index keeps
    the id unique; if not, the inventory and the census check it. `encoding` is the database's encoding. Timestamps
    without a zone are read in `time_zone`. `identity` names the server, the database, the table and the rules for
    reading it.
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
        """The table's quoted name, for a statement with parameters (psycopg reads a bare % as a parameter).

        A plain table gives its own rows only, not the rows of tables that inherit from it: its unique index does not
        cover them, and a child created during a pass must not be read unnoticed. If the mapping has a condition, only
        rows that fulfil it.
        """
        return filtered(self.relation, self.mapping.where)

    @property
    def with_children(self) -> sql.Composable:
        """The same as the application's queries read it, with the rows of tables that inherit from it."""
        return filtered(self.relation, self.mapping.where, only=False)

    @property
    def local_times(self) -> tuple[str, ...]:
        """The mapped columns whose timestamps have no zone."""
        return tuple(column.name for column in self.columns.values() if column.kind is ColumnKind.LOCAL)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What the migration assumes about this table's rows, as sentences for a certificate."""
        found = []
        if self.local_times:
            columns = ", ".join(self.local_times)
            found.append(f"{columns} have no time zone in the source, and hold the time of {self.time_zone}")
        if not self.id_is_indexed:
            found.append(f"no index keeps {self.mapping.identity_shown} unique: the census found none twice")
        if self.relation.is_view:
            found.append(f"the view {self.relation.shown} gives all rows and columns that are to be migrated")
        return tuple(found)


def inspect(fetch: Fetch, schema: str, name: str, mapping: TableMapping, time_zone: str = UTC) -> SourceTable:
    """Read the catalog, by `fetch`, and check every assumption that the migration makes of its source.

    Raises:
        DoesNotFit: a column is missing or of another type; no unique index on the id, or an id that can be NULL.
        SourceRefused: no such table; rows that it cannot answer for; no such time zone; a server that is too old.
    """
    table = f"{schema}.{name}"
    relation = find_relation(fetch, schema, name)
    columns = columns_of(fetch, relation)
    mapping = mapping.typed({column.name: natural(column) for column in columns.values()})
    faults = list(_column_faults(mapping, columns))
    if faults:
        names, said = zip(*faults, strict=True)
        raise DoesNotFit(f"{table} does not fit the mapping: {'; '.join(said)}", names)
    refuse_unreadable(fetch, relation)
    if mapping.where is not None:
        refuse_condition(fetch, relation, mapping.where)
    encoding, version = fetch(_SERVER, None)[0]
    too_old = version_faults(version, mapping, columns)
    if too_old:
        raise SourceRefused(f"{table} cannot be migrated from this server: {'; '.join(too_old)}")
    mapped = {column: columns[column] for column in mapping.columns}
    found = SourceTable(
        schema=schema,
        name=name,
        mapping=mapping,
        relation=relation,
        columns=mapped,
        not_migrated=mapping.not_migrated(columns),
        id_is_indexed=_id_is_indexed(fetch, relation, mapping, mapped),
        encoding=encoding,
        time_zone=time_zone,
        identity=_identity(fetch, table),
    )
    return _with_rules(fetch, found)


def columns_of(fetch: Fetch, relation: Relation) -> dict[str, Column]:
    """The columns in the table's order, without PostgreSQL's system columns."""
    return {found[0]: column_of(*found) for found in fetch(_COLUMNS, {"oid": relation.oid})}


def _column_faults(mapping: TableMapping, columns: Mapping[str, Column]) -> Iterator[tuple[str, str]]:
    """Each column that does not fit, and why."""
    for name in mapping.columns:
        if name not in columns:
            near = _nearest(name, [each for each in columns if each not in mapping.columns]) or _nearest(name, columns)
            yield name, f"column {name} is missing{f' (the nearest name is {near})' if near else ''}"
    for field in mapping.readings:
        column = columns.get(field.column)
        if column is not None and field.template is None and not column.fills(field):
            yield (
                column.name,
                f"column {column.name} is {column.shown}, and the mapping takes {ACCEPTED[field.type]}: "
                f"{column.remedy(field)}",
            )
    order = columns.get(mapping.order.column)
    if order is not None and mapping.order.unit is not None and not order.orders_by(mapping.order.unit):
        yield (
            order.name,
            f"column {order.name} is {order.shown}, and orders no rows: numbers below a microsecond would share a "
            "place; declare its scale, as in numeric(16, 6)",
        )


def _nearest(name: str, known: Iterable[str]) -> str | None:
    by_letters = {each.lower(): each for each in known}
    return next((by_letters[each] for each in get_close_matches(name.lower(), by_letters, 1)), None)


def _id_is_indexed(fetch: Fetch, relation: Relation, mapping: TableMapping, columns: Mapping[str, Column]) -> bool:
    """Whether an index keeps the identity unique and no part of it is NULL. Only a table must have such an index."""
    names, shown = list(mapping.identity), mapping.identity_shown
    alone, of_some_rows, within = fetch(_UNIQUE, {"oid": relation.oid, "columns": names})[0]
    if alone and all(columns[name].required for name in names):
        return True
    # If the index allows NULL or covers only some rows, the inventory and the census check uniqueness.
    if relation.is_plain and not alone and not (mapping.where and of_some_rows):
        raise DoesNotFit(
            f"{relation.shown} has no unique index on {shown}, or on some of them alone: two rows could become one "
            "item. Create a unique index (or primary key)"
            if len(names) > 1
            else f"{relation.shown} has no unique index on {shown} alone: two rows could become one item. Create a "
            "unique index (or primary key) and set the column NOT NULL",
            names,
        )
    if relation.is_partitioned and not within:
        raise DoesNotFit(
            f"{relation.shown} has no primary key or unique index that contains {shown}: two rows could become "
            f"one item. Create one on {shown} and the columns by which the table is partitioned",
            names,
        )
    return False


def _with_rules(fetch: Fetch, table: SourceTable) -> SourceTable:
    """Adds to the table's identity what changes how its rows read: evidence covers one way of reading them."""
    identity = table.identity
    if table.relation.is_view:
        identity += f", as {view_definitions(fetch, table.relation)}"
    if table.local_times and table.time_zone != UTC:
        if not fetch(_TIME_ZONE, {"name": table.time_zone})[0][0]:
            raise SourceRefused(
                f"PostgreSQL knows no time zone {table.time_zone}: set time_zone in [source] to a name of the IANA "
                "database, such as Europe/Berlin"
            )
        identity += f", in {table.time_zone}"
    return replace(table, identity=identity)


def _identity(fetch: Fetch, table: str) -> str:
    # PostgreSQL checks the right to call a function even where CASE never calls it.
    database, may_ask = fetch(
        "SELECT current_database()::text, has_function_privilege('pg_control_system()', 'EXECUTE')", None
    )[0]
    system = fetch("SELECT system_identifier::text FROM pg_control_system()", None)[0][0] if may_ask else "unknown"
    return f"postgresql:{system}/{database}/{table}"


# A domain, or a domain over a domain, has the type behind it and the length it declares.
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
       found.modifier, compared.schema, en.nspname::text, e.typname::text, e.typtype::text, e.typcategory::text
FROM found JOIN pg_catalog.pg_type t ON t.oid = found.type JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace
LEFT JOIN LATERAL (
    WITH RECURSIVE behind AS (
        SELECT t.typelem AS oid UNION SELECT d.typbasetype FROM behind JOIN pg_catalog.pg_type d ON d.oid = behind.oid
        WHERE d.typtype = 'd'
    )
    SELECT x.* FROM behind JOIN pg_catalog.pg_type x ON x.oid = behind.oid WHERE x.typtype <> 'd'
) AS e ON true LEFT JOIN pg_catalog.pg_namespace en ON en.oid = e.typnamespace
LEFT JOIN LATERAL (
    SELECT s.nspname::text AS schema FROM pg_catalog.pg_opclass c JOIN pg_catalog.pg_am m ON m.oid = c.opcmethod
    JOIN pg_catalog.pg_amop p ON p.amopfamily = c.opcfamily AND p.amopstrategy = 3
         AND p.amoplefttype = t.oid AND p.amoprighttype = t.oid
    JOIN pg_catalog.pg_operator o ON o.oid = p.amopopr JOIN pg_catalog.pg_namespace s ON s.oid = o.oprnamespace
    WHERE m.amname = 'btree' AND c.opcdefault AND c.opcintype = t.oid LIMIT 1
) AS compared ON true
WHERE t.typtype <> 'd' ORDER BY found.attnum
"""

# For an index with NULLS NOT DISTINCT, or a deferrable one, committed rows are unique.
_UNIQUE: Final = """
WITH asked AS (
    SELECT coalesce(array_agg(attnum), '{}') AS columns FROM pg_catalog.pg_attribute
    WHERE attrelid = %(oid)s AND attname = ANY(%(columns)s::text[])
), found AS (
    SELECT (i.indkey::int2[])[0:i.indnkeyatts - 1] AS key, i.indpred IS NOT NULL AS is_partial
    FROM pg_catalog.pg_index i
    WHERE i.indrelid = %(oid)s AND i.indisunique AND i.indisvalid AND i.indexprs IS NULL
)
SELECT coalesce(bool_or(key <@ columns AND NOT is_partial), false), coalesce(bool_or(key <@ columns), false),
       coalesce(bool_or(key @> columns AND NOT is_partial), false)
FROM found CROSS JOIN asked
"""

_TIME_ZONE: Final = "SELECT count(*) > 0 FROM pg_catalog.pg_timezone_names WHERE name = %(name)s"
