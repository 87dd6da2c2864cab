"""What a certificate says about the source, so that anybody can check it: the table, and its figures as SQL for psql.

`reporting.certificate` carries it; docs/recheck.md shows how to use it. The statements consist of the same pieces by
which this package reads the table (`expressions`).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from psycopg import sql

from imgmig_dagster.source.connection import READING
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.window import UNDATED_WINDOW

# Settings that change what is read, or hide rows, as `connection` sets them. PostgreSQL then refuses to write.
_SCRIPT: Final = """BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY;
{settings}
{statement};
COMMIT;
"""
_STATEMENTS: Final = {
    "digest": ("SELECT count(*) AS rows, coalesce(sum({digest}), 0)::text AS digest FROM {table} t WHERE {inside}"),
    "row_digests": (
        "SELECT {id_out} AS id, ({digest})::text AS digest FROM {table} t WHERE {inside} ORDER BY {order}, {id}"
    ),
}
_PARAMETER: Final = re.compile(r"%\((\w+)\)s|%%")


@dataclass(frozen=True)
class PublishedSource:
    """The source table. `only` leaves out tables that inherit from it; timestamps without a zone are in `time_zone`.

    `statements` holds scripts for psql by name. ``digest`` returns count and digest of a window, ``row_digests`` id and
    digest of each of its rows. psql's variables ``start`` and ``end`` are the window's bounds in ISO 8601.
    ``undated_digest`` and ``undated_row_digests`` do the same for rows without a time, if those have a partition.
    """

    schema: str
    table: str
    only: bool
    time_zone: str
    statements: Mapping[str, str]


def published(pieces: Expressions) -> PublishedSource:
    """The table as a reader of the certificate reads it."""
    table = pieces.table
    found = {
        name: _script(statement, pieces.names, pieces.order.bound_shown) for name, statement in _STATEMENTS.items()
    }
    if table.mapping.order.has_undated:
        names = pieces.names_in(UNDATED_WINDOW)
        found |= {f"undated_{name}": _script(statement, names, "") for name, statement in _STATEMENTS.items()}
    return PublishedSource(table.schema, table.name, table.relation.is_plain, table.time_zone, found)


def _script(statement: str, names: Mapping[str, sql.Composable], bound: str) -> str:
    composed = sql.SQL(statement).format(**names).as_string()
    # A colon within quotes is not a psql variable.
    written = _PARAMETER.sub(lambda match: bound.format(f":'{match[1]}'") if match[1] else "%", composed)
    settings = " ".join(f"SET LOCAL {name} = {value};" for name, value in READING.items())
    return _SCRIPT.format(settings=settings, statement=written)
