"""The pieces of SQL in which every statement on the source table reads, compares and places its rows.

There is one expression for the id, and one for each column: a row that one statement reads under another id than the
next does would be both unseen and gone.
"""

from collections.abc import Sequence
from datetime import datetime, timezone
from functools import cached_property
from itertools import pairwise
from typing import Any

from psycopg import sql

from imgmig_dagster.errors import UnreadableText
from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.source.catalog import UTC, SourceTable
from imgmig_dagster.source.columns import Column, Kind
from imgmig_dagster.source.digests import field_content, row_digest
from imgmig_dagster.source.texts import NO_ENCODING, UTF8, stored_bytes
from imgmig_dagster.source.window_conditions import in_window, in_zoned_window, out_of_window, out_of_zoned_window
from imgmig_dagster.window import Window, from_microseconds


class Expressions:
    """The pieces for one table. `names` holds them by name, for `format`."""

    def __init__(self, table: SourceTable) -> None:
        self.table = table
        self._mapping = table.mapping
        # See `texts`.
        self._bytes_for_text = table.encoding != UTF8
        self._id = table.columns[self._mapping.identity[0]]
        self._order = table.columns[self._mapping.order.column]

    @cached_property
    def names(self) -> dict[str, sql.Composable]:
        """The pieces by name.

        `id` and `order` are the bare columns, to compare and sort by; `id_out` is the id as it is read, and `instant`
        the order column as a point in time. `content` are the bytes of which `digest` is the digest: see `digests`;
        `id_hash` is the same of the id's text alone. `place` is read behind the columns where `places_are_read`.
        `behind_after`, `up_to_until` and `id_behind_after` take parameters by `position` and `id_position`, `ranges` by
        `between`, `id_among` by `ids`, `stored_id_among` bytes in place of `ids`, `inside` and `outside` by `window`.
        """
        is_zoned, order = self._is_zoned(self._order), self._bare(self._order)
        inside, outside = in_window(order, self._order.type), out_of_window(order, self._order.type)
        if is_zoned:
            instant = self.read(self._order.name)
            inside = in_zoned_window(order, instant, self.table.time_zone)
            outside = out_of_zoned_window(order, instant, self.table.time_zone)
        return {
            "table": self.table.qualified,
            "with_children": self.table.with_children,
            "columns": sql.SQL(", ").join(map(self.read, self._read_columns)),
            "content": self._content,
            "digest": row_digest(self._content),
            "id": self._bare(self._id),
            "id_out": self.read(self._id.name),
            "id_text": self._as_text(self._id),
            "id_hash": row_digest(self._bytes_of(self._as_text(self._id))),
            "order": self._bare(self._order),
            "order_type": self._order.type,
            "instant": self.read(self._order.name),
            "instant_type": sql.SQL("timestamptz") if is_zoned else self._order.type,
            "modified": self.read(str(self._mapping.modified)),
            "inside": inside,
            "outside": outside,
            "place": sql.SQL(", {}").format(self._bare(self._order)) if is_zoned else sql.SQL(""),
            "behind_after": self._beside("after", ">"),
            "up_to_until": self._beside("until", "<="),
            "ranges": self._ranges,
            "within_range": sql.SQL("{} AND {}").format(
                self._compared(">", sql.SQL("range.after"), sql.SQL("range.after_id")),
                self._compared("<=", sql.SQL("range.until"), sql.SQL("range.until_id")),
            ),
            "id_behind_after": self._id_behind("after"),
            "id_among": self._id_among,
            "stored_id_among": sql.SQL("pg_catalog.textsend({}::text) = ANY(%(ids)s::bytea[])").format(
                self._bare(self._id)
            ),
        }

    @property
    def _read_columns(self) -> list[str]:
        return [self._id.name, *(each.column for each in self._mapping.readings)]

    @property
    def places_are_read(self) -> bool:
        """Whether a row's place among the others is not in its values: a local time is converted, and two local times
        can be one instant."""
        return self._is_zoned(self._order)

    def read(self, name: str) -> sql.Composable:
        """A column's value as a `Row` has it."""
        column = self.table.columns[name]
        bare = self._bare(column)
        if self._is_zoned(column):
            return sql.SQL("({} AT TIME ZONE {})").format(bare, sql.Literal(self.table.time_zone))
        if not self._is_text(name):
            return bare
        if self._bytes_for_text:
            return sql.SQL("pg_catalog.convert_to({}, {})").format(self._as_text(column), sql.Literal(NO_ENCODING))
        # A cast of character(n) would strip its padding.
        return bare if column.kind in (Kind.TEXT, Kind.PADDED) else sql.SQL("{}::text").format(bare)

    def bare(self, name: str) -> sql.Composable:
        """A mapped column as it is."""
        return self._bare(self.table.columns[name])

    def null_count(self, name: str) -> sql.Composable:
        """How many rows of a group have no value there."""
        return sql.SQL("count(*) FILTER (WHERE {} IS NULL)").format(self.bare(name))

    def ids(self, row_ids: Sequence[str]) -> dict[str, Any]:
        """The parameters of `id_among`: those that the column can hold."""
        possible = [row_id for row_id in row_ids if self._id.can_hold(row_id)]
        if not self._bytes_for_text:
            return {"ids": possible}
        given = [_stored(row_id) for row_id in possible]
        return {"ids": [content for content, _in in given], "encodings": [encoding for _content, encoding in given]}

    def position(self, name: str, cursor: Cursor) -> dict[str, Any]:
        """The parameters of a position of the keyset, named ``after`` or ``until``."""
        return {name: self._literal(from_microseconds(cursor[0])), **self.id_position(name, cursor[1])}

    def between(self, places: Sequence[Cursor]) -> dict[str, Any]:
        """The parameters of `ranges`: those between each of these places and the next."""
        found: dict[str, Any] = {}
        for after, until in pairwise(places):
            for name, value in (self.position("after", after) | self.position("until", until)).items():
                found.setdefault(name, []).append(value)
        return found

    def id_position(self, name: str, row_id: str) -> dict[str, Any]:
        """The parameter of `id_behind_after`."""
        if not self._bytes_for_text:
            if stored_bytes(row_id) is not None:
                what = f"the {self._id.name} {row_id} of a row of {self.table.relation.shown}"
                raise UnreadableText(f"{what} is no text, and no statement in UTF-8 can name it: mend it")
            return {f"{name}_id": row_id}
        content, encoding = _stored(row_id)
        return {f"{name}_id": content, f"{name}_id_encoding": encoding}

    def window(self, window: Window) -> dict[str, Any]:
        """The parameters of `inside` and `outside`."""
        return {"start": self._literal(window.start), "end": self._literal(window.end)}

    def starts(self, windows: Sequence[Window]) -> dict[str, Any]:
        """Where the windows begin, as one parameter."""
        return {"starts": [self._literal(window.start) for window in windows]}

    @property
    def _content(self) -> sql.Composed:
        fields = [
            (self._id.name, FieldType.TEXT),
            *((each.column, each.type) for each in self._mapping.fields),
        ]
        parts = []
        for name, field in fields:
            column = self.table.columns[name]
            value = self._as_text(column) if field is FieldType.TEXT else self.read(name)
            parts.append(field_content(field, column.kind, value))
        return self._bytes_of(sql.SQL(" || ").join(parts))

    def _bytes_of(self, text: sql.Composable) -> sql.Composed:
        if self._bytes_for_text:  # some of it may have no form in UTF-8, and would fail the statement
            return sql.SQL("pg_catalog.convert_to({}, {})").format(text, sql.Literal(NO_ENCODING))
        return sql.SQL("pg_catalog.textsend({})").format(text)  # which does not look whether it is UTF-8

    def _is_text(self, name: str) -> bool:
        return name == self._id.name or any(
            field.column == name and field.type is FieldType.TEXT for field in self._mapping.fields
        )

    def _is_zoned(self, column: Column) -> bool:
        return column.kind is Kind.LOCAL and self.table.time_zone != UTC

    def _bare(self, column: Column) -> sql.Composable:
        return sql.SQL("t.{}").format(sql.Identifier(column.name.replace("%", "%%")))

    def _as_text(self, column: Column) -> sql.Composable:
        bare = self._bare(column)
        if column.kind is Kind.PADDED:  # concat() takes the padding along, and makes '' of NULL
            return sql.SQL("CASE WHEN {0} IS NOT NULL THEN pg_catalog.concat({0}) END").format(bare)
        return sql.SQL("{}::text").format(bare)

    def _operator(self, name: str) -> sql.Composable:
        if not self._id.has_own_operators:
            return sql.SQL(name)
        return sql.SQL("OPERATOR({}." + name + ")").format(sql.Identifier(self._id.schema))

    def _id_parameter(self, name: str) -> sql.Composable:
        given = sql.SQL(
            f"pg_catalog.convert_from(%({name})s::bytea, %({name}_encoding)s::name)"
            if self._bytes_for_text
            else f"%({name})s"
        )
        return sql.SQL("{}::{}").format(given, self._id.type)

    @property
    def _id_among(self) -> sql.Composable:
        given = sql.SQL("%(ids)s::text[]")
        if self._bytes_for_text:
            given = sql.SQL(
                "(SELECT array_agg(pg_catalog.convert_from(id, encoding))"
                " FROM unnest(%(ids)s::bytea[], %(encodings)s::name[]) AS given(id, encoding))"
            )
        if self._id.kind is Kind.ENUM:  # a stranger is no label of it, and could not be cast
            return sql.SQL("{}::text = ANY({})").format(self._bare(self._id), given)
        return sql.SQL("{} {} ANY({}::{}[])").format(self._bare(self._id), self._operator("="), given, self._id.type)

    def _id_behind(self, name: str) -> sql.Composable:
        return sql.SQL("{} {} {}").format(self._bare(self._id), self._operator(">"), self._id_parameter(f"{name}_id"))

    def _beside(self, name: str, relation: str) -> sql.Composable:
        return self._compared(
            relation, sql.SQL(f"%({name})s::{{}}").format(self._order.type), self._id_parameter(f"{name}_id")
        )

    def _compared(self, relation: str, place: sql.Composable, place_id: sql.Composable) -> sql.Composable:
        pieces = {
            "order": self._bare(self._order),
            "id": self._bare(self._id),
            "place": place,
            "place_id": place_id,
            "relation": self._operator(relation),
        }
        if not self._id.has_own_operators:
            return sql.SQL("({order}, {id}) {relation} ({place}, {place_id})").format(**pieces)
        # A comparison of pairs would look for the id's operator on the search path, and might find text's there, which
        # sorts otherwise than the column does.
        side = relation[0]
        return sql.SQL(
            f"{{order}} {side}= {{place}} AND ({{order}} {side} {{place}} OR {{id}} {{relation}} {{place_id}})"
        ).format(**pieces)

    @property
    def _ranges(self) -> sql.Composable:
        """Ranges of the keyset as rows: `n`, and the places behind which and up to which each goes."""
        names = ("after", "after_id", "until", "until_id")
        arrays = ["%(after)s::text[]", "%(after_id)s::text[]", "%(until)s::text[]", "%(until_id)s::text[]"]
        ids = {name: sql.SQL(name) for name in ("after_id", "until_id")}
        columns = list(names)
        if self._bytes_for_text:
            arrays = [each.replace("_id)s::text", "_id)s::bytea") for each in arrays]
            for name in ids:
                arrays.append(f"%({name}_encoding)s::name[]")
                columns.append(f"{name}_encoding")
                ids[name] = sql.SQL(f"pg_catalog.convert_from({name}, {name}_encoding)")
        return sql.SQL(
            "SELECT n, after::{order} AS after, {after_id}::{id} AS after_id, until::{order} AS until,"
            " {until_id}::{id} AS until_id FROM unnest({arrays}) WITH ORDINALITY AS given({columns}, n)"
        ).format(
            order=self._order.type,
            id=self._id.type,
            arrays=sql.SQL(", ".join(arrays)),
            columns=sql.SQL(", ".join(columns)),
            **ids,
        )

    @staticmethod
    def _literal(moment: datetime) -> str:
        # For a column without a zone PostgreSQL drops the literal's.
        return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _stored(row_id: str) -> tuple[bytes, str]:
    """An id's bytes, and the encoding that they are in; of one that is no text, those that are stored."""
    stored = stored_bytes(row_id)
    return (row_id.encode(), UTF8) if stored is None else (stored, NO_ENCODING)
