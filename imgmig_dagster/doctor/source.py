"""Looks at the source table: does it fit, its index, rows that no partition holds. `session.py` looks at the rest."""

from collections.abc import Sequence
from functools import partial

from psycopg import sql

from imgmig_dagster.doctor.results import Examination, Health
from imgmig_dagster.source.catalog import Fetch, has_page_index
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window


def source_examinations(fetch: Fetch, reader: SourceReader, windows: "Sequence[Window]") -> "list[Examination]":
    """What to look at, by `fetch` and by a reader over the same connection."""
    looks = {
        "table": partial(fits, reader),
        "index for pages": partial(page_index, fetch, reader),
        "rows outside partitions": partial(rows_outside, reader, windows),
    }
    return [Examination("PostgreSQL", thing, look) for thing, look in looks.items()]


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
