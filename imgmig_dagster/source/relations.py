"""What kind of thing the source table is, and which other tables its rows come from.

`catalog` reads its columns and keys.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connection import Fetch

_KINDS: Final = {
    "r": "a table",
    "p": "a partitioned table",
    "v": "a view",
    "m": "a materialized view",
    "f": "a foreign table",
    "S": "a sequence",
    "i": "an index",
    "I": "an index",
    "c": "a composite type",
    "t": "a TOAST table",
}
_WHY_NOT: Final = {
    "m": "its rows are those of its last refresh, and nothing shows what has changed since: name the table or view "
    "that it is made of",
    "f": "its rows are of another server, which cannot be asked whether it is a primary, and whether it hides rows: "
    "point url in [source] at that server",
}


@dataclass(frozen=True)
class Relation:
    """One entry of PostgreSQL's catalog that has rows."""

    oid: int
    kind: str
    schema: str
    name: str

    @property
    def shown(self) -> str:
        """Its name with its schema."""
        return f"{self.schema}.{self.name}"

    @property
    def is_plain(self) -> bool:
        """Whether it is an ordinary table, with rows of its own."""
        return self.kind == "r"

    @property
    def is_partitioned(self) -> bool:
        """Whether its rows are those of its partitions."""
        return self.kind == "p"

    @property
    def is_view(self) -> bool:
        """Whether a query gives its rows."""
        return self.kind == "v"


@dataclass(frozen=True)
class Child:
    """A table that inherits from the source table; `has_rows` is None if the role may not read it."""

    shown: str
    has_rows: bool | None


def find_relation(fetch: Fetch, schema: str, name: str) -> Relation:
    """The table, partitioned table or view of that name.

    Raises:
        SourceRefused: there is none, or it is something that cannot be the truth about its rows.
    """
    shown = f"{schema}.{name}"
    found = fetch(_RELATION, {"schema": schema, "table": name})
    if not found:
        raise SourceRefused(
            f"there is no table {shown} that this role can see: check `table` in the declaration and the role's grants"
        )
    ((oid, kind),) = found
    if kind not in ("r", "p", "v"):
        why = _WHY_NOT.get(kind, "check `table` in the declaration")
        raise SourceRefused(f"{shown} is {_KINDS.get(kind, 'no table')}: {why}")
    return Relation(oid, kind, schema, name)


def refuse_unreadable(fetch: Fetch, relation: Relation) -> None:
    """Refuse a table that has rows of other tables, unless they are partitions, tables or views that are safe to read.

    Raises:
        SourceRefused: rows in tables that inherit from it; foreign tables, materialized views, or functions that change
            their results, behind it.
    """
    behind = fetch(_BEHIND_VIEW if relation.is_view else _PARTITIONS, {"oid": relation.oid})
    for shown, kind in behind:
        if kind in _WHY_NOT:
            raise SourceRefused(f"{relation.shown} holds rows of {shown}, which is {_KINDS[kind]}: {_WHY_NOT[kind]}")
    if relation.is_view:
        _refuse_unsteady(fetch, relation)
    if not relation.is_plain:
        return
    found = children(fetch, relation)
    full = [child.shown for child in found if child.has_rows]
    if full:
        raise SourceRefused(
            f"{relation.shown} has tables that inherit from it and hold rows: {', '.join(full)}. No unique index "
            "covers them, so one id may be there twice: move their rows, or make a view over those that are "
            "to be migrated, and name it by `table` in the declaration"
        )
    unseen = [child.shown for child in found if child.has_rows is None]
    if unseen:
        raise SourceRefused(
            f"{relation.shown} has tables that inherit from it, and this role cannot tell whether they hold rows: "
            f"GRANT SELECT ON {', '.join(unseen)} to it"
        )


def _refuse_unsteady(fetch: Fetch, relation: Relation) -> None:
    # A row that is not found again counts as deleted.
    for view, function, hides_rows in fetch(_UNSTEADY, {"oid": relation.oid}):
        if function is None:
            raise SourceRefused(f"view {view} draws its rows by TABLESAMPLE, others each time: make one without it")
        if hides_rows:
            raise SourceRefused(
                f"view {view} calls {function}, which sets row_security itself, and may hide rows: ALTER FUNCTION "
                f"{function} RESET row_security"
            )
        is_postgresqls = "." not in function.partition("(")[0]
        unless = "" if is_postgresqls else f", or ALTER FUNCTION {function} STABLE where it gives the same"
        raise SourceRefused(
            f"view {view} calls {function}, which is volatile, so each read may give other rows: make a view "
            f"without it{unless}"
        )


def children(fetch: Fetch, relation: Relation) -> Sequence[Child]:
    """The tables that inherit from a plain table, at any depth, and whether they hold rows."""
    if not relation.is_plain:
        return []
    found = []
    for schema, name, shown, may_read in fetch(_CHILDREN, {"oid": relation.oid}):
        has_rows = None
        if may_read:
            child = sql.Identifier(schema, name)
            ((has_rows,),) = fetch(sql.SQL("SELECT EXISTS (SELECT FROM ONLY {})").format(child), None)
        found.append(Child(shown, has_rows))
    return found


def view_definitions(fetch: Fetch, relation: Relation) -> str:
    """A hash of the queries of a view, and of the views that it selects from."""
    found = fetch(_VIEW_DEFINITIONS, {"oid": relation.oid})
    return hashlib.sha256("\n".join(definition for (definition,) in found).encode()).hexdigest()[:16]


_RELATION: Final = """
SELECT c.oid::bigint, c.relkind::text
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = %(schema)s AND c.relname = %(table)s
"""

_CHILDREN: Final = """
WITH RECURSIVE below AS (
    SELECT inhrelid FROM pg_catalog.pg_inherits WHERE inhparent = %(oid)s
    UNION SELECT i.inhrelid FROM pg_catalog.pg_inherits i JOIN below ON i.inhparent = below.inhrelid
)
SELECT n.nspname::text, c.relname::text, format('%%I.%%I', n.nspname, c.relname),
       has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
FROM below JOIN pg_catalog.pg_class c ON c.oid = below.inhrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
ORDER BY 3
"""

_PARTITIONS: Final = """
SELECT p.relid::regclass::text, c.relkind::text
FROM pg_catalog.pg_partition_tree(%(oid)s::oid::regclass) p JOIN pg_catalog.pg_class c ON c.oid = p.relid ORDER BY 1
"""

# What a view selects from is in the dependencies of its rewrite rule; it depends on itself too.
_VIEWS: Final = """
WITH RECURSIVE behind AS (
    SELECT %(oid)s::oid AS oid
    UNION
    SELECT d.refobjid FROM behind JOIN pg_catalog.pg_rewrite r ON r.ev_class = behind.oid
    JOIN pg_catalog.pg_depend d ON d.classid = 'pg_catalog.pg_rewrite'::regclass AND d.objid = r.oid
    WHERE d.refclassid = 'pg_catalog.pg_class'::regclass
)
"""
_BEHIND_VIEW: Final = (
    _VIEWS
    + """
SELECT c.oid::regclass::text, c.relkind::text FROM behind JOIN pg_catalog.pg_class c ON c.oid = behind.oid
UNION
SELECT p.relid::regclass::text, l.relkind::text FROM behind JOIN pg_catalog.pg_class c ON c.oid = behind.oid
CROSS JOIN LATERAL pg_catalog.pg_partition_tree(c.oid::regclass) p JOIN pg_catalog.pg_class l ON l.oid = p.relid
WHERE c.relkind = 'p' ORDER BY 1
"""
)
_VIEW_DEFINITIONS: Final = (
    _VIEWS
    + """
SELECT pg_catalog.pg_get_viewdef(c.oid) FROM behind JOIN pg_catalog.pg_class c ON c.oid = behind.oid
WHERE c.relkind = 'v' ORDER BY c.oid
"""
)

# PostgreSQL records no dependency on its own functions: only the rule's parsed query has the calls.
_UNSTEADY: Final = f"""{_VIEWS}
, parsed AS (
    SELECT c.oid::regclass::text AS view, r.ev_action::text AS query
    FROM behind JOIN pg_catalog.pg_class c ON c.oid = behind.oid JOIN pg_catalog.pg_rewrite r ON r.ev_class = c.oid
    WHERE c.relkind = 'v' AND r.ev_type = '1'
), called AS (
    SELECT DISTINCT view, call.oids[1]::oid AS oid
    FROM parsed, regexp_matches(query, ':(?:funcid|opfuncid|aggfnoid|winfnoid) ([0-9]+)', 'g') AS call(oids)
), functions AS (
    SELECT view, p.oid, p.provolatile = 'v' AS is_volatile,
           EXISTS (SELECT FROM unnest(p.proconfig) AS set(setting) WHERE starts_with(setting, 'row_security=')) AS hides
    FROM called JOIN pg_catalog.pg_proc p ON p.oid = called.oid
)
SELECT view, oid::regprocedure::text, hides FROM functions WHERE is_volatile OR hides
UNION SELECT view, NULL, false FROM parsed WHERE strpos(query, '{{TABLESAMPLECLAUSE ') > 0 ORDER BY 1, 2
"""  # noqa: S608 - a constant of this module
