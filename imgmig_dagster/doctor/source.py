"""Looks at the PostgreSQL side: server, encryption, role, table, ids, time zone, index, rows outside."""

from collections.abc import Sequence
from functools import partial
from typing import Final

from imgmig_dagster.doctor.results import Examination, Health
from imgmig_dagster.source.catalog import UTC, Fetch
from imgmig_dagster.source.indexes import missing_page_index
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.source.relations import children
from imgmig_dagster.window import Window

_WRITES: Final = ("INSERT", "UPDATE", "DELETE", "TRUNCATE")
_NAMES_OF_UTC: Final = ("UTC", "Etc/UTC", "GMT", "Etc/GMT")
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
        "inheritance": partial(inheritance, fetch, reader),
        "unique ids": partial(unique_ids, reader),
        "time zone": partial(time_zone, fetch, reader),
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
    unique = f"with a unique {table.mapping.id_column}" if table.id_is_indexed else "by its columns"
    return Health.OK, f"{table.relation.shown} fits the mapping, {unique}", ""


def inheritance(fetch: Fetch, reader: SourceReader) -> "tuple[Health, str, str]":
    """Tables that inherit from it; of those that hold rows the look at the table has told."""
    found = [child.shown for child in children(fetch, reader.table.relation)]
    if not found:
        return Health.OK, "no table inherits from it", ""
    remedy = "nothing, while they stay empty: rows in them are refused, and never read"
    return Health.WARN, f"{', '.join(found)} inherit from it, without a row", remedy


def unique_ids(reader: SourceReader) -> "tuple[Health, str, str]":
    """Whether every id stands once; where no index keeps it so, by a look at the whole table."""
    column = reader.mapping.id_column
    if reader.table.id_is_indexed:
        return Health.OK, "an index keeps them so", ""
    found = reader.repeated_ids()
    if not found.ids:
        return Health.OK, f"no {column} stands twice or is NULL, though no index on {column} alone keeps it so", ""
    remedy = "mend them in the source: two rows would become one item"
    return Health.FAIL, f"{found.ids:,} stand twice or are NULL, such as {', '.join(found.sample_ids[:3])}", remedy


def time_zone(fetch: Fetch, reader: SourceReader) -> "tuple[Health, str, str]":
    """In which zone timestamps without one are read, and whether the database's sessions write them in another."""
    table = reader.table
    if not table.local_times:
        return Health.OK, "every timestamp has its zone", ""
    columns = ", ".join(table.local_times)
    ((written,),) = fetch("SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'", None)
    found = f"{columns} without a zone, read as {table.time_zone}"
    same = _NAMES_OF_UTC if table.time_zone == UTC else (table.time_zone,)
    if written in same:
        return Health.OK, found, ""
    remedy = "set IMGMIG_SOURCE_TIME_ZONE to the zone in which the application writes them"
    return Health.WARN, f"{found}; this role's sessions write in {written}", remedy


def page_index(fetch: Fetch, reader: SourceReader) -> "tuple[Health, str, str]":
    """Whether an index gives the rows in the order of the pages: without one each page sorts its whole window."""
    table, mapping = reader.table, reader.mapping
    columns = f"({mapping.order_column}, {mapping.id_column})"
    if table.relation.is_view:
        remedy = "EXPLAIN a page of it; name the table itself if that fits, or be patient"
        return Health.WARN, "a view has none: each page runs its query", remedy
    statements = missing_page_index(fetch, table)
    if not statements:
        return Health.OK, f"there is one on {columns}", ""
    return Health.WARN, f"none on {columns}: every page sorts its window", "; ".join(statements)


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
