"""Looks at the session with PostgreSQL: server, encryption, role. `source.py` looks at the table."""

from functools import partial
from typing import Final

from imgmig_dagster.doctor.results import Examination, Health
from imgmig_dagster.source.catalog import Fetch
from imgmig_dagster.source.connection import ReadOnlyConnection

_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_READ_ONLY_ROLE: Final = "deploy/reader_role.sql makes a role that may only read"


def session_examinations(connection: ReadOnlyConnection, schema: str, table: str) -> "list[Examination]":
    """What to look at before the table itself."""
    looks = {
        "server": partial(server, connection.fetch),
        "encryption": partial(encryption, connection.fetch),
        "role": partial(role, connection.fetch, schema, table),
    }
    return [Examination("PostgreSQL", thing, look) for thing, look in looks.items()]


def server(fetch: Fetch) -> "tuple[Health, str, str]":
    """Version, and whether it is the primary: a replica's rows are late."""
    version, replica = fetch("SELECT current_setting('server_version'), pg_is_in_recovery()", None)[0]
    if replica:
        return Health.FAIL, f"version {version}, a replica", "point IMGMIG_SOURCE_URL at the primary"
    return Health.OK, f"version {version}, the primary", ""


def encryption(fetch: Fetch) -> "tuple[Health, str, str]":
    """Whether this very session is encrypted."""
    on, version, cipher = fetch("SELECT ssl, version, cipher FROM pg_stat_ssl WHERE pid = pg_backend_pid()", None)[0]
    if on:
        return Health.OK, f"{version}, {cipher}", ""
    return Health.WARN, "not encrypted", "add ?sslmode=verify-full to IMGMIG_SOURCE_URL"


def role(fetch: Fetch, schema: str, table: str) -> "tuple[Health, str, str]":
    """Who reads, and whether that role could also write."""
    found = fetch(_GRANTS, {"schema": schema, "table": table})
    if not found:
        return Health.FAIL, "the table is not there", "check IMGMIG_SOURCE_SCHEMA and IMGMIG_SOURCE_TABLE"
    name, superuser, read_only, reads, *may = found[0]
    granted = [privilege for privilege, held in zip(_WRITES, may, strict=True) if held]
    if not reads:
        return Health.FAIL, f"{name} may not SELECT", _READ_ONLY_ROLE
    if superuser:
        return Health.WARN, f"{name} is a superuser", _READ_ONLY_ROLE
    if granted:
        return Health.WARN, f"{name} may {', '.join(granted)}", _READ_ONLY_ROLE
    if read_only != "on":
        remedy = f"ALTER ROLE {name} SET default_transaction_read_only = on"
        return Health.WARN, f"{name} may only SELECT, but its transactions are not read-only by default", remedy
    return Health.OK, f"{name} may only SELECT, and reads only by default", ""


_GRANTS: Final = """
SELECT current_user::text, r.rolsuper,
       (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'),
       has_table_privilege(c.oid, 'SELECT'), has_any_column_privilege(c.oid, 'INSERT'),
       has_any_column_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'),
       has_table_privilege(c.oid, 'TRUNCATE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND r.rolname = current_user
"""
