"""Whether a declaration fits both sides: the doctor's checks of the tables, and checks that need the rows.

`draft` writes a declaration, `sampled` makes items of rows.
"""

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from psycopg import sql

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.doctor.aws_checks import check_key_schema
from imgmig_dagster.doctor.diagnosis import Examination, Health
from imgmig_dagster.doctor.hazards import check_indexes
from imgmig_dagster.doctor.source_checks import source_examinations
from imgmig_dagster.drafting.sampled import Sample, sample
from imgmig_dagster.mapping.sizes import MAX_ITEM_BYTES
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window

Examined = tuple[Health, str, str]


def check_examinations(
    fetch: Fetch,
    reader: SourceReader,
    mapping: TableMapping,
    windows: Sequence[Window],
    access: AwsAccess,
    target: str,
    at_most: int | None,
    at: Callable[[str], str],
) -> list[Examination]:
    """What to look at; `at_most` rows are made items, or all of them if it is None. `at` as for the doctor."""
    looks = {
        "rows left out": partial(check_left_out, fetch, reader),
        "NULLs": partial(check_nulls, fetch, reader),
        "keys": partial(check_keys, fetch, reader),
        "items": partial(check_items, reader, at_most),
    }
    return [
        *source_examinations(fetch, reader, windows, at),
        *(Examination("PostgreSQL", thing, look) for thing, look in looks.items()),
        Examination("DynamoDB", "table", partial(check_key_schema, access, target, mapping)),
        Examination("DynamoDB", "indexes", partial(check_indexes, access, target, mapping)),
    ]


def check_left_out(fetch: Fetch, reader: SourceReader) -> Examined:
    """How many rows the condition of the declaration leaves behind."""
    condition = reader.mapping.where
    if condition is None:
        return Health.OK, "none: the declaration has no `where`", ""
    query = sql.SQL("SELECT count(*), count(*) FILTER (WHERE ({}) IS NOT TRUE) FROM {}").format(
        sql.SQL(condition),  # the declaration's own SQL, within a read-only transaction
        sql.Identifier(reader.mapping.schema, reader.mapping.table),
    )
    ((rows, found),) = fetch(query, None)
    return Health.OK, f"{found:,} of {rows:,}, for which this does not hold: {condition}", ""


def check_nulls(fetch: Fetch, reader: SourceReader) -> Examined:
    """How many rows are NULL where the declaration rejects that: in the key, and in required columns."""
    mapping, columns = reader.mapping, reader.table.columns
    refused = dict.fromkeys(
        [
            *mapping.key_columns,
            *(name for field in mapping.fields if not field.nullable for name in field.columns),
        ]
    )
    may_be = [name for name in refused if not columns[name].required]
    if not may_be:
        return Health.OK, "every column that must not be NULL is NOT NULL", ""
    counts = sql.SQL(", ").join(sql.SQL("count(*) FILTER (WHERE {} IS NULL)").format(_column(name)) for name in may_be)
    (found,) = fetch(sql.SQL("SELECT {} FROM {} t").format(counts, reader.table.qualified), {})
    null = [f"{name} ({rows:,} rows)" for name, rows in zip(may_be, found, strict=True) if rows]
    if not null:
        return Health.OK, f"none, though {', '.join(may_be)} may be", ""
    remedy = "fill them in the source, or declare `null: written` or `null: left_out`; a key has to have a value"
    return Health.FAIL, f"these rows are rejected: NULL in {', '.join(null)}", remedy


def check_keys(fetch: Fetch, reader: SourceReader) -> Examined:
    """Whether each key can be split again: otherwise two rows could make one key."""
    found = []
    for column, separator in _before_separators(reader.mapping):
        query = sql.SQL("SELECT count(*) FROM {} t WHERE strpos({}::text, %(separator)s) > 0").format(
            reader.table.qualified, _column(column)
        )
        ((rows,),) = fetch(query, {"separator": separator})
        if rows:
            found.append(f"{rows:,} rows have {separator} in {column}")
    templates = " and ".join(each.template.text for each in reader.mapping.primary_key)
    if not found:
        return Health.OK, f"{templates}: no two rows make one", ""
    remedy = "they are rejected: put that column last in its template, or another separator behind it"
    return Health.FAIL, f"{templates}: {'; '.join(found)}", remedy


def check_items(reader: SourceReader, at_most: int | None) -> Examined:
    """Which rows would be rejected, and how large the items are."""
    found = sample(reader, at_most)
    shown = _sizes(found)
    if found.rejected:
        reasons = "; ".join(found.lines)
        return Health.FAIL, f"{shown}; {found.rejected_rows:,} are rejected: {reasons}", found.remedy
    if found.largest_bytes > MAX_ITEM_BYTES // 2:
        return Health.WARN, shown, f"DynamoDB takes {MAX_ITEM_BYTES:,} bytes: look for larger rows by --all"
    return Health.OK, f"{shown}; none is rejected", ""


def _sizes(found: Sample) -> str:
    largest = f", the largest of {found.largest_bytes:,} bytes ({found.largest_id})" if found.largest_bytes else ""
    return f"{found.rows:,} rows were made items{largest}"


def _before_separators(mapping: TableMapping) -> list[tuple[str, str]]:
    """The columns of keys that a separator follows, with the separator, which the column itself must not contain."""
    found = []
    for each in mapping.primary_key:
        parts = each.template.parts
        for (_before, column), (literal, _next) in pairwise(parts):
            if column is not None and literal:
                found.append((column, literal))
    return found


def _column(name: str) -> sql.Composable:
    return sql.SQL("t.{}").format(sql.Identifier(name.replace("%", "%%")))
