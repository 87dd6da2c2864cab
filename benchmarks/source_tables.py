"""The measured rows: the sandbox's synthetic ones, moved into one month, in tables of their own."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any

import psycopg
from psycopg import sql

from benchmarks.job import MARCH
from imgmig_dagster.sandbox.seed import SYNTHETIC_START, ImageRow, synthetic_rows

_SYNTHETIC_START = datetime(SYNTHETIC_START.year, SYNTHETIC_START.month, SYNTHETIC_START.day, tzinfo=timezone.utc)
ONE_A_MONTH = "images_one_a_month"


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


def make_monthly_table(owner: psycopg.Connection[Any], months: int) -> None:
    """Fill `ONE_A_MONTH`: one row in the middle of each month from January 2023 on."""
    _fill(owner, ONE_A_MONTH, _one_a_month(months))


def _one_a_month(months: int) -> Iterator[ImageRow]:
    for month, row in enumerate(synthetic_rows(months)):
        moment = datetime(2023 + month // 12, month % 12 + 1, 15, tzinfo=timezone.utc)
        yield row._replace(created_at=moment, updated_at=moment + timedelta(days=1))


def _fill(owner: psycopg.Connection[Any], table: str, rows: Iterable[ImageRow]) -> None:
    name = sql.Identifier(table)
    owner.execute(sql.SQL("CREATE TABLE {} (LIKE images INCLUDING ALL)").format(name))
    with owner.cursor() as cursor, cursor.copy(sql.SQL("COPY {} FROM STDIN").format(name)) as copy:
        for row in rows:
            copy.write_row(row)
    owner.execute(sql.SQL("GRANT SELECT ON {} TO PUBLIC").format(name))
    owner.execute(sql.SQL("VACUUM ANALYZE {}").format(name))
