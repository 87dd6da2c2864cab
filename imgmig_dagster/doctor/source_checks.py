"""Examines the source table: columns, ids, time zone, index, rows outside. The session is in `session_checks`."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Final

from imgmig_dagster.doctor.diagnosis import Examination, Health
from imgmig_dagster.errors import DoesNotFit
from imgmig_dagster.mapping.ignored_columns import SETTING, listed, shown
from imgmig_dagster.source.catalog import UTC
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.indexes import missing_page_index
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.source.relations import children
from imgmig_dagster.window import Window, span

_NAMES_OF_UTC: Final = ("UTC", "Etc/UTC", "GMT", "Etc/GMT")


def source_examinations(
    fetch: Fetch, reader: SourceReader, windows: Sequence[Window], at: Callable[[str], str]
) -> list[Examination]:
    """The examinations, by `fetch` and a reader over the same connection; `at` says where a column is declared."""
    looks = {
        "table": partial(check_rows_fit, reader, at),
        "columns": partial(check_columns, reader),
        "inheritance": partial(check_inheritance, fetch, reader),
        "unique ids": partial(check_unique_ids, reader),
        "time zone": partial(check_time_zone, fetch, reader),
        "index for pages": partial(check_page_index, fetch, reader),
        "rows outside partitions": partial(check_rows_outside, reader, windows),
    }
    return [Examination("PostgreSQL", thing, look) for thing, look in looks.items()]


def check_rows_fit(reader: SourceReader, at: Callable[[str], str]) -> tuple[Health, str, str]:
    """Columns, types and the unique index on the id."""
    try:
        table = reader.table
    except DoesNotFit as error:
        places = ", ".join(dict.fromkeys(map(at, error.columns)))
        return Health.FAIL, str(error), f"fix {places}, or the table in PostgreSQL"
    unique = f"with a unique {table.mapping.identity_shown}" if table.id_is_indexed else "by its columns"
    return Health.OK, f"{table.relation.shown} fits the mapping, {unique}", ""


def check_columns(reader: SourceReader) -> tuple[Health, str, str]:
    """Whether each column is mapped, or named as ignored."""
    found = reader.columns_not_migrated()
    ignored = "; ".join(f"{shown(name)} ({reason})" for name, reason in found.ignored.items())
    declared = f"ignored: {ignored}" if ignored else "all of them are mapped"
    if found.unmapped:
        return Health.FAIL, f"{found.fault}{f'; {declared}' if ignored else ''}", found.remedy
    if found.absent:
        remedy = f"check the spelling in {SETTING}, capitals too, or take them out"
        return Health.WARN, f"{declared}; ignored, and not in the source: {listed(found.absent)}", remedy
    return Health.OK, declared, ""


def check_inheritance(fetch: Fetch, reader: SourceReader) -> tuple[Health, str, str]:
    """Tables that inherit from it. Those that hold rows were found by the examination of the columns."""
    found = [child.shown for child in children(fetch, reader.table.relation)]
    if not found:
        return Health.OK, "no table inherits from it", ""
    remedy = "nothing, while they stay empty: a run refuses a table with rows in them"
    return Health.WARN, f"{', '.join(found)} inherit from it, without a row", remedy


def check_unique_ids(reader: SourceReader) -> tuple[Health, str, str]:
    """Whether every id is unique; without a unique index, by a query over the whole table."""
    column = reader.mapping.identity_shown
    if reader.table.id_is_indexed:
        return Health.OK, "a unique index ensures it", ""
    found = reader.repeated_ids()
    if not found.ids:
        return Health.OK, f"no {column} is repeated or NULL, though no index on {column} alone ensures it", ""
    remedy = "fix them in the source: two rows would become one item"
    return Health.FAIL, f"{found.ids:,} are repeated or NULL, such as {', '.join(found.sample_ids[:3])}", remedy


def check_time_zone(fetch: Fetch, reader: SourceReader) -> tuple[Health, str, str]:
    """The zone in which we read timestamps without one, and whether the database's sessions write in another."""
    table = reader.table
    if not table.local_times:
        return Health.OK, "every timestamp has its zone", ""
    columns = ", ".join(table.local_times)
    ((written,),) = fetch("SELECT reset_val FROM pg_catalog.pg_settings WHERE name = 'TimeZone'", None)
    found = f"{columns} without a zone, read as {table.time_zone}"
    same = _NAMES_OF_UTC if table.time_zone == UTC else (table.time_zone,)
    if written in same:
        return Health.OK, found, ""
    remedy = "set time_zone in [source] to the zone in which the application writes them"
    return Health.WARN, f"{found}; this role's sessions write in {written}", remedy


def check_page_index(fetch: Fetch, reader: SourceReader) -> tuple[Health, str, str]:
    """Whether an index gives the rows in the order of the pages: without one each page sorts its whole window."""
    table, mapping = reader.table, reader.mapping
    columns = f"({mapping.order.column or 'the bucket'}, {mapping.identity_shown})"
    if table.relation.is_view:
        remedy = "EXPLAIN one page of it; if that is slow, name the table behind the view instead"
        return Health.WARN, "a view has none: each page runs its query", remedy
    statements = missing_page_index(fetch, table)
    if not statements:
        return Health.OK, f"exists on {columns}", ""
    return Health.WARN, f"none on {columns}: every page sorts its window", "; ".join(statements)


def check_rows_outside(reader: SourceReader, windows: Sequence[Window]) -> tuple[Health, str, str]:
    """Whether rows are outside of every partition: no run migrates those."""
    first, last = span(windows)
    found, order = reader.rows_outside(first, last), reader.mapping.order
    if not found.rows and not order.column:
        return Health.OK, f"none: each row is in one of {order.buckets:,} buckets", ""
    if not found.rows:
        return Health.OK, f"none outside of {first:%Y-%m-%d} to {last:%Y-%m-%d}", ""
    null = "" if order.has_undated else "NULL (`undated: true` gives those a partition), "
    remedy = (
        "let `partitions` start earlier in the declaration; fix rows whose "
        f"{order.column} is {null}infinite or in the future"
    )
    return Health.FAIL, f"{found.rows:,} rows, such as {', '.join(found.sample_ids[:3])}", remedy
