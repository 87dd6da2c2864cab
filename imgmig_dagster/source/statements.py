"""Runs statements on the source table, one by one or on one snapshot.

If a statement is refused, the table's catalog is read again. `reader` and `counting` decide what to ask.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, TypeAlias, TypeVar

from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.catalog import UTC, SourceTable, columns_of, inspect
from imgmig_dagster.source.columns import Column
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.expressions import Expressions
from imgmig_dagster.source.published import PublishedSource, published
from imgmig_dagster.source.relations import find_relation
from imgmig_dagster.source.texts import UTF8, decoded, stored_bytes
from imgmig_dagster.window import Window

Parameters: TypeAlias = Callable[[Expressions], "dict[str, Any]"]
"""Makes the parameters of a statement."""
Self = TypeVar("Self", bound="Statements")
_SIDES: Final = {"after": "behind_after", "until": "up_to_until"}


def no_parameters(_pieces: Expressions) -> dict[str, Any]:
    """For a statement without parameters."""
    return {}


def between(after: Cursor | None, until: Cursor | None = None, **further: Any) -> tuple[str, Parameters]:
    """A condition on rows of a window and its parameters: behind one place, up to another; None leaves a side open.

    `further` are parameters of the rest of the statement.
    """
    places = {name: place for name, place in (("after", after), ("until", until)) if place is not None}
    condition = "".join(f" AND {{{_SIDES[name]}}}" for name in places)

    def parameters(at: Expressions) -> dict[str, Any]:
        found = dict(further)
        for name, place in places.items():
            found |= at.position(name, place)
        return found

    return condition, parameters


def rows_of(
    fetch: Callable[[str, Parameters], list[Any]], encoding: str, ids: Sequence[str], what: str, further: str = ""
) -> list[Any]:
    """`what` of each row that has one of these ids."""
    query = f"SELECT {what} FROM {{table}} t WHERE "  # noqa: S608
    read = fetch(f"{query}{{id_among}} {further}", lambda at: at.keyset.ids(ids))
    stored = [content for row_id in set(ids) if (content := stored_bytes(row_id)) is not None]
    if stored and encoding == UTF8:
        # No parameter in UTF-8 can be such an id, and no index finds it.
        read += fetch(f"{query}{{stored_id_among}} {further}", lambda _at: {"ids": stored})
    return read


def _made(
    pieces: Expressions, query: str, parameters: Parameters, window: Window | None
) -> tuple[sql.Composed, dict[str, Any]]:
    if window is None:
        return sql.SQL(query).format(**pieces.names), parameters(pieces)
    names, bounds = pieces.names_in(window), pieces.window(window)
    return sql.SQL(query).format(**names), {**bounds, **parameters(pieces)}


@dataclass(frozen=True)
class Snapshot:
    """One snapshot of the database. Call it to run a statement; all results are of one moment."""

    pieces: Expressions
    _fetch_once: Fetch

    @property
    def table(self) -> SourceTable:
        """The table as its catalog described it before the snapshot."""
        return self.pieces.table

    def __call__(self, query: str, parameters: Parameters = no_parameters, window: Window | None = None) -> list[Any]:
        """All rows of a statement. It consists of the pieces by name; those about a window use `window`."""
        found = self._fetch_once(*_made(self.pieces, query, parameters, window))
        return decoded(self.table.encoding, found, self._fetch_once)


class Statements:
    """One source table, and the only way to run statements on it."""

    def __init__(
        self,
        connections: ReadOnlyConnections,
        schema: str,
        table: str,
        mapping: TableMapping,
        time_zone: str = UTC,
    ) -> None:
        self._connections = connections
        self._schema = schema
        self._table = table
        self._time_zone = time_zone
        self._pieces: Expressions | None = None
        self._declared = mapping

    @property
    def mapping(self) -> TableMapping:
        """The mapping, with the types of the table's columns where it leaves them open."""
        return self.table.mapping

    @property
    def table(self) -> SourceTable:
        """The table as its catalog describes it, checked once per reader."""
        return self._expressions.table

    def columns_not_migrated(self) -> NotMigrated:
        """Which columns no item has, read again: a column may have been added since the table was checked."""
        return self._declared.not_migrated(self._columns())

    def column_types(self) -> dict[str, str]:
        """Every column's type, and whether it is NOT NULL, read again."""
        return {each.name: each.shown + (" NOT NULL" if each.required else "") for each in self._columns().values()}

    def _columns(self) -> dict[str, Column]:
        fetch = self._connections.fetch
        return columns_of(fetch, find_relation(fetch, self._schema, self._table))

    def published(self) -> PublishedSource:
        """What a certificate says about the table, so that anybody can check it."""
        return published(self._expressions)

    def close(self) -> None:
        """Close the connections."""
        self._connections.close()

    def __enter__(self: Self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def _expressions(self) -> Expressions:
        if self._pieces is None:
            self._pieces = self._inspect()
        return self._pieces

    def _inspect(self) -> Expressions:
        return Expressions(inspect(self._connections.fetch, self._schema, self._table, self._declared, self._time_zone))

    def _fetch(self, query: str, parameters: Parameters = no_parameters, window: Window | None = None) -> list[Any]:
        return self._carry_out(lambda at: _made(at, query, parameters, window))

    @contextmanager
    def snapshot(self) -> Iterator[Snapshot]:
        """One snapshot for several statements. Keep it short, and read through nothing else inside it.

        `counting.table_counts`, `counting.repeated_on` and `counting.present` take it::

            with reader.snapshot() as snapshot:
                counts = table_counts(snapshot, windows)

        If the connection is lost, so is the snapshot: `SourceUnavailable`.
        """
        pieces = self._expressions  # read from the catalog before the snapshot has the connection
        with self._connections.snapshot() as fetch_once:
            yield Snapshot(pieces, fetch_once)

    def _carry_out(self, make: Callable[[Expressions], tuple[sql.Composed, dict[str, Any]]]) -> list[Any]:
        """All rows of a statement.

        A statement may be refused because the table was altered: then the catalog is read again. What no longer fits is
        reported by name; if another type fits as well, the read goes on.
        """
        pieces = self._expressions
        try:
            found = self._connections.fetch(*make(pieces))
        except SourceRefused:
            self._pieces = self._inspect()
            if self._pieces.table == pieces.table:
                raise
            found = self._connections.fetch(*make(self._pieces))
        return decoded(pieces.table.encoding, found, self._connections.fetch)
