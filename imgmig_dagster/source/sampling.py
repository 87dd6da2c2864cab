"""A sample of the table that is random, spread over its windows, and has rows of rare shapes in it.

One statement gives the candidates: rows of which each had the same chance, and what has to be known to choose among
them. The sample is chosen here, and `SourceReader.sample` reads its rows. What the sample says of all rows is in
``docs/verification.md``.
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
"""Of this many rows drawn, one is drawn for each rare shape: three shapes, a quarter of the sample."""
_ALL: Final = 50_000
"""Of a table of up to so many rows each is a candidate; of a larger one, one in `_ONE_IN` within these bounds."""
_ONE_IN: Final = 200
_FEWEST, _MOST = 3_000, 50_000
_LOWEST_TICKET, _HIGHEST_TICKET = -(2**63), 2**63 - 1


class Shape(str, Enum):
    """Why a row is in the sample."""

    RANDOM = "at random"
    """Drawn from its part of the table, whatever it is: only such rows say something about those not drawn."""
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

    `stratum` numbers its window: from 1; 0 is before the first one, the highest behind the last one, -1 without a time.
    `lacks` says that it has a NULL, or no thumbnail; `size` that of its picture, or its own.
    """

    row_id: str
    stratum: int
    ticket: int
    lacks: bool
    is_beyond_ascii: bool | None
    size: int | None


# In a sub-select the bounds are parsed once.
_STRATUM: Final = "coalesce(width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[])), -1)"
# A ticket is a hash that is none of cryptography, by its full name: a server in FIPS mode refuses md5(), and a role's
# search_path may hold another one.
_TICKET: Final = 'pg_catalog.hashtextextended({id_text} COLLATE "C", %(lot)s::bigint)'
# A row without an id is in no sample.
_EVERY: Final = "NOT {id_is_null}"
# By the ids alone, which are in an index, and are read by several processes where the planner expects few rows. It
# expects one in 200 between two bounds, and a third below one: the lower bound is for the planner, and comes last,
# since all rows are above it. Unless the ids are materialized, the whole table is read instead.
_BY_LOT: Final = f"""
WITH with_ticket AS MATERIALIZED (
    SELECT {{id}} FROM {{table}} t
    WHERE {_EVERY} AND {_TICKET} <= %(bar)s::bigint AND {_TICKET} >= {_LOWEST_TICKET}
)
"""  # noqa: S608 - nothing but constants of this module
_WITH_TICKET: Final = "({id}) IN (SELECT * FROM with_ticket)"
# The text is made once, and compared by its bytes: to compare characters takes several times as long.
_CANDIDATES: Final = f"""
SELECT {{id_out}}, {_STRATUM}, {_TICKET}, {{lacks}}, (made.text COLLATE "C") ~ '[^ -~]', {{size}}
FROM {{table}} t CROSS JOIN LATERAL (SELECT {{text}} OFFSET 0) AS made(text) WHERE """  # noqa: S608 - see above


@dataclass(frozen=True)
class Lottery:
    """Which rows are candidates: of about `rows`, so many that `size` can be drawn; `lot` is the chance in it."""

    rows: int
    size: int
    lot: int

    @property
    def tickets(self) -> int:
        """About how many candidates there are: for the bound that a sample bears they have to be so many."""
        if self.rows <= _ALL:
            return self.rows
        return max(_FEWEST, min(self.rows // _ONE_IN, _MOST), self.size**2 // 3)

    def statement(
        self, pieces: Expressions, picture: PictureColumns | None, windows: Sequence[Window], widened: int
    ) -> tuple[sql.Composed, dict[str, Any]]:
        """The statement that gives the `Candidate`s, with so many times more of them."""
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
        """Up to which ticket about so many rows have one."""
        if self.is_of_all(widened):
            return _HIGHEST_TICKET
        return _LOWEST_TICKET + self.tickets * widened * (_HIGHEST_TICKET - _LOWEST_TICKET) // self.rows


def lot_of(random: Random) -> int:
    """The number that makes the tickets of one sample."""
    return random.getrandbits(64) + _LOWEST_TICKET


def chosen(
    candidates: Iterable[Candidate], size: int, picture: PictureColumns | None, random: Random
) -> dict[str, Shape]:
    """The ids of `size` rows by lot, or of all there are, and why each was drawn."""
    # Of an id that stands in two rows one is enough.
    single = {each.row_id: each for each in candidates}
    by_ticket = sorted(single.values(), key=lambda each: (each.ticket, each.row_id))
    found = _rare(by_ticket, size // _RARE_SHARE, picture)
    others = sorted((each for each in by_ticket if each.row_id not in found), key=lambda each: each.stratum)
    # The ranks tell how many rows of each window; which ones, the tickets.
    counts = Counter(each.stratum for each in others)
    ends, strata = [*accumulate(counts.values())], [*counts]
    numbers = Counter(strata[bisect_right(ends, rank)] for rank in ranks(len(others), size - len(found), random))
    for each in others:
        if numbers[each.stratum]:
            numbers[each.stratum] -= 1
            found[each.row_id] = Shape.RANDOM
    return found


def ranks(total: int, number: int, random: Random) -> set[int]:
    """So many of the ranks from 0 to below `total`, one from each of `number` equal parts; all where there are no more.

    Where a part begins within a rank, two may draw the same one: it counts once, and any other takes the place.
    """
    if number >= total:
        return set(range(total))
    found = {(part * total + random.randrange(total)) // number for part in range(number)}
    while len(found) < number:
        found.add(random.randrange(total))
    return found


def _rare(by_ticket: Sequence[Candidate], number: int, picture: PictureColumns | None) -> dict[str, Shape]:
    """So many rows of each rare shape, as far as there are; one of several shapes counts for each."""
    lacking, beyond = (Shape.NULL, Shape.TEXT) if picture is None else (Shape.NO_THUMBNAIL, Shape.NAME)
    largest = sorted(by_ticket, key=lambda each: (each.size is None, -(each.size or 0)))
    shapes = {
        Shape.LARGEST: largest[:number],
        lacking: [each for each in by_ticket if each.lacks][:number],
        beyond: [each for each in by_ticket if each.is_beyond_ascii][:number],
    }
    found = dict[str, Shape]()
    for shape, some in shapes.items():
        for each in some:
            found.setdefault(each.row_id, shape)
    return found


def _rare_shapes(pieces: Expressions, picture: PictureColumns | None) -> dict[str, sql.Composable]:
    """What `_CANDIDATES` takes for rare: of pictures, or where there are none of whatever the mapping reads."""
    if picture is None:
        row = sql.SQL("ROW({})").format(sql.SQL(", ").join(map(pieces.bare, pieces.table.mapping.columns)))
        return {
            "lacks": sql.SQL("NOT ({} IS NOT NULL)").format(row),
            "text": sql.SQL("{}::text").format(row),
            "size": sql.SQL("octet_length(made.text)"),
        }
    thumbnail = None if picture.thumbnail_key is None else pieces.bare(picture.thumbnail_key)
    return {
        "lacks": sql.SQL("false") if thumbnail is None else sql.SQL("{} IS NULL").format(thumbnail),
        "text": sql.SQL("{}::text").format(pieces.bare(picture.name)),
        "size": pieces.bare(picture.size),
    }
