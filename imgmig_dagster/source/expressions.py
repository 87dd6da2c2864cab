"""The pieces of SQL by which every statement on the source table reads, compares and places its rows.

The id has one expression, and so has each column. If two statements read a row under different ids, the row would count
both as new and as deleted. `values` reads columns, `keyset` compares rows, `orders` puts them in order.
"""

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any

from psycopg import sql

from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.source.catalog import SourceTable
from imgmig_dagster.source.keyset import Keyset
from imgmig_dagster.source.orders import order_of
from imgmig_dagster.source.row_digest_sql import field_content, row_digest, text_content
from imgmig_dagster.source.values import Values
from imgmig_dagster.window import Window


class Expressions:
    """The pieces for one table. `names` holds them by name, for `format`; `values`, `order` and `keyset` make them."""

    def __init__(self, table: SourceTable) -> None:
        self.table = table
        self.values = Values(table)
        self.order = order_of(self.values)
        self.keyset = Keyset(self.values, self.order.order, self.order.type)
        self._mapping = table.mapping

    @cached_property
    def names(self) -> Mapping[str, sql.Composable]:
        """The pieces by name.

        `id` and `order` are the bare columns, to compare and sort by (`id_last_first` sorts the other way). `id_out` is
        the id as it is read, `id_value` the identity as one value, `instant` the order column as a point in time.
        `digest` is the digest of the bytes `content` (see `row_digest_sql`); `id_hash` is the same of the id's text
        alone. `order_place` is a row's place in microseconds; `place` is the same, read after the columns if
        `places_are_read`. `behind_after`, `up_to_until` and `id_behind_after` take their parameters from `position` and
        `keyset.id_position`, `ranges` from `of_ranges`, `id_among` from `keyset.ids` (`stored_id_among` takes bytes),
        `inside` and `outside` from `window`. `inside_range`, `behind_range` and `up_to_range` are about a `range` of
        `ranges`.
        """
        order, keyset, values = self.order, self.keyset, self.values
        id_text, comma = values.joined(self._mapping.key_columns), sql.SQL(", ")
        id_ = comma.join(keyset.columns)
        return _as_text(
            {
                "table": self.table.qualified,
                "with_children": self.table.with_children,
                "columns": comma.join([values.shown(id_text), *map(values.value, self._mapping.readings)]),
                "content": self._content,
                "digest": row_digest(self._content),
                "id": id_,
                "key_columns": comma.join(map(values.bare, self._mapping.key_columns)),
                "id_last_first": comma.join(sql.SQL("{} DESC").format(column) for column in keyset.columns),
                "id_value": id_ if len(keyset.columns) == 1 else sql.SQL("ROW({})").format(id_),
                "id_is_null": keyset.is_null,
                "id_out": values.shown(id_text),
                "id_text": id_text,
                "id_hash": row_digest(values.bytes_of(id_text)),
                "order": order.order,
                "instant": order.instant,
                "instant_type": order.instant_type,
                "watermark": self._watermark,
                "inside": order.inside,
                "inside_range": order.inside_range,
                "outside": self._outside,
                "place": sql.SQL(", {}").format(order.place) if self.places_are_read else sql.SQL(""),
                "order_place": order.place or values.value(self._mapping.readings[self._mapping.order_index - 1]),
                "behind_after": keyset.beside("after", ">"),
                "up_to_until": keyset.beside("until", "<="),
                "ranges": keyset.ranges(order.instant_type),
                "behind_range": keyset.beside_range("after", ">"),
                "up_to_range": keyset.beside_range("until", "<="),
                "id_behind_after": keyset.id_beside("after", ">"),
                "id_among": keyset.among,
                "stored_id_among": sql.SQL("pg_catalog.textsend({}) = ANY(%(ids)s::bytea[])").format(id_text),
            }
        )

    def names_in(self, window: Window) -> Mapping[str, sql.Composable]:
        """The pieces by name for a statement about this window."""
        return self._undated_names if window.is_undated else self.names

    @cached_property
    def _undated_names(self) -> Mapping[str, sql.Composable]:
        """The same for the window of the rows without a time, which only the identity puts in order."""
        keyset, inside = self.keyset, sql.SQL("{} IS NULL").format(self.order.order)
        return _as_text(
            {
                **self.names,
                "inside": inside,
                "inside_range": inside,
                "behind_after": keyset.id_beside("after", ">"),
                "up_to_until": keyset.id_beside("until", "<="),
                "behind_range": keyset.beside_range("after", ">", by_order=False),
                "up_to_range": keyset.beside_range("until", "<=", by_order=False),
            }
        )

    @property
    def places_are_read(self) -> bool:
        """Whether a row's values do not show its place: a local time is converted, and two can be the same instant."""
        return self.order.place is not None

    def position(self, name: str, cursor: Cursor) -> dict[str, Any]:
        """The parameters of a position of the keyset, named ``after`` or ``until``."""
        return {name: self.order.position(cursor[0]), **self.keyset.id_position(name, cursor[1])}

    def of_ranges(self, ranges: Sequence[tuple[Window, Cursor | None, Cursor | None]]) -> dict[str, Any]:
        """The parameters of `ranges`: windows, each with two places in it."""
        found: dict[str, list[Any]] = {name: [] for name in self.keyset.range_parameters}
        for window, after, until in ranges:
            values: dict[str, Any] = {f"window_{name}": value for name, value in self.window(window).items()}
            for end, place in (("after", after), ("until", until)):
                values |= {} if place is None else self.position(end, place)
            for name, listed in found.items():
                listed.append(values.get(name))
        return found

    def window(self, window: Window) -> dict[str, Any]:
        """The parameters of `inside` and `outside`."""
        return {"start": self.order.bound(window.start), "end": self.order.bound(window.end)}

    def starts(self, windows: Sequence[Window]) -> dict[str, Any]:
        """The starts of the windows, as one parameter."""
        return {"starts": [self.order.bound(window.start) for window in windows]}

    @property
    def _content(self) -> sql.Composable:
        id_content = text_content(self.values.joined(self._mapping.key_columns))
        fields = (field_content(self.values, field) for field in self._mapping.fields)
        return self.values.bytes_of(sql.SQL(" || ").join([id_content, *fields]))

    @property
    def _outside(self) -> sql.Composable:
        if self._mapping.order.has_undated:
            return sql.SQL("({})").format(self.order.outside)
        return sql.SQL("({} OR {} IS NULL)").format(self.order.outside, self.order.order)

    @property
    def _watermark(self) -> sql.Composable:
        """The latest finite `modified` of a group."""
        index = self._mapping.modified_index
        if index is None:
            return sql.SQL("NULL::timestamptz")
        field = self._mapping.readings[index - 1]
        moment = self.values.moment(field.column, field.column_unit)
        finite = "isfinite({0})" if field.column_unit is None else "{0} < 'NaN'"
        return sql.SQL(f"max({{0}}) FILTER (WHERE {finite})").format(moment)


def _as_text(pieces: Mapping[str, sql.Composable]) -> Mapping[str, sql.Composable]:
    """The pieces, put together once: otherwise each statement does it again."""
    return {name: sql.SQL(piece.as_string()) for name, piece in pieces.items()}
