"""The rows of a table that are migrated: all of them, or those that fulfil the mapping's condition.

Every statement reads them as one relation, so that a row outside of it exists for none.
"""

import re
from typing import Final

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.relations import Relation

# Texts, by whichever quotes, and comments may hold anything. What is called may be a name in quotes, which stays.
_NO_CODE: Final = re.compile(
    r"""("(?:[^"]|"")*")|\b[eE]'(?:[^'\\]|\\.|'')*'|'(?:[^']|'')*'|\$(\w*)\$.*?\$\2\$|--[^\n]*|/\*.*?\*/""", re.DOTALL
)
_CALLED: Final = re.compile(r"""("(?:[^"]|"")+"|[a-z_][a-z0-9_$]*)\s*\(""", re.IGNORECASE)
_VOLATILE: Final = """
SELECT DISTINCT p.oid::regprocedure::text FROM pg_catalog.pg_proc p
WHERE p.proname = ANY(%(names)s::text[]) AND p.provolatile = 'v' ORDER BY 1
"""


def filtered(relation: Relation, where: str | None, only: bool = True) -> sql.Composable:
    """The relation as it stands behind FROM, in a statement with parameters: psycopg reads a bare % as one of them.

    Of a plain table its own rows alone, if `only`.
    """
    name = sql.Identifier(relation.schema.replace("%", "%%"), relation.name.replace("%", "%%"))
    table = sql.SQL("ONLY {}").format(name) if only and relation.is_plain else name
    if where is None:
        return table
    # On lines of its own: it may end with a comment.
    return sql.SQL("(SELECT * FROM {} WHERE (\n{}\n))").format(table, sql.SQL(where.replace("%", "%%")))


def refuse_condition(fetch: Fetch, relation: Relation, where: str) -> None:
    """Refuse a condition that PostgreSQL does not take, or that may give other rows at each look.

    Raises:
        SourceRefused: the same.
    """
    try:
        # With a parameter, PostgreSQL takes one statement and no more: a condition cannot smuggle in another.
        fetch(sql.SQL("SELECT FROM {} t LIMIT %(rows)s").format(filtered(relation, where)), {"rows": 0})
    except SourceRefused as error:
        raise SourceRefused(
            f"PostgreSQL does not take the condition `where` on {relation.shown} ({error}): try SELECT FROM "
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
            f"the condition `where` on {relation.shown} calls {', '.join(found)}, which is volatile, so that each look "
            "may give other rows: write it without"
        )
