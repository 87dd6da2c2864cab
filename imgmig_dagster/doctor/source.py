"""Looks at the PostgreSQL side: server, encryption, role, table, index, rows that no partition holds."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from psycopg import sql

from imgmig_dagster.doctor.results import Examination, Health
from imgmig_dagster.source.catalog import Fetch, has_page_index
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window

_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_READ_ONLY_ROLE: Final = "deploy/reader_role.sql makes a role that may only read"


def source_examinations(
    fetch: Fetch, reader: SourceReader, schema: str, table: str, windows: "Sequence[Window]"
) -> "list[Examination]":
    """What to look at, by `fetch` and by a reader over the same connection."""
    looks = {
        "server": partial(server, fetch),
        "encryption": partial(encryption, fetch),
        "role": partial(role, fetch, schema, table),
        "table": partial(fits, reader),
        "index for pages": partial(page_index, fetch, reader),
        "rows outside partitions": partial(rows_outside, reader, windows),
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


def fits(reader: SourceReader) -> "tuple[Health, str, str]":
    """Columns, types and the unique index on the id; a table that does not fit is an error that says why."""
    table = reader.table
    return Health.OK, f"{table.schema}.{table.name} fits the mapping, with a unique {table.mapping.id_column}", ""


def page_index(fetch: Fetch, reader: SourceReader) -> "tuple[Health, str, str]":
    """Whether an index gives the rows in the order of the pages: without one each page sorts its whole window."""
    table, mapping = reader.table, reader.mapping
    columns = f"({mapping.order_column}, {mapping.id_column})"
    if has_page_index(fetch, table):
        return Health.OK, f"there is one on {columns}", ""
    statement = sql.SQL("CREATE INDEX CONCURRENTLY ON {} ({}, {})").format(
        sql.Identifier(table.schema, table.name),
        sql.Identifier(mapping.order_column),
        sql.Identifier(mapping.id_column),
    )
    # A partitioned table takes no index CONCURRENTLY: there the statement is for each of its partitions.
    return Health.WARN, f"none on {columns}: every page sorts its window", statement.as_string()


def rows_outside(reader: SourceReader, windows: "Sequence[Window]") -> "tuple[Health, str, str]":
    """Rows that no partition holds are never migrated."""
    first, last = windows[0].start, windows[-1].end
    found = reader.rows_outside(first, last)
    if not found.rows:
        return Health.OK, f"none outside of {first:%Y-%m-%d} to {last:%Y-%m-%d}", ""
    remedy = "set IMGMIG_PARTITION_START earlier, or mend rows whose time of creation is NULL, infinite or to come"
    return Health.FAIL, f"{found.rows:,} rows, such as {', '.join(found.sample_ids[:3])}", remedy


_GRANTS: Final = """
SELECT current_user::text, r.rolsuper,
       (SELECT reset_val FROM pg_settings WHERE name = 'default_transaction_read_only'),
       has_table_privilege(c.oid, 'SELECT'), has_any_column_privilege(c.oid, 'INSERT'),
       has_any_column_privilege(c.oid, 'UPDATE'), has_table_privilege(c.oid, 'DELETE'),
       has_table_privilege(c.oid, 'TRUNCATE')
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace, pg_roles r
WHERE n.nspname = %(schema)s AND c.relname = %(table)s AND r.rolname = current_user
"""
