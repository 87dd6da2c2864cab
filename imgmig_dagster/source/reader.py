"""Reads the source's rows: pages of a window by keyset, single rows, samples.

`counting` counts rows, `expressions` holds the pieces of SQL, `catalog` describes the table.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.rows import Cursor, DigestedRow, Row
from imgmig_dagster.mapping.spec import PictureColumns
from imgmig_dagster.source.counting import Counting, RowCounts, row_counts
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.sampling import Candidate, Lottery, SampledRow, Shape, chosen, lot_of
from imgmig_dagster.source.statements import Parameters, between, rows_of
from imgmig_dagster.source.texts import representable
from imgmig_dagster.window import Window

_WIDER: Final = 8
"""How many times more candidates of a sample are read if there were too few."""


class Page(list[Row]):
    """Adjoining rows of a window, in its order; `until` is the position of the last one.

    A position has the order column as it is stored. For a timestamp without a zone that is not the row's instant.
    """

    until: Cursor

    def __init__(self, rows: Sequence[Row], until: Cursor) -> None:
        super().__init__(rows)
        self.until = until


class SourceReader(Counting):
    """One source table, read through a set of connections. Close it, or use it as a context manager.

    Every method raises `SourceUnavailable` if PostgreSQL stays away, and `SourceRefused` if the table does not fit the
    mapping. Timestamps without a zone are read in `time_zone`.
    """

    def pages(self, window: Window, after: Cursor | None, size: int, digested: bool = False) -> Iterator[Page]:
        """The window's rows in order, at most `size` at a time, after the position `after`; `DigestedRow` if
        `digested`.

        Keyset pagination on (order column, id): each page is one statement, so no transaction stays open while the page
        is written.
        """
        while True:
            page = self._page(window, after, size, digested)
            if not page:
                return
            yield page
            if len(page) < size:
                return
            if not self.table.id_is_indexed and not self._expressions.keyset.has_place(page[-1]):
                self._refuse_repeated_ids(window)
            after = page.until

    @contextmanager
    def window_ids(self, window: Window) -> Iterator[Callable[[Cursor | None, Cursor | None], list[str]]]:
        """The window's ids on one snapshot, by ranges of the keyset: those after one position, up to another.

        None means the window's start or end. If the connection is lost, so is the snapshot: `SourceUnavailable`.

        Raises:
            SourceRefused: two rows have one id. Each of them may match its item, and one of them is lost.
        """
        self._refuse_repeated_ids(window)
        with self.snapshot() as snapshot:

            def ids_between(after: Cursor | None, until: Cursor | None) -> list[str]:
                condition, parameters = between(after, until)
                query = "SELECT {id_out} FROM {table} t WHERE {inside}" + condition  # noqa: S608
                ids = [str(row_id) for (row_id,) in snapshot(query, parameters, window)]
                self._refuse_twice(ids)
                return ids

            yield ids_between

    def rows(self, ids: Sequence[str]) -> dict[str, DigestedRow]:
        """The rows of these ids as they are now. An id without a row is not in the result.

        Raises:
            SourceRefused: two rows have one of the ids.
        """
        asked = set(ids)
        found = [row for row in map(DigestedRow.read, self._read(ids, "{columns}, {digest}")) if row.id in asked]
        rows = {row.id: row for row in found}
        self._refuse_twice([row.id for row in found])
        return rows

    def _read(self, ids: Sequence[str], what: str, further: str = "") -> list[Any]:
        """`what` of each row that has one of these ids."""
        encoding = self.table.encoding
        return rows_of(self._fetch, encoding, representable(encoding, ids, self._connections.fetch), what, further)

    def may_have(self, row_id: str) -> bool:
        """Whether a row can have this id, by the types of its columns."""
        return self._expressions.keyset.may_be_of_a_row(row_id)

    def all_rows(self, size: int) -> Iterator[list[Row]]:
        """Every row of the table that has an id, in pages by keyset on the id alone: rows outside all partitions too.

        `repeated_ids` finds rows whose id is NULL.
        """
        after: str | None = None
        while True:
            page = [Row(read) for read in self._fetch(*self._page_by_id("{columns}", after, size))]
            if not page:
                return
            yield page
            after = page[-1].id

    def recount(self, windows: Sequence[Window], size: int) -> Iterator[tuple[RowCounts, list[str]]]:
        """The rows counted, as by `counts`, and every id of the table in pages, all on one snapshot.

        At least one page, which may be empty. Rows whose id is NULL appear in the counts only.
        """
        with self.snapshot() as fetch:
            counts, after = row_counts(fetch, windows), None
            while True:
                ids = [str(row_id) for (row_id,) in fetch(*self._page_by_id("{id_out}", after, size))]
                yield counts, ids
                if not ids:
                    return
                after = ids[-1]

    def sample(
        self,
        size: int,
        seed: int,
        picture: PictureColumns | None,
        windows: Sequence[Window],
        rows: int | None = None,
    ) -> list[SampledRow]:
        """`size` rows drawn at random, or all there are, spread over these adjoining windows and what is around them.

        The same seed draws the same rows of the same table and windows. `rows` is the number of rows in the table, if
        known. A row that is deleted during the draw is left out.
        """
        random = Random(seed)  # noqa: S311 - it has to be repeatable
        lottery = Lottery(self.count_all() if rows is None else rows, size, lot_of(random))
        shapes = chosen(self._candidates(lottery, picture, windows), size, picture, random)
        read = map(Row, self._read(list(shapes), "{columns}", "ORDER BY {order}, {id}"))
        drawn = [SampledRow(shapes[row.id], row) for row in read if row.id in shapes]
        return sorted(drawn, key=lambda each: each.shape is not Shape.RANDOM)

    def _candidates(
        self, lottery: Lottery, picture: PictureColumns | None, windows: Sequence[Window]
    ) -> list[Candidate]:
        widened = 1
        while True:

            def make(pieces: Expressions, widened: int = widened) -> tuple[sql.Composed, dict[str, Any]]:
                return lottery.statement(pieces, picture, windows, widened)

            found = [Candidate(str(row_id), *more) for row_id, *more in self._carry_out(make)]
            # Fewer if rows are deleted, or have no id.
            if len(found) >= lottery.tickets // 2 or lottery.is_of_all(widened):
                return found
            widened *= _WIDER

    def rows_per_bucket(self, picture: PictureColumns, at_most: int) -> dict[str, int]:
        """How many rows name each bucket, most frequent first, at most `at_most` buckets."""

        def make(pieces: Expressions) -> tuple[sql.Composed, dict[str, Any]]:
            values = pieces.values
            query = sql.SQL(
                "SELECT {bucket}, count(*) FROM {table} t WHERE {bare} IS NOT NULL"
                " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(size)s"
            ).format(bucket=values.shown(values.text(picture.bucket)), bare=values.bare(picture.bucket), **pieces.names)
            return query, {"size": at_most}

        return {str(bucket): int(rows) for bucket, rows in self._carry_out(make)}

    def _page(self, window: Window, after: Cursor | None, size: int, digested: bool) -> Page:
        condition, parameters = between(after, size=size)
        what = "{columns}, {digest}{place}" if digested else "{columns}{place}"
        query = f"SELECT {what} FROM {{table}} t WHERE {{inside}}{condition} ORDER BY {{order}}, {{id}} LIMIT %(size)s"  # noqa: S608
        rows = self._fetch(query, parameters, window)
        if not rows:
            return Page([], (0, ""))
        place = 0 if window.is_undated else rows[-1][self.mapping.order_index]
        if self._expressions.places_are_read:
            place, rows = rows[-1][-1], [row[:-1] for row in rows]
        if not isinstance(place, int):
            raise TypeError("a row without an order column has no place in a window")
        page = [*map(DigestedRow.read if digested else Row, rows)]
        return Page(page, (place, page[-1].id))

    def _refuse_twice(self, ids: Sequence[str]) -> None:
        if len(set(ids)) < len(ids):
            (twice, _rows), *_others = Counter(ids).most_common(1)
            raise SourceRefused(
                f"{self.table.relation.shown} has more than one row with the {self.mapping.identity_shown} {twice}: "
                "fix them, and REINDEX its unique index, if it has one"
            )

    @staticmethod
    def _page_by_id(what: str, after: str | None, size: int) -> tuple[str, Parameters]:
        # NULL has no place in the order, so no page could begin after it.
        behind = "" if after is None else "AND {id_behind_after}"
        query = f"SELECT {what} FROM {{table}} t WHERE NOT {{id_is_null}} {behind} ORDER BY {{id}} LIMIT %(size)s"  # noqa: S608
        return query, lambda at: {"size": size, **({} if after is None else at.keyset.id_position("after", after))}
