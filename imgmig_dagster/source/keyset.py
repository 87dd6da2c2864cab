"""Compares rows by order column and identity: a row's place in the order of the pages, and which rows have an id.

An id is the texts of all columns of the key (`template.joined`). Rows are looked up and sorted by the identity columns
alone, so that an index is used. A row found this way has the id only if its whole id is equal.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.errors import UnreadableText
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.template import parts
from imgmig_dagster.source.columns import Column
from imgmig_dagster.source.texts import NO_ENCODING, UTF8, stored_bytes
from imgmig_dagster.source.values import Values

_RANGE_ENDS: Final = ("after", "until")


class Keyset:
    """The comparisons of one table. Rows are in order by `order`, of the type `order_type`, and by identity."""

    def __init__(self, values: Values, order: sql.Composable, order_type: sql.Composable) -> None:
        self._values = values
        self._order = order
        self._order_type = order_type
        mapping = values.table.mapping
        self._key_columns = mapping.key_columns
        self._identity = [values.table.columns[name] for name in mapping.identity]

    @property
    def columns(self) -> list[sql.Composable]:
        """The bare columns of the identity."""
        return [self._bare(column) for column in self._identity]

    @property
    def is_null(self) -> sql.Composable:
        """Whether any of them is NULL."""
        tests = [sql.SQL("{} IS NULL").format(column) for column in self.columns]
        return sql.SQL("({})").format(sql.SQL(" OR ").join(tests))

    def beside(self, name: str, relation: str) -> sql.Composable:
        """Whether a row is on that side of the place `name`."""
        place = sql.SQL(f"%({name})s::{{}}").format(self._order_type)
        return self._compared(relation, [self._given(name, n) for n in range(len(self._identity))], place)

    def id_beside(self, name: str, relation: str) -> sql.Composable:
        """The same by the identity alone."""
        return self._compared(relation, [self._given(name, n) for n in range(len(self._identity))])

    def beside_range(self, end: str, relation: str, by_order: bool = True) -> sql.Composable:
        """Whether a row is on that side of an end of the `range`, ``after`` or ``until``."""
        ends: list[sql.Composable] = [sql.SQL(f"range.{end}_{n}") for n in range(len(self._identity))]
        return self._compared(relation, ends, sql.SQL(f"range.{end}") if by_order else None)

    @property
    def range_parameters(self) -> Mapping[str, str]:
        """The parameters of `ranges`, each an array, with the type of its elements."""
        found = {"window_start": "text", "window_end": "text"}
        for end in _RANGE_ENDS:
            found[end] = "text"
            for n in range(len(self._identity)):
                found[f"{end}_{n}"] = "bytea" if self._values.bytes_for_text else "text"
                if self._values.bytes_for_text:
                    found[f"{end}_{n}_encoding"] = "name"
        return found

    def ranges(self, bound_type: sql.Composable) -> sql.Composable:
        """Ranges of the keyset as rows: the number `n`, the bounds of a window, and two places in it.

        A range includes its second place. Without a place, it begins or ends with the window.
        """
        columns = [sql.SQL("n, window_start::{0} AS window_start, window_end::{0} AS window_end").format(bound_type)]
        for end in _RANGE_ENDS:
            columns.append(sql.SQL(f"{end}::{{}} AS {end}").format(self._order_type))
            for n, column in enumerate(self._identity):
                name = given = f"{end}_{n}"
                if self._values.bytes_for_text:
                    given = f"pg_catalog.convert_from({name}, {name}_encoding)"
                columns.append(sql.SQL(f"{given}::{{}} AS {name}").format(column.type))
        arrays = ", ".join(f"%({name})s::{element}[]" for name, element in self.range_parameters.items())
        names = ", ".join(self.range_parameters)
        return sql.SQL("SELECT {} FROM unnest({}) WITH ORDINALITY AS given({}, n)").format(
            sql.SQL(", ").join(columns), sql.SQL(arrays), sql.SQL(names)
        )

    @property
    def among(self) -> sql.Composable:
        """Whether a row's identity is one of the `ids`."""
        if len(self._identity) == 1:
            (column,) = self._identity
            given = self._listed(0)
            if not column.is_cast:
                return sql.SQL("{}::text = ANY({})").format(self._bare(column), given)
            equal = self._operator(column, "=")
            return sql.SQL("{} {} ANY({}::{}[])").format(self._bare(column), equal, given, column.type)
        arrays = [self._listed(n) for n in range(len(self._identity))]
        tests = []
        for n, column in enumerate(self._identity):
            how = "{bare} {equal} asked.part_{n}::{type}" if column.is_cast else "{bare}::text = asked.part_{n}"
            tests.append(
                sql.SQL(how.replace("{n}", str(n))).format(
                    bare=self._bare(column), equal=self._operator(column, "="), type=column.type
                )
            )
        return sql.SQL("EXISTS (SELECT FROM unnest({}) AS asked({}) WHERE {})").format(
            sql.SQL(", ").join(arrays),
            sql.SQL(", ".join(f"part_{n}" for n in range(len(self._identity)))),
            sql.SQL(" AND ").join(tests),
        )

    def ids(self, row_ids: Sequence[str]) -> dict[str, Any]:
        """The parameters of `among`: the ids that the columns can hold."""
        found: dict[str, Any] = {}
        for n in range(len(self._identity)):
            found |= {f"ids_{n}": []} | ({f"ids_{n}_encodings": []} if self._values.bytes_for_text else {})
        for row_id in row_ids:
            texts = self._nameable(row_id)
            if texts is None or not all(map(Column.can_hold, self._identity, map(str, texts))):
                continue
            for n, text in enumerate(texts):
                found[f"ids_{n}"].append(_stored(text)[0] if self._values.bytes_for_text else text)
                if self._values.bytes_for_text:
                    found[f"ids_{n}_encodings"].append(_stored(text)[1])
        return found

    def may_be_of_a_row(self, row_id: str) -> bool:
        """Whether the columns of the identity can hold this id."""
        if stored_bytes(row_id) is not None:
            return True
        texts = self._nameable(row_id)
        return texts is not None and all(map(Column.can_hold, self._identity, map(str, texts)))

    def has_place(self, row: Row) -> bool:
        """Whether `id_position` accepts the row's id: no identity column is NULL or unnameable."""
        return row[0] is not None and self._nameable(row.id) is not None

    def id_position(self, name: str, row_id: str) -> dict[str, Any]:
        """The parameters of `id_beside`."""
        texts = self._nameable(row_id)
        if texts is None:
            table = self._values.table
            what = f"the {table.mapping.identity_shown} {row_id} of a row of {table.relation.shown}"
            raise UnreadableText(
                f"{what} is not valid text, and no statement in UTF-8 can name it: fix it in the source"
            )
        found: dict[str, Any] = {}
        for n, text in enumerate(texts):
            if self._values.bytes_for_text:
                found[f"{name}_{n}"], found[f"{name}_{n}_encoding"] = _stored(text)
            else:
                found[f"{name}_{n}"] = text
        return found

    def _nameable(self, row_id: str) -> list[str | bytes] | None:
        """The texts of the identity in an id. Bytes if it is not valid text, which no statement in UTF-8 can name."""
        stored = stored_bytes(row_id)
        if stored is not None and not self._values.bytes_for_text:
            return None
        found = parts(row_id if stored is None else stored.decode("latin-1"), len(self._key_columns))
        if found is None:
            return None
        of = dict(zip(self._key_columns, found, strict=True))
        texts = [of[column.name] for column in self._identity]
        if any(text is None for text in texts):
            return None
        return [str(text) if stored is None else str(text).encode("latin-1") for text in texts]

    def _listed(self, n: int) -> sql.Composable:
        if not self._values.bytes_for_text:
            return sql.SQL(f"%(ids_{n})s::text[]")
        given = f"unnest(%(ids_{n})s::bytea[], %(ids_{n}_encodings)s::name[])"
        return sql.SQL("(SELECT array_agg({} ORDER BY place) FROM {} WITH ORDINALITY AS given({}, place))").format(
            sql.SQL("pg_catalog.convert_from(id, encoding)"), sql.SQL(given), sql.SQL("id, encoding")
        )

    def _given(self, name: str, n: int) -> sql.Composable:
        parameter = f"%({name}_{n})s"
        if self._values.bytes_for_text:
            parameter = f"pg_catalog.convert_from({parameter}::bytea, %({name}_{n}_encoding)s::name)"
        return sql.SQL("{}::{}").format(sql.SQL(parameter), self._identity[n].type)

    def _compared(
        self, relation: str, ends: Sequence[sql.Composable], place: sql.Composable | None = None
    ) -> sql.Composable:
        """Compares order and identity, or the identity alone, with a place."""
        if any(column.has_own_operators for column in self._identity):
            return self._step_by_step(relation, ends, place)
        left, right = list(self.columns), list(ends)
        if place is not None:
            left, right = [self._order, *left], [place, *right]
        comma = sql.SQL(", ")
        form = "({}) {} ({})" if len(left) > 1 else "{} {} {}"
        return sql.SQL(form).format(comma.join(left), sql.SQL(relation), comma.join(right))

    def _step_by_step(
        self, relation: str, ends: Sequence[sql.Composable], place: sql.Composable | None
    ) -> sql.Composable:
        # A comparison of rows would look for the columns' operators on the search path. It might find those of text,
        # which sort in another order.
        side = relation[0]
        last = self._identity[-1]
        found = sql.SQL("{} {} {}").format(self._bare(last), self._operator(last, relation), ends[-1])
        for column, end in [*zip(self._identity, ends, strict=True)][-2::-1]:
            found = sql.SQL("({bare} {beyond} {end} OR ({bare} {equal} {end} AND {further}))").format(
                bare=self._bare(column),
                beyond=self._operator(column, side),
                equal=self._operator(column, "="),
                end=end,
                further=found,
            )
        if place is None:
            return found
        return sql.SQL(f"{{order}} {side}= {{place}} AND ({{order}} {side} {{place}} OR {{further}})").format(
            order=self._order, place=place, further=found
        )

    def _bare(self, column: Column) -> sql.Composable:
        return self._values.bare(column.name)

    @staticmethod
    def _operator(column: Column, name: str) -> sql.Composable:
        if not column.has_own_operators:
            return sql.SQL(name)
        return sql.SQL("OPERATOR({}." + name + ")").format(sql.Identifier(column.operators))


def _stored(text: str | bytes) -> tuple[bytes, str]:
    """A text's bytes and their encoding; for a text that is not valid, the stored bytes."""
    return (text, NO_ENCODING) if isinstance(text, bytes) else (text.encode(), UTF8)
