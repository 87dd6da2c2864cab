"""What the source says of a window in one statement: how much there is, and a digest of what it says."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import sql

from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.window import from_microseconds


@dataclass(frozen=True)
class Inventory:
    """What the source says of a window, in one statement and thus of one snapshot.

    `row_bytes` is the length of the rows in PostgreSQL's binary format. `digest` is a sum of 64-bit
    hashes of the mapped columns: it changes with any value, and two windows' digests add up. `watermark` is the latest
    finite `modified_column`.
    """

    rows: int
    row_bytes: int
    nulls: dict[str, int]
    digest: str
    watermark: datetime | None
    read_at: datetime


# Rows in binary, types and lengths included: to write a row as text takes the server twice as long as all the rest.
# SHA-256, since a server in FIPS mode refuses md5(); by its full name, since a role's search_path may hold another one.
_STATEMENT = """
SELECT count(*), coalesce(sum(octet_length(mapped.content)), 0),
       coalesce(sum(('x' || {digest})::bit(64)::bigint), 0)::text,
       max({modified}) FILTER (WHERE isfinite({modified})), now(), {nulls}
FROM {table} t CROSS JOIN LATERAL (SELECT pg_catalog.record_send(ROW({columns}))) AS mapped(content) WHERE {inside}
"""
_DIGEST = sql.SQL("pg_catalog.encode(pg_catalog.substr(pg_catalog.sha256(mapped.content), 1, 8), 'hex')")


def statement(pieces: Expressions, columns: Sequence[str]) -> sql.Composed:
    """The statement; its parameters are a window's."""
    nulls = sql.SQL(", ").join(pieces.null_count(name) for name in columns)
    return sql.SQL(_STATEMENT).format(nulls=nulls, digest=_DIGEST, **pieces.names)


def inventory_of(found: tuple[Any, ...], columns: Sequence[str]) -> Inventory:
    """The inventory from the statement's one row."""
    rows, size, digest, watermark_us, now_us, *null_counts = found
    return Inventory(
        rows=rows,
        row_bytes=int(size),
        nulls={name: count for name, count in zip(columns, null_counts, strict=True) if count},
        digest=digest,
        watermark=_finite_moment(watermark_us),
        read_at=from_microseconds(now_us),
    )


def _finite_moment(timestamp_us: int | None) -> datetime | None:
    if timestamp_us is None:
        return None
    try:
        return from_microseconds(timestamp_us)
    except OverflowError:
        return None
