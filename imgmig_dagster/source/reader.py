"""The source's rows: pages of a window by keyset, single rows, counts, inventories."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from functools import cached_property
from types import TracebackType
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.mapping.spec import Cursor, PictureColumns, Row, TableMapping
from imgmig_dagster.source.catalog import SourceTable, inspect
from imgmig_dagster.source.connection import ReadOnlyConnection
from imgmig_dagster.source.sampling import RARE_SHARE, SAMPLE, SampledRow, Shape
from imgmig_dagster.window import Window, from_microseconds

SAMPLE_SIZE: Final = 20


@dataclass(frozen=True)
class Inventory:
    """What the source says of a window, in one statement and thus of one snapshot.

    `row_bytes` is the length of the rows in PostgreSQL's binary format. `digest` is a sum of 64-bit
    hashes of the mapped columns: it changes with any value, and two windows' digests add up. `watermark` is the latest
    finite `modified_column`.
    """

    rows: int
    row_bytes: int
    nulls: "dict[str, int]"
    digest: str
    watermark: "datetime | None"
    read_at: datetime


@dataclass(frozen=True)
class RowsOutside:
    """Rows that no partition holds: a NULL or infinite order column, or one before the first or after the last."""

    rows: int
    sample_ids: "tuple[str, ...]"


class SourceReader:
    """One source table, read through one connection. Close it, or use it as a context manager.

    Every method raises `SourceUnavailable` when PostgreSQL stays away, and `SourceRefused` where the table does not
    fit the mapping.
    """

    def __init__(self, connection: ReadOnlyConnection, schema: str, table: str, mapping: TableMapping) -> None:
        self._connection = connection
        self._schema = schema
        self._table = table
        self.mapping = mapping

    @cached_property
    def table(self) -> SourceTable:
        """The table as its catalog describes it, checked once per reader."""
        return inspect(self._connection.fetch, self._schema, self._table, self.mapping)

    def pages(self, window: Window, after: "Cursor | None", size: int) -> "Iterator[list[Row]]":
        """The window's rows in order, at most `size` at a time, from behind `after`.

        Keyset pagination on (order column, id): each page is a statement of its own, so that no transaction stays
        open while the page is written.
        """
        while True:
            page = self._fetch(self._page_query(after is not None), self._page_parameters(window, after, size))
            if not page:
                return
            yield page
            if len(page) < size:
                return
            after = self.cursor(page[-1])

    def cursor(self, row: Row) -> Cursor:
        """The keyset position of a row."""
        ordered = row[self.mapping.order_index]
        if not isinstance(ordered, int):
            raise TypeError("a row without an order column has no place in a window")
        return ordered, str(row[0])

    @contextmanager
    def window_ids(self, window: Window) -> "Iterator[Callable[[Cursor | None, Cursor | None], list[str]]]":
        """The window's ids on one snapshot, by ranges of the keyset: those behind one position, up to another.

        None is the window's start or end. A connection that is lost meanwhile raises `SourceUnavailable`: the
        snapshot is lost with it.
        """
        window_parameters = self._window_parameters(window)
        names = self._names  # read from the catalog before the snapshot has the connection
        with self._connection.snapshot() as fetch:

            def ids_between(after: "Cursor | None", until: "Cursor | None") -> "list[str]":
                query = "SELECT {id}::text FROM {table} t WHERE {inside}"
                parameters = dict(window_parameters)
                for cursor, name, relation in ((after, "after", ">"), (until, "until", "<=")):
                    if cursor is not None:
                        position = f"(%({name})s::{{order_type}}, %({name}_id)s::{{id_type}})"
                        query += f" AND ({{order}}, {{id}}) {relation} {position}"
                        parameters |= self._position(name, cursor)
                return [row_id for (row_id,) in fetch(sql.SQL(query).format(**names), parameters)]

            yield ids_between

    def count(self, window: Window) -> int:
        """The rows of a window."""
        found: int = self._fetch(
            sql.SQL("SELECT count(*) FROM {table} t WHERE {inside}"), self._window_parameters(window)
        )[0][0]
        return found

    def count_all(self) -> int:
        """The rows of the whole table."""
        found: int = self._fetch(sql.SQL("SELECT count(*) FROM {table} t"), {})[0][0]
        return found

    def rows(self, ids: "Sequence[str]") -> "dict[str, Row]":
        """The rows of these ids as they are now; an id that is gone is not in the result."""
        query = sql.SQL("SELECT {columns} FROM {table} t WHERE {id} = ANY(%(ids)s::text[]::{id_type}[])")
        possible = [row_id for row_id in ids if self.table.can_hold_id(row_id)]
        return {row[0]: row for row in self._fetch(query, {"ids": possible})}

    def inventory(self, window: Window) -> Inventory:
        """Count, size, NULLs, digest and watermark of a window."""
        columns = self.mapping.columns
        nulls = [sql.SQL("count(*) FILTER (WHERE {} IS NULL)").format(self.table.column(name)) for name in columns]
        # In binary, types and lengths included: to write a row as text takes the server twice as long as all the rest.
        query = sql.SQL(
            "SELECT count(*), coalesce(sum(octet_length(mapped.content)), 0),"
            " coalesce(sum(('x' || left(md5(mapped.content), 16))::bit(64)::bigint), 0)::text,"
            " max({modified}) FILTER (WHERE isfinite({modified})), now(), {nulls}"
            " FROM {table} t CROSS JOIN LATERAL (SELECT record_send(ROW({columns}))) AS mapped(content) WHERE {inside}"
        ).format(
            modified=self.table.column(self.mapping.modified_column),
            nulls=sql.SQL(", ").join(nulls),
            **self._names,
        )
        rows, size, digest, watermark_us, now_us, *null_counts = self._connection.fetch(
            query, self._window_parameters(window)
        )[0]
        return Inventory(
            rows=rows,
            row_bytes=int(size),
            nulls={name: count for name, count in zip(columns, null_counts, strict=True) if count},
            digest=digest,
            watermark=_finite_moment(watermark_us),
            read_at=from_microseconds(now_us),
        )

    def rows_outside(self, start: datetime, end: datetime) -> RowsOutside:
        """The rows whose order column is not in ``[start, end)``, NULL and ±infinity included."""
        everything = {**self._window_parameters(Window("all", start, end)), "size": SAMPLE_SIZE}
        outside = "FROM {table} t WHERE NOT coalesce({inside}, false)"
        count = self._fetch(sql.SQL("SELECT count(*) " + outside), everything)[0][0]
        sample = self._fetch(sql.SQL("SELECT {id}::text " + outside + " ORDER BY {id} LIMIT %(size)s"), everything)
        return RowsOutside(count, tuple(row_id for (row_id,) in sample))

    def rows_per_window(self, windows: "Sequence[Window]") -> "dict[str, int]":
        """How many rows each of these adjoining windows holds, by partition key; empty ones are left out."""
        if not windows:
            return {}
        query = sql.SQL(
            "SELECT width_bucket({order}, %(starts)s::text[]::{order_type}[]), count(*) FROM {table} t"
            " WHERE {inside} GROUP BY 1"
        )
        whole = Window("all", windows[0].start, windows[-1].end)
        starts = [self._literal(window.start) for window in windows]
        found = self._fetch(query, {**self._window_parameters(whole), "starts": starts})
        return {windows[bucket - 1].partition: count for bucket, count in sorted(found)}

    def all_rows(self, size: int) -> "Iterator[list[Row]]":
        """Every row of the table in pages, by keyset on the id alone: rows outside all partitions too."""
        after: str | None = None
        while True:
            behind = sql.SQL("" if after is None else "WHERE {id} > %(after)s::{id_type}")
            query = sql.SQL("SELECT {columns} FROM {table} t {behind} ORDER BY {id} LIMIT %(size)s")
            page = self._connection.fetch(
                query.format(behind=behind.format(**self._names), **self._names), {"after": after, "size": size}
            )
            if not page:
                return
            yield page
            after = str(page[-1][0])

    def sample(self, size: int, seed: int, picture: PictureColumns) -> "list[SampledRow]":
        """`size` rows drawn by lot, or all there are; the same seed draws the same rows of the same table."""
        columns = {
            "thumbnail": self.table.column(picture.thumbnail_key),
            "name": self.table.column(picture.name),
            "size": self.table.column(picture.size),
        }
        query = sql.SQL(SAMPLE).format(**columns, **self._names)
        parameters = {"seed": str(seed), "size": size, "rare": size // RARE_SHARE}
        return [SampledRow(Shape(shape), tuple(row)) for shape, *row in self._connection.fetch(query, parameters)]

    def rows_per_bucket(self, picture: PictureColumns, at_most: int) -> "dict[str, int]":
        """How many rows name each bucket, the most named first, and no more than `at_most` of them."""
        query = sql.SQL(
            "SELECT {bucket}::text, count(*) FROM {table} t WHERE {bucket} IS NOT NULL"
            " GROUP BY 1 ORDER BY 2 DESC, 1 LIMIT %(size)s"
        ).format(bucket=self.table.column(picture.bucket), **self._names)
        return dict(self._connection.fetch(query, {"size": at_most}))

    def close(self) -> None:
        """Close the connection."""
        self._connection.close()

    def __enter__(self) -> "SourceReader":
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        self.close()

    def _fetch(self, query: sql.SQL, parameters: "dict[str, Any]") -> "list[Any]":
        return self._connection.fetch(query.format(**self._names), parameters)

    def _page_query(self, resumed: bool) -> sql.SQL:
        behind = "AND ({order}, {id}) > (%(after)s::{order_type}, %(after_id)s::{id_type})" if resumed else ""
        return sql.SQL(
            f"SELECT {{columns}} FROM {{table}} t WHERE {{inside}} {behind} ORDER BY {{order}}, {{id}} LIMIT %(size)s"  # noqa: S608
        )

    def _page_parameters(self, window: Window, after: "Cursor | None", size: int) -> "dict[str, Any]":
        parameters = {**self._window_parameters(window), "size": size}
        return parameters | self._position("after", after) if after is not None else parameters

    def _position(self, name: str, cursor: Cursor) -> "dict[str, Any]":
        return {name: self._literal(from_microseconds(cursor[0])), f"{name}_id": cursor[1]}

    def _window_parameters(self, window: Window) -> "dict[str, Any]":
        return {"start": self._literal(window.start), "end": self._literal(window.end)}

    @staticmethod
    def _literal(moment: datetime) -> str:
        # For a column without a zone PostgreSQL drops the literal's: the moment is in UTC, and so, by declared
        # rule, is the column.
        return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")

    @cached_property
    def _names(self) -> "dict[str, sql.Composable]":
        table = self.table
        order = table.column(self.mapping.order_column)
        order_type = table.type_of(self.mapping.order_column)
        return {
            "table": table.qualified,
            "columns": table.select_list,
            "id": table.column(self.mapping.id_column),
            "id_type": table.type_of(self.mapping.id_column),
            "order": order,
            "order_type": order_type,
            "inside": sql.SQL("{order} >= %(start)s::{type} AND {order} < %(end)s::{type}").format(
                order=order, type=order_type
            ),
        }


def _finite_moment(timestamp_us: "int | None") -> "datetime | None":
    if timestamp_us is None:
        return None
    try:
        return from_microseconds(timestamp_us)
    except OverflowError:
        return None
