"""What the source says about a window in one statement: how much there is, and a digest of it.

Also the digests of many windows, by one statement for all of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.row_digest_sql import row_digest
from imgmig_dagster.window import Window, dated, from_microseconds


@dataclass(frozen=True)
class Inventory:
    """What the source says about a window, from one statement and so from one snapshot.

    `row_bytes` is the length of the hashed bytes of the rows (`source.row_digest_sql`). `digest` is the sum of the
    rows' digests: the digests of two windows add up. `watermark` is the latest finite `modified_column`.
    """

    rows: int
    row_bytes: int
    nulls: dict[str, int]
    digest: str
    watermark: datetime | None
    read_at: datetime


_NULLS: Final = sql.SQL("count(*) FILTER (WHERE {} IS NULL)")
_STATEMENT: Final = """
SELECT count(*), coalesce(sum(octet_length(mapped.content)), 0), coalesce(sum({digest_of_content}), 0)::text,
       {watermark}, now(), {nulls}
FROM {table} t CROSS JOIN LATERAL (SELECT {content}) AS mapped(content) WHERE {inside}
"""

# `counting` explains why the bounds are parsed once and why there is an OFFSET. Rows outside the asked windows are not
# hashed.
_DIGESTS: Final = """
SELECT bucket, sum(digest)::text FROM (
    SELECT width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[])) AS bucket, {digest} AS digest
    FROM {table} t WHERE {inside} AND (SELECT %(asked)s::boolean[])[
        width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[]))]
    OFFSET 0
) AS numbered GROUP BY 1
"""


def statement(pieces: Expressions, columns: Sequence[str], window: Window) -> sql.Composed:
    """The statement. Its parameters are those of the window."""
    nulls = sql.SQL(", ").join(_NULLS.format(pieces.values.bare(name)) for name in columns)
    digest = row_digest(sql.SQL("mapped.content"))
    return sql.SQL(_STATEMENT).format(nulls=nulls, digest_of_content=digest, **pieces.names_in(window))


def inventory_of(found: tuple[Any, ...], columns: Sequence[str]) -> Inventory:
    """The inventory from the statement's single row."""
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
    """Microseconds since 1970 as a datetime; None if there are none, or no datetime can hold them."""
    if not isinstance(timestamp_us, int):
        return None
    try:
        return from_microseconds(timestamp_us)
    except OverflowError:
        return None


def digests_of(fetch: Callable[..., list[Any]], windows: Sequence[Window]) -> dict[str, str]:
    """The digest of each of these windows, by partition key. They are in order; other windows may be in between."""
    found = dict.fromkeys((window.partition for window in windows), "0")
    for window in windows:
        if window.is_undated:
            ((digest,),) = fetch("SELECT sum({digest})::text FROM {table} t WHERE {inside}", window=window)
            found[window.partition] = digest or "0"
    pieces = _without_gaps(dated(windows))
    if pieces:
        whole = Window("all", pieces[0].start, pieces[-1].end)
        asked = [piece.partition in found for piece in pieces]
        rows = fetch(_DIGESTS, lambda at: {**at.starts(pieces), "asked": asked}, whole)
        found |= {pieces[bucket - 1].partition: digest for bucket, digest in rows}
    return found


def _without_gaps(windows: Sequence[Window]) -> list[Window]:
    """The windows, and the gaps between them under an empty name."""
    pieces = list[Window]()
    for window in windows:
        if pieces and pieces[-1].end < window.start:
            pieces.append(Window("", pieces[-1].end, window.start))
        pieces.append(window)
    return pieces
