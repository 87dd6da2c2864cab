"""What the sandbox's application writes to a declared table: copies of its rows, and new values in their columns.

It tries on one row which writes the table allows, and rolls back. `item_values` makes an item from a row,
`table_columns` reads the catalog; for `images` see `image_records`.
"""

import random
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final, TypeVar

import psycopg
from psycopg import sql

from imgmig_dagster.errors import SandboxError
from imgmig_dagster.mapping.fields import Field
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.template import joined, taken_apart
from imgmig_dagster.sandbox.item_values import Unwritable, as_text, attributes, selection
from imgmig_dagster.sandbox.table_columns import WrittenTable, read_table

_Written = TypeVar("_Written")

if TYPE_CHECKING:
    from psycopg.abc import Params

# Errors that a random value can meet: no fault of the application.
_REFUSED: Final = (psycopg.errors.IntegrityError, psycopg.errors.DataError, Unwritable)


class DeclaredRecords:
    """The rows of one declared table: see `dual_writer.Records`."""

    def __init__(self, mapping: TableMapping) -> None:
        self._mapping = mapping
        self._table = sql.Identifier(mapping.schema, mapping.table)
        self._selections = {field: selection(field) for field in mapping.fields}
        self._returning = sql.SQL(", ").join(
            [*map(as_text, mapping.key_columns), *(each for found in self._selections.values() for each in found)]
        )
        self._written = WrittenTable({}, (), has_triggers=False, cascades=False)
        self._changeable: Sequence[str] = ()
        self._first = ""

    @property
    def version(self) -> str | None:
        """As declared."""
        return None if self._mapping.version is None else self._mapping.version.attribute

    def key(self, row_id: str) -> Item:
        """As declared."""
        return self._mapping.key(row_id)

    def ids(self, connection: psycopg.Connection[Any]) -> Iterable[str]:
        """In no order."""
        query = sql.SQL("SELECT {} FROM {}").format(
            sql.SQL(", ").join(map(as_text, self._mapping.key_columns)), self._table
        )
        if self._mapping.where is not None:
            query += sql.SQL(" WHERE ") + sql.SQL(self._mapping.where)
        found = [joined([str(text) for text in row]) for row in connection.execute(query) if None not in row]
        self._first = found[0] if found else ""
        return found

    def kinds(self, connection: psycopg.Connection[Any]) -> Sequence[str]:
        """The kinds of writes that one row, drawn from `ids`, allowed."""
        name = f"{self._mapping.schema}.{self._mapping.table}"
        if not self._first:
            raise SandboxError(f"{name} holds no row to begin with: insert some, then start the application again")
        self._written = read_table(connection, self._mapping.schema, self._mapping.table)
        chance, said = random.Random(0), dict[str, str]()  # noqa: S311
        self._changeable = [
            column
            for column in self._candidates()
            if self._tried(connection, partial(self._change, self._first, [column], chance, connection), said)
        ]
        tries: dict[str, Callable[[], object]] = {
            "insert": partial(self._copy, self._first, chance, connection, None),
            "delete": partial(self.delete, self._first, connection),
        }
        allowed = [kind for kind, attempt in tries.items() if self._tried(connection, attempt, said, kind)]
        if self._written.cascades and "delete" in allowed:
            allowed.remove("delete")
        allowed += ["update", "touch"] if self._changeable else []
        if not allowed:
            raise SandboxError(
                f"an application cannot write to {name} by its declaration alone: {'; '.join(said.values())}. Write to "
                "both sides with your own program"
            )
        return allowed

    def insert(
        self, beside: str, chance: random.Random, connection: psycopg.Connection[Any], now: datetime
    ) -> tuple[str, Item] | None:
        """A copy of the row `beside` with another identity."""
        return self._unless_refused(connection, lambda: self._copy(beside, chance, connection, now))

    def update(
        self, row_id: str, chance: random.Random, connection: psycopg.Connection[Any], now: datetime
    ) -> Item | None:
        """Up to two columns and the time of it."""
        columns = chance.sample(self._changeable, min(2, len(self._changeable)))
        return self._unless_refused(connection, lambda: self._change(row_id, columns, chance, connection, now))

    def touch(self, row_id: str, chance: random.Random, connection: psycopg.Connection[Any]) -> Item | None:
        """One column."""
        column = chance.choice(self._changeable)
        return self._unless_refused(connection, lambda: self._change(row_id, [column], chance, connection))

    def delete(self, row_id: str, connection: psycopg.Connection[Any]) -> None:
        """Delete the row."""
        condition, parameters = self._is(row_id)
        connection.execute(sql.SQL("DELETE FROM {} WHERE {}").format(self._table, condition), parameters)

    def _candidates(self) -> Iterable[str]:
        """Columns whose change changes neither the key, nor the order, nor whether the row is migrated."""
        mapping = self._mapping
        kept = {*mapping.key_columns, mapping.order.column, mapping.modified}
        kept.update(name for names in self._written.unique for name in names)
        kept.update(re.findall(r"\w+", mapping.where or ""))
        return [
            name
            for name in dict.fromkeys(column for field in mapping.fields for column in field.columns)
            if name not in kept and not self._written.columns[name].is_generated
        ]

    def _copy(
        self, beside: str, chance: random.Random, connection: psycopg.Connection[Any], now: datetime | None
    ) -> tuple[str, Item] | None:
        columns = [name for name, column in self._written.columns.items() if not column.is_generated]
        given = self._made_up(chance) | self._time(now)
        condition, parameters = self._is(beside)
        values = [self._parameter(name) if name in given else sql.Identifier(name) for name in columns]
        statement = sql.SQL(
            "INSERT INTO {table} ({columns}) OVERRIDING SYSTEM VALUE SELECT {values} FROM {table} WHERE {condition}"
            " RETURNING {returning}"
        ).format(
            table=self._table,
            columns=sql.SQL(", ").join(map(sql.Identifier, columns)),
            values=sql.SQL(", ").join(values),
            condition=condition,
            returning=self._returning,
        )
        return self._carried_out(
            connection, statement, [*(given[name] for name in columns if name in given), *parameters]
        )

    def _change(
        self,
        row_id: str,
        columns: Sequence[str],
        chance: random.Random,
        connection: psycopg.Connection[Any],
        now: datetime | None = None,
    ) -> Item | None:
        given = {name: self._other(name, chance) for name in columns} | self._time(now)
        condition, parameters = self._is(row_id)
        statement = sql.SQL("UPDATE {} SET {} WHERE {} RETURNING {}").format(
            self._table,
            sql.SQL(", ").join(
                sql.SQL("{} = {}").format(sql.Identifier(name), self._parameter(name)) for name in given
            ),
            condition,
            self._returning,
        )
        found = self._carried_out(connection, statement, [*given.values(), *parameters])
        if found is None:
            return None
        changed = self._affected(given)
        return {name: value for name, value in found[1].items() if name in changed}

    def _carried_out(
        self, connection: psycopg.Connection[Any], statement: sql.Composed, parameters: "Params"
    ) -> tuple[str, Item] | None:
        row = connection.execute(statement, parameters).fetchone()
        if row is None:
            return None
        texts, rest = list(row), dict[Field, Sequence[str | None]]()
        row_id = joined([str(texts.pop(0)) for _column in self._mapping.key_columns])
        for field, found in self._selections.items():
            rest[field], texts = texts[: len(found)], texts[len(found) :]
        constants = {each.attribute: dict(each.value) for each in self._mapping.constants}
        return row_id, {**attributes(self._mapping.fields, rest), **constants}

    def _affected(self, given: Mapping[str, Any]) -> set[str]:
        """The attributes that an application writes where these columns changed."""
        if self._written.has_triggers:
            return {field.attribute for field in self._mapping.fields}
        generated = {name for name, column in self._written.columns.items() if column.is_generated}
        return {field.attribute for field in self._mapping.fields if (generated | given.keys()) & {*field.columns}}

    def _made_up(self, chance: random.Random) -> dict[str, Any]:
        """One column of each unique index, of the kind of which it is the easiest."""
        found: dict[str, Any] = {}
        for names in self._written.unique or (self._mapping.identity,):
            if not found.keys() & {*names}:
                columns = sorted((self._written.columns[name] for name in names), key=lambda each: each.type != "uuid")
                made = ((each.name, each.unique(chance)) for each in columns)
                found.update([next(((name, value) for name, value in made if value is not None), (names[0], None))])
        return found

    def _other(self, name: str, chance: random.Random) -> str:
        labels = next((field.labels for field in self._mapping.fields if field.column == name and field.labels), ())
        value = chance.choice(labels)[0] if labels else self._written.columns[name].other(chance)
        if value is None:
            raise Unwritable(name)
        return value

    def _time(self, now: datetime | None) -> dict[str, Any]:
        index, name = self._mapping.modified_index, self._mapping.modified
        if now is None or index is None or name is None:
            return {}
        unit = self._mapping.readings[index - 1].column_unit
        return {name: now if unit is None else int(now.timestamp() * 1_000_000) // unit.microseconds}

    def _parameter(self, name: str) -> sql.Composable:
        return sql.SQL("%s::{}").format(sql.SQL(self._written.columns[name].shown))

    def _is(self, row_id: str) -> tuple[sql.Composable, list[str]]:
        columns = self._mapping.key_columns
        texts = dict(zip(columns, taken_apart(row_id, len(columns)) or (), strict=True))
        names = self._mapping.identity
        condition = sql.SQL(" AND ").join(sql.SQL("{} = %s").format(sql.Identifier(name)) for name in names)
        return condition, [texts[name] for name in names]

    @staticmethod
    def _unless_refused(connection: psycopg.Connection[Any], write: Callable[[], _Written]) -> _Written | None:
        try:
            with connection.transaction():
                return write()
        except _REFUSED:
            return None

    @staticmethod
    def _tried(
        connection: psycopg.Connection[Any], write: Callable[[], object], said: dict[str, str], kind: str = "update"
    ) -> bool:
        try:
            with connection.transaction(force_rollback=True):
                write()
        except (psycopg.Error, Unwritable) as error:
            said.setdefault(kind, f"{kind}: {type(error).__name__}")
            return False
        return True
