"""The rows of a table that are migrated: all of them, or those that fulfil the mapping's condition.

Every statement reads them through one relation, so no statement sees a row outside of it.
"""

import re
from typing import Final

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.relations import Relation

# Quoted texts and comments may hold anything. A quoted name may be a function that is called: it stays.
_NO_CODE: Final = re.compile(
    r"""("(?:[^"]|"")*")|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(\w*)\$.*?\$\2\$|--[^\n]*|/\*.*?\*/""", re.DOTALL
)
_CALLED: Final = re.compile(r"""("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)\s*\(""", re.IGNORECASE)
_VOLATILE: Final = """
SELECT DISTINCT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
WHERE p.proname = ANY(%(names)s::text[]) AND p.provolatile = 'v' ORDER BY 1
"""


def filtered(relation: Relation, where: str | None, only: bool = True) -> sql.Composable:
    """The relation as it appears after FROM, in a statement with parameters (psycopg reads a bare % as a parameter).

    With `only`, a plain table gives its own rows, without those of tables that inherit from it.
    """
    name = sql.Identifier(relation.schema.replace("%", "%%"), relation.name.replace("%", "%%"))
    table = sql.SQL("ONLY {}").format(name) if only and relation.is_plain else name
    if where is None:
        return table
    # On its own lines, because the condition may end with a comment.
    return sql.SQL("(SELECT * FROM {} WHERE (\n{}\n))").format(table, sql.SQL(where.replace("%", "%%")))


def refuse_condition(fetch: Fetch, relation: Relation, where: str) -> None:
    """Refuse a condition that PostgreSQL does not accept, or that may select other rows at each read.

    Raises:
        SourceRefused: the same.
    """
    try:
        # With a parameter PostgreSQL accepts only one statement: a condition cannot add another.
        fetch(sql.SQL("SELECT FROM {} t LIMIT %(rows)s").format(filtered(relation, where)), {"rows": 0})
    except SourceRefused as error:
        raise SourceRefused(
            f"PostgreSQL does not accept the condition `where` on {relation.shown} ({error}): try SELECT FROM "
            f"{relation.shown} WHERE ({where}) in psql with search_path = pg_catalog, where a function or type of "
            "another schema needs its schema's name"
        ) from None
    names = [
        name[1:-1].replace('""', '"') if name.startswith('"') else name.lower()
        for name in _CALLED.findall(_NO_CODE.sub(lambda found: found[1] or " '' ", where))
    ]
    found = [shown for (shown,) in fetch(_VOLATILE, {"names": names})] if names else []
    if found:
        raise SourceRefused(
            f"the condition `where` on {relation.shown} calls {', '.join(found)}, which is volatile, so each read "
            "may give other rows: write it without"
        )
