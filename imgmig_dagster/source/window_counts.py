"""What the source says of a window in one statement: how much there is, and a digest of what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.row_digest_sql import row_digest
from imgmig_dagster.window import Window, from_microseconds


@dataclass(frozen=True)
class Inventory:
    """What the source says of a window, in one statement and thus of one snapshot.

    `row_bytes` is the length of what is hashed of the rows (`source.row_digest_sql`). `digest` is the sum of the rows'
    digests: two windows' digests add up. `watermark` is the latest finite `modified_column`.
    """

    rows: int
    row_bytes: int
    nulls: dict[str, int]
    digest: str
    watermark: datetime | None
    read_at: datetime


_STATEMENT = """
SELECT count(*), coalesce(sum(octet_length(mapped.content)), 0), coalesce(sum({digest_of_content}), 0)::text,
       {watermark}, now(), {nulls}
FROM {table} t CROSS JOIN LATERAL (SELECT {content}) AS mapped(content) WHERE {inside}
"""


def statement(pieces: Expressions, columns: Sequence[str], window: Window) -> sql.Composed:
    """The statement; its parameters are the window's."""
    nulls = sql.SQL(", ").join(pieces.null_count(name) for name in columns)
    digest = row_digest(sql.SQL("mapped.content"))
    return sql.SQL(_STATEMENT).format(nulls=nulls, digest_of_content=digest, **pieces.names_in(window))


def inventory_of(found: tuple[Any, ...], columns: Sequence[str]) -> Inventory:
    """The inventory from the statement's one row."""
    rows, size, digest, watermark_us, now_us, *null_counts = found
    return Inventory(
        rows=rows,
        row_bytes=int(size),
        nulls={name: count for name, count in zip(columns, null_counts, strict=True) if count},
        digest=digest,
        watermark=finite_moment(watermark_us),
        read_at=from_microseconds(now_us),
    )


def finite_moment(timestamp_us: int | str | None) -> datetime | None:
    """Microseconds since 1970 as a datetime; None where there are none, or no datetime can hold them."""
    if not isinstance(timestamp_us, int):
        return None
    try:
        return from_microseconds(timestamp_us)
    except OverflowError:
        return None
