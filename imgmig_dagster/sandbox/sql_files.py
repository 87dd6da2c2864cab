"""Loads a user's own tables into the sandbox's source: runs a file of SQL as psql does. `seed` makes images."""

import re
from pathlib import Path
from typing import Final

from imgmig_dagster.errors import SandboxError
from imgmig_dagster.files import refusals_as
from imgmig_dagster.sandbox.postgres import OWNER, READER, SOURCE_DATABASE, Postgres, url
from imgmig_dagster.sandbox.process import Listener

# psql names its input, the line and then the server's message, which goes on in further lines.
_REFUSED: Final = re.compile(r"psql:<stdin>:(\d+): (?:ERROR|FATAL): +(.*)", re.DOTALL)


class LoadError(SandboxError):
    """A file of SQL that cannot be read, that PostgreSQL refuses, or that does not make the table."""

    exit_code = 2


def load(postgres: Postgres, listener: Listener, path: Path, schema: str, table: str) -> int:
    """Run the file, and let the reader read the table; returns its rows."""
    import psycopg
    from psycopg import sql

    with refusals_as(LoadError, path, "name another file", reads=True):
        script = path.read_bytes()
    if refused := postgres.run_script(listener, script):
        raise LoadError(_worded(path, refused))
    with psycopg.connect(url(listener.port, SOURCE_DATABASE, OWNER), autocommit=True) as owner:
        name = sql.Identifier(schema, table)
        try:
            owner.execute(
                sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(sql.Identifier(schema), sql.Identifier(READER))
            )
            owner.execute(sql.SQL("GRANT SELECT ON {} TO {}").format(name, sql.Identifier(READER)))
            owner.execute(sql.SQL("ANALYZE {}").format(name))
            found = owner.execute(sql.SQL("SELECT count(*) FROM {}").format(name)).fetchone()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            raise LoadError(
                f"there is no table {schema}.{table} after running {path}: name one that it makes, letter for letter, "
                "as SCHEMA.TABLE"
            ) from None
    return int(found[0]) if found else 0


def _worded(path: Path, refused: str) -> str:
    match = _REFUSED.search(refused)
    line, message = match.groups() if match else ("1", refused)
    said = " ".join(message.split())
    return (
        f"{path}:{line}: PostgreSQL refuses it: {said}. The statements before that line are in the database: fix the "
        "file, and begin it with DROP ... IF EXISTS for what it makes, or empty the sandbox by imgmig sandbox reset "
        "--yes; then load it again"
    )
