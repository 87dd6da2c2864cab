"""Examines the session with PostgreSQL: server, encryption, pooler, role, row-level security.

The table itself is examined in `source_checks`.
"""

from collections.abc import Sequence
from functools import partial
from typing import Final

from psycopg import sql

from imgmig_dagster.doctor.diagnosis import Examination, Health
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.connections import Pooling, ReadOnlyConnections

_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_READ_ONLY_ROLE: Final = "deploy/reader_role.sql makes a role that may only read"
_TLS: Final = "SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()"
_VERSION: Final = "SELECT current_setting('server_version')"
_POOLING: Final = {
    Pooling.NONE: "none: the session is of imgmig alone",
    Pooling.TRANSACTION: "one in transaction mode: imgmig leaves nothing behind on the connections that others share",
    Pooling.SESSION: "one in session mode, or a busy one in transaction mode: imgmig leaves nothing behind in either",
    Pooling.BALANCED: "pgpool-II: every statement makes it ask the primary",
}


def session_examinations(
    connection: ReadOnlyConnections, schema: str, table: str, columns: Sequence[str]
) -> list[Examination]:
    """The examinations before the table's own; `columns` are those that we read."""
    fetch = connection.fetch
    looks = {
        "server": partial(check_server, fetch),
        "encryption": partial(check_encryption, connection),
        "pooler": partial(check_pooler, connection),
        "role": partial(check_role, fetch, schema, table, columns),
        "row-level security": partial(check_row_level_security, fetch, schema, table),
    }
    return [Examination("PostgreSQL", thing, look) for thing, look in looks.items()]


def check_server(fetch: Fetch) -> tuple[Health, str, str]:
    """The server's version. Only a primary answers: a replica's rows are late."""
    return Health.OK, f"version {fetch(_VERSION, None)[0][0]}, the primary", ""


def check_encryption(connection: ReadOnlyConnections) -> tuple[Health, str, str]:
    """Whether this session is encrypted, all the way to the server."""
    found = connection.fetch(_TLS)
    if not connection.encrypted():
        return Health.WARN, "not encrypted", "add ?sslmode=verify-full to url in [source]"
    if not found:  # SET ROLE in the URL's options: PostgreSQL shows a session only to the role that logged in
        return Health.OK, "on this side; the role that is set may not see the other", ""
    ((on, version, cipher),) = found
    if not on:
        return Health.WARN, "as far as a pooler or proxy, not beyond it", "have its connections to the server encrypted"
    return Health.OK, f"{version}, {cipher}", ""


def check_pooler(connection: ReadOnlyConnections) -> tuple[Health, str, str]:
    """Which pooler is between us and the server, and what that means."""
    return Health.OK, _POOLING[connection.pooling()], ""


def check_role(fetch: Fetch, schema: str, table: str, columns: Sequence[str]) -> tuple[Health, str, str]:
    """Which role reads, whether it may, and whether it could also write."""
    found = fetch(_GRANTS, {"schema": schema, "table": table, "columns": list(columns)})
    if not found:
        return Health.FAIL, "the table does not exist", "check `table` in the declaration"
    name, superuser, read_only, schema_is_usable, unreadable, *may = found[0]
    lacks = [] if schema_is_usable else [f"USAGE ON SCHEMA {schema}"]
    if unreadable:
        of_columns = f" ({', '.join(unreadable)})" if len(unreadable) < len(columns) else ""
        lacks.append(f"SELECT{of_columns} ON {schema}.{table}")
    if lacks:
        grants = "; ".join(f"GRANT {right} TO {name}" for right in lacks)
        return Health.FAIL, f"{name} lacks {' and '.join(lacks)}", grants
    if superuser:
        return Health.WARN, f"{name} is a superuser", _READ_ONLY_ROLE
    granted = [privilege for privilege, held in zip(_WRITES, may, strict=True) if held]
    if granted:
        return Health.WARN, f"{name} may {', '.join(granted)}", _READ_ONLY_ROLE
    if read_only != "on":
        remedy = f"ALTER ROLE {name} SET default_transaction_read_only = on"
        return Health.WARN, f"{name} may only SELECT, but its transactions are not read-only by default", remedy
    return Health.OK, f"{name} may only SELECT, and reads only by default", ""


def check_row_level_security(fetch: Fetch, schema: str, table: str) -> tuple[Health, str, str]:
    """Whether a policy would hide rows, also behind a view: the refusal names table, role and remedy."""
    name = sql.Identifier(schema.replace("%", "%%"), table.replace("%", "%%"))
    # One row: PostgreSQL checks what a function behind a view reads only when it is called.
    fetch(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(name), {})
    return Health.OK, "hides no row from this role", ""


_GRANTS: Final = """
SELECT current_user::text, r.rolsuper,
       (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'),
       has_schema_privilege(n.oid, 'USAGE'),
       ARRAY(SELECT a.attname::text FROM pg_attribute a
             WHERE a.attrelid = c.oid AND a.attname = ANY(%(columns)s) AND a.attnum > 0
               AND NOT has_column_privilege(c.oid, a.attnum, 'SELECT')
             ORDER BY a.attnum),
       has_any_column_privilege(c.oid, 'INSERT'), has_any_column_privilege(c.oid, 'UPDATE'),
       has_table_privilege(c.oid, 'DELETE'), has_table_privilege(c.oid, 'TRUNCATE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND r.rolname = current_user
"""
