"""The measured rows: the sandbox's synthetic ones, moved into one month, in tables of their own."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.job import MARCH
from imgmig_dagster.sandbox.seed import SYNTHETIC_START, ImageRow, synthetic_rows

_SYNTHETIC_START = datetime(SYNTHETIC_START.year, SYNTHETIC_START.month, SYNTHETIC_START.day, tzinfo=timezone.utc)
FIRST_DAY = datetime(2016, 1, 1, tzinfo=timezone.utc)


def march_table(rows: int) -> str:
    """The name of the table that holds so many rows, all created in March 2024."""
    return f"images_{rows}"


def make_march_table(owner: psycopg.Connection[Any], rows: int) -> None:
    """Fill `march_table`. The 731 days of the synthetic rows become 31, with their ties."""
    _fill(
        owner,
        march_table(rows),
        (
            row._replace(created_at=MARCH.start + (row.created_at - _SYNTHETIC_START) / 24, updated_at=row.updated_at)
            for row in synthetic_rows(rows)
        ),
    )


def make_daily_table(owner: psycopg.Connection[Any], days: int, rows: int) -> str:
    """Fill a table with so many rows at noon of each day from `FIRST_DAY` on, and return its name."""
    name = f"images_{days}_days_of_{rows}"
    _fill(owner, name, _daily(days, rows))
    return name


def _daily(days: int, rows: int) -> Iterator[ImageRow]:
    for number, row in enumerate(synthetic_rows(days * rows)):
        moment = FIRST_DAY + timedelta(days=number // rows, hours=12)
        yield row._replace(created_at=moment, updated_at=moment + timedelta(days=1))


def _fill(owner: psycopg.Connection[Any], table: str, rows: Iterable[ImageRow]) -> None:
    name = sql.Identifier(table)
    owner.execute(sql.SQL("CREATE TABLE {} (LIKE images INCLUDING ALL)").format(name))
    with owner.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
        for row in rows:
            copy.write_row(row)
    owner.execute(sql.SQL("GRANT SELECT ON {} TO PUBLIC").format(name))
    owner.execute(sql.SQL("VACUUM ANALYZE {}").format(name))
