"""The measured rows: the sandbox's synthetic ones, moved into one month, in tables of their own."""

from collections.abc import Iterable, Iterator
from datetime import datetime, timedelta, timezone
from typing import Any, Final

import psycopg
from psycopg import sql

from benchmarks.job import MARCH
from imgmig_dagster.sandbox.seed import SYNTHETIC_START, ImageRow, synthetic_rows

_SYNTHETIC_START = datetime(SYNTHETIC_START.year, SYNTHETIC_START.month, SYNTHETIC_START.day, tzinfo=timezone.utc)
FIRST_DAY = datetime(2016, 1, 1, tzinfo=timezone.utc)
_LARGE: Final = """
INSERT INTO {table}
SELECT gen_random_uuid(), gen_random_uuid(), moment, moment + random() * interval '30 days',
       left(repeat(md5(number::text), 64), (48 * 42.67 ^ random())::integer),
       'originals/' || number || '.jpg', 'bench-pictures', CASE WHEN number % 9 > 0 THEN 'thumbs/' || number END,
       'image/jpeg', number * 37 % 9000000, number % 4000, CASE WHEN number % 7 > 0 THEN number % 3000 END
FROM (SELECT number, timestamptz '2023-01-01Z' + (number::float8 / {rows}) * interval '730 days' AS moment
      FROM generate_series(1, {rows}) AS number) AS numbers
"""


def march_table(rows: int) -> str:
    """The name of the table that holds so many rows, all created in March 2024."""
    return f"images_{rows}"


def make_march_table(owner: psycopg.Connection[Any], rows: int) -> None:
    """Fill `march_table`. The 731 days of the synthetic rows become 31, with their ties.

    Two tables have no id in common: the rows with which one way warmed up do not block the next one.
    """
    _fill(
        owner,
        march_table(rows),
        (
            row._replace(created_at=MARCH.start + (row.created_at - _SYNTHETIC_START) / 24, updated_at=row.updated_at)
            for row in synthetic_rows(rows, seed=rows)
        ),
    )


def make_daily_table(owner: psycopg.Connection[Any], days: int, rows: int) -> str:
    """Fill a table with so many rows at noon of each day from `FIRST_DAY` on, and return its name."""
    name = f"images_{days}_days_of_{rows}"
    _fill(owner, name, _daily(days, rows))
    return name


def make_large_table(owner: psycopg.Connection[Any], rows: int) -> str:
    """Fill a table in PostgreSQL itself, spread over the 24 months from 2023 on, and return its name.

    The names of the files are of 48 bytes to 2 KB, each length's logarithm as likely as another's: a row's content.
    """
    name = f"images_large_{rows}"
    table = sql.Identifier(name)
    owner.execute(sql.SQL("CREATE TABLE {} (LIKE images)").format(table))
    owner.execute(
        sql.SQL(_LARGE).format(table=table, rows=sql.Literal(rows)),
    )
    owner.execute(sql.SQL("ALTER TABLE {} ADD PRIMARY KEY (id)").format(table))
    owner.execute(sql.SQL("CREATE INDEX ON {} (created_at, id)").format(table))
    owner.execute(sql.SQL("GRANT SELECT ON {} TO PUBLIC").format(table))
    owner.execute(sql.SQL("VACUUM ANALYZE {}").format(table))
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
