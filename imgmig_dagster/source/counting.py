"""How many rows there are: of a window, of all windows, outside of them, under one id."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.inventory import Inventory, inventory_of, statement
from imgmig_dagster.source.statements import Statements
from imgmig_dagster.window import Window

SAMPLE_SIZE: Final = 20


@dataclass(frozen=True)
class RowsOutside:
    """Rows that no partition holds: a NULL or infinite order column, or one before the first or after the last."""

    rows: int
    sample_ids: tuple[str, ...]


@dataclass(frozen=True)
class RepeatedIds:
    """Ids that stand in the table more than once, or are NULL."""

    ids: int
    sample_ids: tuple[str, ...]


NONE_REPEATED: Final = RepeatedIds(0, ())


@dataclass(frozen=True)
class RowCounts:
    """The rows of the whole table, counted in two ways on one snapshot, which have to agree.

    `everything` is a plain count, as the application's own queries would count; `inside` sums up the rows of adjoining
    windows, and `outside` is what lies in none of them.
    """

    everything: int
    inside: int
    outside: RowsOutside


class Counting(Statements):
    """The counts of a source table."""

    def count(self, window: Window) -> int:
        """The rows of a window."""
        found: int = self._fetch("SELECT count(*) FROM {table} t WHERE {inside}", lambda at: at.window(window))[0][0]
        return found

    def count_all(self) -> int:
        """The rows of the whole table."""
        found: int = self._fetch("SELECT count(*) FROM {table} t")[0][0]
        return found

    def inventory(self, window: Window) -> Inventory:
        """Count, size, NULLs, digest and watermark of a window."""
        columns = self.mapping.columns

        def make(pieces: Expressions) -> tuple[sql.Composed, dict[str, Any]]:
            return statement(pieces, columns), pieces.window(window)

        return inventory_of(self._carry_out(make)[0], columns)

    def repeated_ids(self, window: Window | None = None) -> RepeatedIds:
        """The ids that stand in the table more than once; of a window, those that have a row in it.

        A look at the whole table, which only one without a unique index on the id is worth.
        """
        query = (
            "SELECT id, count(*) OVER () FROM ("
            "(SELECT {id_out} AS id FROM {table} t {of_window} GROUP BY 1 HAVING count(*) > 1)"
            " UNION ALL (SELECT {id_out} FROM {table} t WHERE {id} IS NULL {and_inside})) AS found LIMIT %(size)s"
        )
        of_window = "" if window is None else "WHERE {id} IN (SELECT {id} FROM {table} t WHERE {inside})"
        query = query.replace("{of_window}", of_window).replace("{and_inside}", "AND {inside}" if window else "")
        found = self._fetch(query, lambda at: {"size": SAMPLE_SIZE, **({} if window is None else at.window(window))})
        return RepeatedIds(found[0][1] if found else 0, tuple(sorted(str(row[0]) for row in found)))

    def rows_outside(self, start: datetime, end: datetime) -> RowsOutside:
        """The rows whose order column is not in ``[start, end)``, NULL and ±infinity included."""
        return _rows_outside(self._fetch, Window("all", start, end))

    def counts(self, windows: Sequence[Window]) -> RowCounts:
        """The rows of the whole table, of these adjoining windows, and outside of them, on one snapshot."""
        with self._snapshot() as fetch:
            return counts_of(fetch, windows)

    def rows_per_window(self, windows: Sequence[Window]) -> dict[str, int]:
        """How many rows each of these adjoining windows holds, by partition key; empty ones are left out."""
        return _rows_per_window(self._fetch, windows) if windows else {}

    def _refuse_repeated_ids(self, window: Window) -> None:
        if self.table.id_is_indexed:
            return
        found = self.repeated_ids(window)
        if found.ids:
            raise SourceRefused(
                f"{self.table.relation.shown} has more than one row with the {self.mapping.id_column} "
                f"{found.sample_ids[0]}, or it is NULL ({found.ids:,} such in all): mend them in the source"
            )


def counts_of(fetch: Callable[..., list[Any]], windows: Sequence[Window]) -> RowCounts:
    """See `Counting.counts`; `fetch` reads on one snapshot."""
    return RowCounts(
        everything=fetch("SELECT count(*) FROM {with_children} t")[0][0],
        inside=sum(_rows_per_window(fetch, windows).values()),
        outside=_rows_outside(fetch, Window("all", windows[0].start, windows[-1].end)),
    )


def _rows_per_window(fetch: Callable[..., list[Any]], windows: Sequence[Window]) -> dict[str, int]:
    # In a sub-select the bounds are parsed once; beside the column they would be parsed for every row.
    query = (
        "SELECT width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[])), count(*) FROM {table} t"
        " WHERE {inside} GROUP BY 1"
    )
    whole = Window("all", windows[0].start, windows[-1].end)
    found = fetch(query, lambda at: {**at.window(whole), **at.starts(windows)})
    return {windows[bucket - 1].partition: count for bucket, count in sorted(found)}


def _rows_outside(fetch: Callable[..., list[Any]], everything: Window) -> RowsOutside:
    count = fetch("SELECT count(*) FROM {table} t WHERE {outside}", lambda at: at.window(everything))[0][0]
    if not count:  # to look for some would walk the whole of the id's index
        return RowsOutside(0, ())
    # OFFSET keeps the planner from walking the id's index in search of them.
    query = "SELECT {id_out} FROM (SELECT {id} FROM {table} t WHERE {outside} OFFSET 0) t ORDER BY {id} LIMIT %(size)s"
    found = fetch(query, lambda at: {**at.window(everything), "size": SAMPLE_SIZE})
    return RowsOutside(count, tuple(str(row_id) for (row_id,) in found))
