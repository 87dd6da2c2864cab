"""Counts rows: of a window, of all windows, outside of them, with the same id.

The sum of the ids' hashes identifies the set of rows: if count and sum are the same at two moments, so are the ids. A
function that takes a `Snapshot` gives figures of the moment of that snapshot (`SourceReader.snapshot`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.canonical import short_hash
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.statements import Snapshot, Statements, rows_of
from imgmig_dagster.source.texts import stored_bytes
from imgmig_dagster.source.window_counts import Inventory, digests_of, finite_moment, inventory_of, statement
from imgmig_dagster.window import UNDATED, Window, dated

SAMPLE_SIZE: Final = 20
OUTSIDE: Final = "outside"
"""Beside the partition keys: the rows that belong to no partition."""

# In a sub-select the bounds are parsed once, not once per row. OFFSET hides from the planner how a window's number is
# computed: the planner would expect as many groups as there are times, and sort the table on disk.
_TABLE_COUNTS: Final = """
SELECT bucket, count(*), coalesce(sum(hash), 0)::text FROM (
    SELECT width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[])) AS bucket, {id_hash} AS hash
    FROM {table} t OFFSET 0
) AS numbered GROUP BY 1
"""
_WINDOW_COUNTS: Final = """
SELECT bucket, count(*) FROM (
    SELECT width_bucket({instant}, (SELECT %(starts)s::text[]::{instant_type}[])) AS bucket
    FROM {table} t WHERE {inside} OFFSET 0
) AS numbered GROUP BY 1
"""


@dataclass(frozen=True)
class RowsOutside:
    """Rows that belong to no partition: the order column is NULL, infinite, before the first or after the last."""

    rows: int
    sample_ids: tuple[str, ...]


@dataclass(frozen=True)
class RepeatedIds:
    """Ids that are in the table more than once, or are NULL."""

    ids: int
    sample_ids: tuple[str, ...]


NONE_REPEATED: Final = RepeatedIds(0, ())


@dataclass(frozen=True)
class RowsAndIds:
    """How many rows there are, and the sum of their ids' hashes (`id_hash`) as decimal text."""

    rows: int
    id_sum: str


@dataclass(frozen=True)
class TableCounts:
    """Every row of the table at one moment, by one statement.

    `groups` are the rows by partition key; `OUTSIDE` holds those of no partition. Empty groups are left out.
    """

    groups: Mapping[str, RowsAndIds]
    outside: RowsOutside

    @property
    def rows(self) -> int:
        """All rows."""
        return sum(group.rows for group in self.groups.values())

    @property
    def rows_per_window(self) -> dict[str, int]:
        """The rows by partition key."""
        return {name: group.rows for name, group in self.groups.items() if name != OUTSIDE}


@dataclass(frozen=True)
class RowCounts:
    """The rows of the whole table, counted in two ways on one snapshot. The two must agree.

    `everything` is a plain count, as the application's queries count; `table` groups the rows by window.
    """

    everything: int
    table: TableCounts


class Counting(Statements):
    """The counts of a source table."""

    def count(self, window: Window) -> int:
        """The rows of a window."""
        found: int = self._fetch("SELECT count(*) FROM {table} t WHERE {inside}", window=window)[0][0]
        return found

    def count_all(self) -> int:
        """The rows of the whole table."""
        found: int = self._fetch("SELECT count(*) FROM {table} t")[0][0]
        return found

    def inventory(self, window: Window) -> Inventory:
        """Count, size, NULLs, digest and watermark of a window."""
        columns = self.mapping.columns

        def make(pieces: Expressions) -> tuple[sql.Composed, dict[str, Any]]:
            return statement(pieces, columns, window), pieces.window(window)

        return inventory_of(self._carry_out(make)[0], columns)

    def digests(self, windows: Sequence[Window]) -> dict[str, str]:
        """The inventory's digest of each of these windows, by partition key, by one statement for all of them."""
        return digests_of(self._fetch, windows)

    def extent(self, window: Window) -> tuple[int, datetime | None]:
        """Count and watermark of a window, without what an `inventory` has to compute of each row."""
        query = "SELECT count(*), {watermark} FROM {table} t WHERE {inside}"
        ((rows, watermark),) = self._fetch(query, window=window)
        return rows, finite_moment(watermark)

    def repeated_ids(self, window: Window | None = None) -> RepeatedIds:
        """The ids that are in the table more than once; for a window, those that have a row in it.

        Reads the whole table, so it is worth doing only where no unique index on the id exists.
        """
        return _repeated(self._fetch, window)

    def rows_outside(self, start: datetime, end: datetime) -> RowsOutside:
        """The rows whose order column is not in ``[start, end)``, ±infinity included.

        Rows whose order column is NULL count too, unless the rows without a time have a partition.
        """
        everything = Window("all", start, end)
        ((count,),) = self._fetch("SELECT count(*) FROM {table} t WHERE {outside}", window=everything)
        # Searching for one where there are none would walk the whole index on the id.
        return RowsOutside(count, _sample_outside(self._fetch, everything) if count else ())

    def counts(self, windows: Sequence[Window]) -> RowCounts:
        """See `row_counts`."""
        with self.snapshot() as snapshot:
            return row_counts(snapshot, windows)

    def rows_per_window(self, windows: Sequence[Window]) -> dict[str, int]:
        """How many rows each of these adjoining windows holds, by partition key; empty ones are left out."""
        without_time, windows = [window for window in windows if window.is_undated], dated(windows)
        rows: dict[str, int] = {}
        if windows:
            whole = Window("all", windows[0].start, windows[-1].end)
            found = self._fetch(_WINDOW_COUNTS, lambda at: at.starts(windows), whole)
            rows = {windows[bucket - 1].partition: count for bucket, count in sorted(found)}
        for window in without_time:
            count = self.count(window)
            rows |= {window.partition: count} if count else {}
        return rows

    def _refuse_repeated_ids(self, window: Window) -> None:
        if self.table.id_is_indexed:
            return
        found = self.repeated_ids(window)
        if found.ids:
            raise SourceRefused(
                f"{self.table.relation.shown} has more than one row with the {self.mapping.identity_shown} "
                f"{found.sample_ids[0]}, or it is NULL ({found.ids:,} such in all): fix them in the source"
            )


def row_counts(snapshot: Snapshot, windows: Sequence[Window]) -> RowCounts:
    """The rows of the whole table, counted in two ways; the windows adjoin."""
    return RowCounts(snapshot("SELECT count(*) FROM {with_children} t")[0][0], table_counts(snapshot, windows))


def table_counts(snapshot: Snapshot, windows: Sequence[Window]) -> TableCounts:
    """Every row of the table by one statement: by window (the windows adjoin), and those in no window.

    The window of the rows without a time may be among them.
    """
    undated, windows = [window for window in windows if window.is_undated], dated(windows)
    whole = Window("all", windows[0].start, windows[-1].end)
    # After the last window's end come the rows of no window, infinity included.
    behind = Window("behind", whole.end, whole.end)
    inside: dict[str, RowsAndIds] = {}
    rows = id_sum = 0
    for bucket, count, found in snapshot(_TABLE_COUNTS, lambda at: at.starts([*windows, behind])):
        if bucket is not None and 0 < bucket <= len(windows):
            inside[windows[bucket - 1].partition] = RowsAndIds(count, found)
        elif bucket is None and undated:
            inside[UNDATED] = RowsAndIds(count, found)
        else:
            rows, id_sum = rows + count, id_sum + int(found)
    groups = {
        window.partition: inside[window.partition] for window in [*windows, *undated] if window.partition in inside
    }
    if not rows:
        return TableCounts(groups, RowsOutside(0, ()))
    outside = RowsOutside(rows, _sample_outside(snapshot, whole))
    return TableCounts({**groups, OUTSIDE: RowsAndIds(rows, str(id_sum))}, outside)


def id_hash(row_id: str) -> int:
    """The `short_hash` of an id's UTF-8 text.

    If the id is not valid text, the hash of its bytes. PostgreSQL hashes the stored bytes: in a database with another
    encoding than UTF-8, hashes of ids beyond ASCII differ from these.
    """
    stored = stored_bytes(row_id)
    content = row_id.encode("utf-8", "surrogatepass") if stored is None else stored
    return short_hash(content)


def bucket_of(hashed: int, bits: int) -> int:
    """The bucket of an id by the highest bits of its hash."""
    return hashed >> (64 - bits)


def counts_by_bucket(snapshot: Snapshot, window: Window, bits: int) -> dict[int, RowsAndIds]:
    """The rows of a window by `bucket_of` their ids; `bits` is at least 1."""
    found = snapshot(
        "SELECT {id_hash} >> %(by)s::integer, count(*), sum({id_hash})::text FROM {table} t WHERE {inside} GROUP BY 1",
        lambda _at: {"by": 64 - bits},
        window,
    )
    return {bucket: RowsAndIds(rows, id_sum) for bucket, rows, id_sum in found if bucket is not None}


def repeated_on(snapshot: Snapshot) -> RepeatedIds:
    """The ids that are in the table more than once, or are NULL, if no unique index on the id prevents it.

    With such an index it asks nothing. The census finds what a corrupt index lets in.
    """
    return NONE_REPEATED if snapshot.table.id_is_indexed else _repeated(snapshot, None)


def present(snapshot: Snapshot, ids: Sequence[str]) -> set[str]:
    """Which of these ids a row has, anywhere in the table."""
    found = rows_of(snapshot, snapshot.table.encoding, ids, "{id_out}")
    return {str(row_id) for (row_id,) in found} & set(ids)


def _sample_outside(fetch: Callable[..., list[Any]], everything: Window) -> tuple[str, ...]:
    # OFFSET keeps the planner from walking the id's index in search of them.
    query = (
        "SELECT {id_out} FROM (SELECT {key_columns} FROM {table} t WHERE {outside} OFFSET 0) t"
        " ORDER BY {id} LIMIT %(size)s"
    )
    found = fetch(query, lambda _at: {"size": SAMPLE_SIZE}, everything)
    return tuple(str(row_id) for (row_id,) in found)


def _repeated(fetch: Callable[..., list[Any]], window: Window | None) -> RepeatedIds:
    query = (
        "SELECT id, count(*) OVER () FROM ("
        "(SELECT {id_out} AS id FROM {table} t WHERE NOT {id_is_null} {of_window} GROUP BY 1 HAVING count(*) > 1)"
        " UNION ALL (SELECT {id_out} FROM {table} t WHERE {id_is_null} {and_inside})) AS found LIMIT %(size)s"
    )
    of_window = "" if window is None else "AND ({id}) IN (SELECT {id} FROM {table} t WHERE {inside})"
    query = query.replace("{of_window}", of_window).replace("{and_inside}", "AND {inside}" if window else "")
    found = fetch(query, lambda _at: {"size": SAMPLE_SIZE}, window)
    return RepeatedIds(found[0][1] if found else 0, tuple(sorted(str(row[0]) for row in found)))
