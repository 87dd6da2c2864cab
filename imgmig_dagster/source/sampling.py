"""A sample of the table that is random, spread over its windows, and has rows of rare shapes in it.

All of it is read on one snapshot, and without a sort on the server's disk: how many rows each window has, which are of
rare shapes, and which the lot falls on. What the sample says of all rows stands in ``docs/verification.md``.
"""

from bisect import bisect_right
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import accumulate
from random import Random
from types import MappingProxyType
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import PictureColumns
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.statements import Snapshot
from imgmig_dagster.window import Window, dated

_RARE_SHARE: Final = 12
"""Of this many rows drawn, one is drawn for each rare shape: three shapes, a quarter of the sample."""
_LOOKED_AT: Final = 1_000_000
"""Rows among which rare shapes are looked for; of a larger table, in windows by lot until there are as many."""
_LOWEST_TICKET, _HIGHEST_TICKET = -(2**63), 2**63 - 1
_WIDER: Final = 8
"""So many times more tickets are let through where too few rows had one."""


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


# The number of a row's window: from 1; 0 before the first one, the highest behind the last one, -1 without a time. In a
# sub-select the bounds are parsed once.
_STRATUM: Final = "coalesce(width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[])), -1)"
# A row without an id is in no sample.
_COUNTS: Final = f"SELECT {_STRATUM}, count(*) FROM {{table}} t WHERE NOT {{id_is_null}} GROUP BY 1"  # noqa: S608
# The lottery is a hash that is none of cryptography, by its full name: a server in FIPS mode refuses md5(), and a
# role's search_path may hold another one.
_TICKET: Final = 'pg_catalog.hashtextextended({id_text} COLLATE "C", %(lot)s::bigint)'
# Each shape is a look of its own, and keeps no more rows than are drawn for it; a materialized CTE would go to disk.
# The limits tell the planner that the join is a small one.
_RARE: Final = f"""
WITH lottery AS NOT MATERIALIZED (
    SELECT {{id_value}} AS id, {{size}} AS size, {_TICKET} AS ticket, {{lacks}} AS lacks,
           {{text}} ~ '[^ -~]' AS is_beyond_ascii
    FROM {{table}} t WHERE NOT {{id_is_null}} AND {{looked_at}}
), rare AS (
    SELECT {{lacking}} AS shape, row_number() OVER () AS place, id FROM (
        SELECT id FROM lottery WHERE lacks ORDER BY ticket, id LIMIT %(rare)s) AS lacking
    UNION ALL
    SELECT {{beyond_ascii}}, row_number() OVER (), id FROM (
        SELECT id FROM lottery WHERE is_beyond_ascii ORDER BY ticket, id LIMIT %(rare)s) AS beyond
    UNION ALL
    SELECT '{Shape.LARGEST.value}', row_number() OVER (), id FROM (
        SELECT id FROM lottery ORDER BY size DESC NULLS LAST, ticket, id LIMIT %(rare)s) AS largest
)
SELECT rare.place, rare.shape, {_STRATUM}, {{columns}} FROM rare JOIN {{table}} t ON {{id_value}} = rare.id
"""  # noqa: S608 - nothing but constants of this module
# By window: no ticket above its bar is looked at, so that few rows are sorted, and of a window from which none is drawn
# no ticket is made.
_BAR: Final = f"(SELECT %(bars)s::bigint[])[{_STRATUM} + 2]"
_DRAWN: Final = f"""
WITH tickets AS (
    SELECT {_STRATUM} AS stratum, {_TICKET} AS ticket, {{id_value}} AS id FROM {{table}} t
    WHERE NOT {{id_is_null}} AND {_BAR} > {_LOWEST_TICKET} AND {_TICKET} <= {_BAR}
), placed AS (
    SELECT stratum, id, row_number() OVER (PARTITION BY stratum ORDER BY ticket, id) AS place FROM tickets
), drawn AS (
    SELECT stratum, place, id FROM placed
    WHERE place <= (SELECT %(numbers)s::bigint[])[stratum + 2] LIMIT %(size)s
)
SELECT drawn.stratum, drawn.place, {{columns}} FROM drawn JOIN {{table}} t ON {{id_value}} = drawn.id
ORDER BY {{order}}, {{id}}
"""  # noqa: S608 - nothing but constants of this module


def draw(
    snapshot: Snapshot, size: int, seed: int, picture: PictureColumns | None, windows: Sequence[Window]
) -> list[SampledRow]:
    """`size` rows by lot, or all there are, spread over these adjoining windows and what lies outside of them.

    Their text is not yet decoded: see `Snapshot.stored`.
    """
    lottery = _Lottery(snapshot, Random(seed), dated(windows))  # noqa: S311 - it has to be repeatable
    rare = lottery.rare(size // _RARE_SHARE, picture)
    return [*lottery.at_random(size - len(rare), rare), *(drawn.row for drawn in rare)]


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


@dataclass(frozen=True)
class _Rare:
    """A row of a rare shape, and the number of its window."""

    row: SampledRow
    stratum: int


class _Lottery:
    """One draw from one snapshot. Windows go by the numbers that `_STRATUM` gives them."""

    def __init__(self, snapshot: Snapshot, random: Random, windows: Sequence[Window]) -> None:
        self._snapshot = snapshot
        self._random = random
        self._windows = windows
        self._rows: dict[int, int] = dict(self._ask(_COUNTS))

    def rare(self, number: int, picture: PictureColumns | None) -> list[_Rare]:
        """So many rows of each rare shape, as far as there are; one of several shapes counts for each."""
        if not number:
            return []
        pieces, found = _rare_shapes(self._snapshot.pieces, picture), list[Any]()
        parameters = {"rare": number, "lot": self._lot()}
        for window in self._looked_at():
            query = _RARE.replace("{looked_at}", "{inside}" if window else "true")
            found += self._ask(query, parameters, window, **pieces)
        chosen, taken = dict[str, _Rare](), Counter[str]()
        # By shape, and the first of each look before its second.
        for _place, shape, stratum, *columns in sorted(found, key=lambda each: (each[1], each[0])):
            taken[shape] += 1
            row = Row(columns)
            if taken[shape] <= number:
                chosen.setdefault(row.id, _Rare(SampledRow(Shape(shape), row), stratum))
        return list(chosen.values())

    def at_random(self, number: int, rare: Sequence[_Rare]) -> list[SampledRow]:
        """So many of the other rows.

        The ranks tell how many of each window; which ones, the tickets: as many as are asked for, and as are rare.
        """
        others = Counter(self._rows)
        others.subtract(each.stratum for each in rare)
        ends = [*accumulate(others.values())]
        strata = [*others]
        drawn = ranks(ends[-1] if ends else 0, number, self._random)
        numbers = Counter(strata[bisect_right(ends, rank)] for rank in drawn)
        firsts = numbers + Counter(each.stratum for each in rare if each.stratum in numbers)
        lot, factor = self._lot(), 1
        while True:
            bars = {stratum: self._bar(factor * (2 * first + 10), stratum) for stratum, first in firsts.items()}
            found = self._first_by_ticket(lot, firsts, bars)
            places = Counter(stratum for stratum, _place in found)
            if all(places[stratum] >= first or bars[stratum] == _HIGHEST_TICKET for stratum, first in firsts.items()):
                break
            factor *= _WIDER
        known, chosen = {each.row.row.id for each in rare}, set[tuple[int, int]]()
        for stratum, place in sorted(found):
            if found[stratum, place].id not in known and numbers[stratum]:
                numbers[stratum] -= 1
                chosen.add((stratum, place))
        return [SampledRow(Shape.RANDOM, row) for place, row in found.items() if place in chosen]

    def _first_by_ticket(
        self, lot: int, firsts: Mapping[int, int], bars: Mapping[int, int]
    ) -> dict[tuple[int, int], Row]:
        """The first rows of windows by their tickets, in the table's order; by window and place."""
        strata = range(-1, len(self._windows) + 2)
        parameters = {
            "lot": lot,
            "numbers": [firsts.get(stratum, 0) for stratum in strata],
            "bars": [bars.get(stratum, _LOWEST_TICKET) for stratum in strata],
            "size": sum(firsts.values()),
        }
        return {(stratum, place): Row(row) for stratum, place, *row in self._ask(_DRAWN, parameters)}

    def _bar(self, rows: int, stratum: int) -> int:
        """Up to which ticket about so many rows of a window have one."""
        span = _HIGHEST_TICKET - _LOWEST_TICKET
        return min(_HIGHEST_TICKET, _LOWEST_TICKET + rows * span // self._rows[stratum])

    def _looked_at(self) -> Sequence[Window | None]:
        """Where to look for rare shapes; None is the whole table."""
        if sum(self._rows.values()) <= _LOOKED_AT or not self._windows:
            return [None]
        chosen, rows = list[Window](), 0
        for number, window in self._random.sample([*enumerate(self._windows, 1)], len(self._windows)):
            if rows < _LOOKED_AT and number in self._rows:
                chosen.append(window)
                rows += self._rows[number]
        return chosen

    def _lot(self) -> int:
        return self._random.getrandbits(64) + _LOWEST_TICKET

    def _ask(
        self,
        query: str,
        parameters: Mapping[str, Any] = MappingProxyType({}),
        window: Window | None = None,
        **pieces: sql.Composable,
    ) -> list[Any]:
        ends = [Window("behind", each.end, each.end) for each in self._windows[-1:]]
        return self._snapshot.stored(
            query, lambda at: {**at.starts([*self._windows, *ends]), **parameters}, window, **pieces
        )


def _rare_shapes(pieces: Expressions, picture: PictureColumns | None) -> dict[str, sql.Composable]:
    """What `_RARE` takes for rare: of pictures, or where there are none of whatever the mapping reads."""
    if picture is None:
        row = sql.SQL("ROW({})").format(sql.SQL(", ").join(map(pieces.bare, pieces.table.mapping.columns)))
        return {
            "lacks": sql.SQL("NOT ({} IS NOT NULL)").format(row),
            "lacking": sql.Literal(Shape.NULL.value),
            "text": sql.SQL("{}::text").format(row),
            "beyond_ascii": sql.Literal(Shape.TEXT.value),
            "size": sql.SQL("octet_length({}::text)").format(row),
        }
    thumbnail = None if picture.thumbnail_key is None else pieces.bare(picture.thumbnail_key)
    return {
        "lacks": sql.SQL("false") if thumbnail is None else sql.SQL("{} IS NULL").format(thumbnail),
        "lacking": sql.Literal(Shape.NO_THUMBNAIL.value),
        "text": sql.SQL("{}::text").format(pieces.bare(picture.name)),
        "beyond_ascii": sql.Literal(Shape.NAME.value),
        "size": pieces.bare(picture.size),
    }
