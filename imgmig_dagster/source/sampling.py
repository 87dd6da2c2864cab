"""A random sample of the table, spread over its windows, that includes rows of rare shapes.

One statement returns candidates, each row with the same chance, and what the choice among them needs. The choice is
made here; `SourceReader.sample` reads the rows. ``docs/verification.md`` explains what the sample says about all rows.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from random import Random
from typing import Any, Final, NamedTuple

from psycopg import sql

from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import PictureColumns
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.window import Window, dated

_RARE_SHARE: Final = 12
"""One of this many drawn rows is for each rare shape: with three shapes a quarter of the sample."""
_ALL: Final = 50_000
"""In a table of up to this many rows each is a candidate; in a larger one, one in `_ONE_IN` within these bounds."""
_ONE_IN: Final = 200
_FEWEST, _MOST = 3_000, 50_000
_LOWEST_TICKET, _HIGHEST_TICKET = -(2**63), 2**63 - 1


class Shape(str, Enum):
    """Why a row is in the sample."""

    RANDOM = "at random"
    """Drawn from its part of the table, regardless of shape. Only these rows say something about rows not drawn."""
    NO_THUMBNAIL = "has no thumbnail"
    NULL = "has a NULL"
    """In a table without pictures."""
    NAME = "name beyond ASCII"
    """Or with control characters in it."""
    TEXT = "text beyond ASCII"
    """The same in any column, in a table without pictures."""
    LARGEST = "among the largest"


@dataclass(frozen=True)
class SampledRow:
    """A row, and why it was drawn."""

    shape: Shape
    row: Row


class Candidate(NamedTuple):
    """A row that can be drawn.

    `stratum` is the number of its window, from 1; 0 is before the first one, the highest after the last one, -1 without
    a time. `incomplete` says that it has a NULL, or no thumbnail; `size` is that of its picture, or of the row.
    """

    row_id: str
    stratum: int
    ticket: int
    incomplete: bool
    is_beyond_ascii: bool | None
    size: int | None


# In a sub-select the bounds are parsed once.
_STRATUM: Final = "coalesce(width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[])), -1)"
# A ticket is a hash that is not cryptographic: a server in FIPS mode refuses md5(). By its full name, since a role's
# search_path may hold another function.
_TICKET: Final = 'pg_catalog.hashtextextended({id_text} COLLATE "C", %(lot)s::bigint)'
# A row without an id is in no sample.
_EVERY: Final = "NOT {id_is_null}"
# By the ids alone: they are in an index, and several processes read them if the planner expects few rows. It expects
# one in 200 between two bounds, and a third below one. So the lower bound is for the planner; it comes last, since all
# rows are above it. Unless the ids are materialized, the whole table is read instead.
_BY_LOT: Final = f"""
WITH with_ticket AS MATERIALIZED (
    SELECT {{id}} FROM {{table}} t
    WHERE {_EVERY} AND {_TICKET} <= %(bar)s::bigint AND {_TICKET} >= {_LOWEST_TICKET}
)
"""  # noqa: S608 - nothing but constants of this module
_WITH_TICKET: Final = "({id}) IN (SELECT * FROM with_ticket)"
# The text is made once, and compared by its bytes: comparing characters takes several times as long.
_CANDIDATES: Final = f"""
SELECT {{id_out}}, {_STRATUM}, {_TICKET}, {{incomplete}}, (made.text COLLATE "C") ~ '[^ -~]', {{size}}
FROM {{table}} t CROSS JOIN LATERAL (SELECT {{text}} OFFSET 0) AS made(text) WHERE """  # noqa: S608 - see above


@dataclass(frozen=True)
class Lottery:
    """Which rows are candidates: enough of about `rows` that `size` can be drawn; `lot` makes the chance."""

    rows: int
    size: int
    lot: int

    @property
    def tickets(self) -> int:
        """About how many candidates there are. The sample's error bound depends on having this many."""
        if self.rows <= _ALL:
            return self.rows
        return max(_FEWEST, min(self.rows // _ONE_IN, _MOST), self.size**2 // 3)

    def statement(
        self, pieces: Expressions, picture: PictureColumns | None, windows: Sequence[Window], widened: int
    ) -> tuple[sql.Composed, dict[str, Any]]:
        """The statement that returns the `Candidate`s, `widened` times more of them."""
        windows = dated(windows)
        ends = [Window("behind", each.end, each.end) for each in windows[-1:]]
        of_all = self.is_of_all(widened)
        query = sql.SQL(_CANDIDATES + _EVERY if of_all else _BY_LOT + _CANDIDATES + _WITH_TICKET)
        found = query.format(**pieces.names, **_rare_shapes(pieces, picture))
        return found, {**pieces.starts([*windows, *ends]), "lot": self.lot, "bar": self._bar(widened)}

    def is_of_all(self, widened: int) -> bool:
        """Whether each row is a candidate."""
        return self.tickets * widened >= self.rows

    def _bar(self, widened: int) -> int:
        """The highest ticket of a candidate."""
        if self.is_of_all(widened):
            return _HIGHEST_TICKET
        return _LOWEST_TICKET + self.tickets * widened * (_HIGHEST_TICKET - _LOWEST_TICKET) // self.rows


def lot_of(random: Random) -> int:
    """The number that makes the tickets of one sample."""
    return random.getrandbits(64) + _LOWEST_TICKET


def chosen(
    candidates: Iterable[Candidate], size: int, picture: PictureColumns | None, random: Random
) -> dict[str, Shape]:
    """The ids of `size` random rows, or of all there are, and why each was drawn."""
    # If two rows have the same id, one is enough.
    single = {each.row_id: each for each in candidates}
    by_ticket = sorted(single.values(), key=lambda each: (each.ticket, each.row_id))
    found = _rare(by_ticket, size // _RARE_SHARE, picture)
    others = sorted((each for each in by_ticket if each.row_id not in found), key=lambda each: each.stratum)
    # The ranks say how many rows of each window, the tickets which ones.
    counts = Counter(each.stratum for each in others)
    ends, strata = [*accumulate(counts.values())], [*counts]
    numbers = Counter(strata[bisect_right(ends, rank)] for rank in ranks(len(others), size - len(found), random))
    for each in others:
        if numbers[each.stratum]:
            numbers[each.stratum] -= 1
            found[each.row_id] = Shape.RANDOM
    return found


def ranks(total: int, number: int, random: Random) -> set[int]:
    """`number` ranks below `total`, one from each of `number` equal parts; all if there are no more.

    If a part begins within a rank, two parts may draw the same one: it counts once, and another takes its place.
    """
    if number >= total:
        return set(range(total))
    found = {(part * total + random.randrange(total)) // number for part in range(number)}
    while len(found) < number:
        found.add(random.randrange(total))
    return found


def _rare(by_ticket: Sequence[Candidate], number: int, picture: PictureColumns | None) -> dict[str, Shape]:
    """`number` rows of each rare shape, if there are as many; a row of several shapes counts for each."""
    incomplete, beyond = (Shape.NULL, Shape.TEXT) if picture is None else (Shape.NO_THUMBNAIL, Shape.NAME)
    largest = sorted(by_ticket, key=lambda each: (each.size is None, -(each.size or 0)))
    shapes = {
        Shape.LARGEST: largest[:number],
        incomplete: [each for each in by_ticket if each.incomplete][:number],
        beyond: [each for each in by_ticket if each.is_beyond_ascii][:number],
    }
    found = dict[str, Shape]()
    for shape, some in shapes.items():
        for each in some:
            found.setdefault(each.row_id, shape)
    return found


def _rare_shapes(pieces: Expressions, picture: PictureColumns | None) -> dict[str, sql.Composable]:
    """What `_CANDIDATES` treats as rare: in pictures, or without pictures in any column of the mapping."""
    if picture is None:
        row = sql.SQL("ROW({})").format(sql.SQL(", ").join(map(pieces.values.bare, pieces.table.mapping.columns)))
        return {
            "incomplete": sql.SQL("NOT ({} IS NOT NULL)").format(row),
            "text": sql.SQL("{}::text").format(row),
            "size": sql.SQL("octet_length(made.text)"),
        }
    thumbnail = None if picture.thumbnail_key is None else pieces.values.bare(picture.thumbnail_key)
    return {
        "incomplete": sql.SQL("false") if thumbnail is None else sql.SQL("{} IS NULL").format(thumbnail),
        "text": sql.SQL("{}::text").format(pieces.values.bare(picture.name)),
        "size": pieces.values.bare(picture.size),
    }
