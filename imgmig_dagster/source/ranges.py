"""What a window holds on one snapshot of the source, by ranges of its order: counts, digests, and places.

`Statements.snapshot` opens a snapshot; everything asked through it is of one moment. `reader` reads the rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from imgmig_dagster.batches import batched
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.statements import Parameters, Snapshot
from imgmig_dagster.window import Window, from_microseconds

# How many ranges one statement asks for: far below the longest allowed statement.
_RANGES: Final = 500


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


def ends(snapshot: Snapshot, window: Window) -> tuple[Cursor, Cursor] | None:
    """The places of the window's first and last row; None where it is empty."""
    query = "SELECT {order_place}, {id_out} FROM {table} t WHERE {inside} ORDER BY "
    found = [
        snapshot(f"{query}{way} LIMIT 1", window=window) for way in ("{order}, {id}", "{order} DESC, {id_last_first}")
    ]
    if not found[0]:
        return None
    (first, first_id), (last, last_id) = found[0][0], found[1][0]
    return (first or 0, str(first_id)), (last or 0, str(last_id))


def sums(snapshot: Snapshot, window: Window, places: Sequence[Cursor]) -> list[Sum]:
    """The sums of the ranges into which these places, in order, cut the window: one more than there are places.

    Each range ends with its place; the last one ends with the window.
    """
    if not places:
        return [_sum(snapshot, window, "")]
    first = _sum(snapshot, window, "AND {up_to_until}", until=places[0])
    last = _sum(snapshot, window, "AND {behind_after}", after=places[-1])
    return [first, *_between(snapshot, window, places), last]


def placed_rows(
    snapshot: Snapshot, window: Window, after: Cursor | None, until: Cursor | None, size: int
) -> Iterator[list[Placed]]:
    """The rows of a range in order, at most `size` at a time; None means the window's start or end."""
    while True:
        found = _placed(snapshot, window, after, until, size)
        if found:
            yield found
        if len(found) < size:
            return
        after = found[-1].place


def _sum(snapshot: Snapshot, window: Window, range_: str, **places: Cursor) -> Sum:
    query = f"SELECT count(*), coalesce(sum({{digest}}), 0)::text FROM {{table}} t WHERE {{inside}} {range_}"  # noqa: S608
    ((rows, digest),) = snapshot(query, _parameters(places), window)
    return Sum(rows, int(digest))


def _between(snapshot: Snapshot, window: Window, places: Sequence[Cursor]) -> Iterator[Sum]:
    query = (
        "SELECT found.rows, found.digest FROM ({ranges}) AS range CROSS JOIN LATERAL"
        " (SELECT count(*) AS rows, coalesce(sum({digest}), 0)::text AS digest FROM {table} t"
        " WHERE {inside} AND {within_range}) AS found ORDER BY range.n"
    )
    for some in batched(range(len(places) - 1), _RANGES):
        chosen = places[some[0] : some[-1] + 2]

        def parameters(at: Expressions, chosen: Sequence[Cursor] = chosen) -> dict[str, Any]:
            return at.between(chosen)

        yield from (Sum(rows, int(digest)) for rows, digest in snapshot(query, parameters, window))


def _placed(snapshot: Snapshot, window: Window, after: Cursor | None, until: Cursor | None, size: int) -> list[Placed]:
    query, places = "SELECT {order_place}, {id_out}, {digest} FROM {table} t WHERE {inside}", dict[str, Cursor]()
    if after is not None:
        query, places["after"] = f"{query} AND {{behind_after}}", after
    if until is not None:
        query, places["until"] = f"{query} AND {{up_to_until}}", until
    within = _parameters(places)
    query = f"{query} ORDER BY {{order}}, {{id}} LIMIT %(size)s"
    found = snapshot(query, lambda at: {**within(at), "size": size}, window)
    return [Placed((place or 0, str(row_id)), digest) for place, row_id, digest in found]


def _parameters(places: Mapping[str, Cursor]) -> Parameters:
    def of(at: Expressions) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, place in places.items():
            found |= at.position(name, place)
        return found

    return of
