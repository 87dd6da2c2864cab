"""What windows hold on one snapshot of the source, by ranges of their order: counts, digests, and places.

`Statements.snapshot` opens a snapshot; everything asked through it is of one moment. `reader` reads the rows. A
statement asks about many ranges, of many windows, and an index finds the rows of each.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final, NamedTuple

from imgmig_dagster.batches import batched
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.statements import Snapshot, between
from imgmig_dagster.window import Window, from_microseconds

RANGES_AT_ONCE: Final = 2_000
"""How many ranges one statement asks about: of a thousand rows each, far below the statement_timeout."""
_OF_RANGE: Final = (
    "SELECT range.n, found.* FROM ranges AS range CROSS JOIN LATERAL"
    " (SELECT {what} FROM {table} t WHERE {inside_range} {sides} {further}) AS found WHERE {which}"
)
# Ranges that begin or end with their window have conditions of their own: an OR would keep the index from being used.
_SIDES: Final = {
    "range.after_0 IS NULL AND range.until_0 IS NULL": "",
    "range.after_0 IS NULL AND range.until_0 IS NOT NULL": "AND {up_to_range}",
    "range.after_0 IS NOT NULL AND range.until_0 IS NULL": "AND {behind_range}",
    "range.after_0 IS NOT NULL AND range.until_0 IS NOT NULL": "AND {behind_range} AND {up_to_range}",
}
_OF_RANGES: Final = "WITH ranges AS ({ranges}) " + " UNION ALL ".join(
    _OF_RANGE.replace("{which}", which).replace("{sides}", sides) for which, sides in _SIDES.items()
)


class Range(NamedTuple):
    """The rows of a window after one place, up to another one; None means the window's start or end."""

    window: Window
    after: Cursor | None = None
    until: Cursor | None = None


@dataclass(frozen=True)
class Sum:
    """How many rows there are, and the sum of their digests."""

    rows: int
    digest: int


@dataclass(frozen=True)
class Placed:
    """One row: its place in the window, and the digest of its content."""

    place: Cursor
    digest: int

    @property
    def id(self) -> str:
        """The row's id."""
        return self.place[1]


def moment_of(snapshot: Snapshot) -> str:
    """The snapshot's moment, ISO 8601 by the server's clock. It contains what was committed before."""
    ((moment,),) = snapshot("SELECT now()")
    return from_microseconds(moment).isoformat(timespec="milliseconds")


def cut(window: Window, places: Sequence[Cursor]) -> list[Range]:
    """The ranges into which these places, in order, cut a window: one more than there are places.

    Each range ends with its place; the last one ends with the window.
    """
    return [Range(window, after, until) for after, until in pairwise([None, *places, None])]


def ends(snapshot: Snapshot, windows: Sequence[Window]) -> dict[Window, tuple[Cursor, Cursor]]:
    """The places of each window's first and last row. Empty windows are left out."""
    whole = [Range(window) for window in windows]
    first, last = (
        {
            whole[n].window: (place or 0, str(row_id))
            for n, place, row_id in _of_ranges(snapshot, "{order_place}, {id_out}", whole, f"ORDER BY {way} LIMIT 1")
        }
        for way in ("{order}, {id}", "{order} DESC, {id_last_first}")
    )
    return {window: (first[window], last[window]) for window in first}


def sums(snapshot: Snapshot, ranges: Sequence[Range]) -> list[Sum]:
    """The sum of each range."""
    what = "count(*) AS rows, coalesce(sum({digest}), 0)::text AS digest"
    found = {n: Sum(rows, int(digest)) for n, rows, digest in _of_ranges(snapshot, what, ranges)}
    return [found[n] for n in range(len(ranges))]


def row_digests(snapshot: Snapshot, ranges: Sequence[Range]) -> list[list[tuple[str, int]]]:
    """Id and digest of each row of each range, all read at once."""
    found: list[list[tuple[str, int]]] = [[] for _range in ranges]
    for n, row_id, digest in _of_ranges(snapshot, "{id_out}, {digest}", ranges):
        found[n].append((str(row_id), digest))
    return found


def placed_rows(snapshot: Snapshot, window: Window, after: Cursor | None, size: int) -> Iterator[list[Placed]]:
    """The rows of a window after a place, in order, at most `size` at a time; None means the window's start."""
    while True:
        behind, parameters = between(after, size=size)
        query = f"SELECT {{order_place}}, {{id_out}}, {{digest}} FROM {{table}} t WHERE {{inside}}{behind}"  # noqa: S608
        read = snapshot(f"{query} ORDER BY {{order}}, {{id}} LIMIT %(size)s", parameters, window)
        found = [Placed((place or 0, str(row_id)), digest) for place, row_id, digest in read]
        if found:
            yield found
        if len(found) < size:
            return
        after = found[-1].place


def _of_ranges(snapshot: Snapshot, what: str, ranges: Sequence[Range], further: str = "") -> Iterator[tuple[Any, ...]]:
    """What a statement selects of the rows of each range, after the range's index."""
    query = _OF_RANGES.replace("{what}", what).replace("{further}", further)
    numbered = list(enumerate(ranges))
    for is_undated in (False, True):
        chosen = [each for each in numbered if each[1].window.is_undated is is_undated]
        for some in batched(chosen, RANGES_AT_ONCE):
            asked = [each for _n, each in some]

            def parameters(at: Expressions, asked: Sequence[Range] = asked) -> dict[str, Any]:
                return at.of_ranges(asked)

            window = asked[0].window if is_undated else None
            for n, *found in snapshot(query, parameters, window):
                yield some[n - 1][0], *found
