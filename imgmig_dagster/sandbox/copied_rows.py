"""Copies rows of a sandbox table into another one until there are enough; copies get new ids. For `scratch`."""

import random
from typing import TYPE_CHECKING, Any, Final

from psycopg import sql

from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox.table_columns import WrittenColumn, read_table

if TYPE_CHECKING:
    import psycopg

# A name that no column has.
_NUMBER: Final = sql.Identifier("number of the copied row")
_SMALLEST: Final = 2**14


def make_like(connection: "psycopg.Connection[Any]", mapping: TableMapping, schema: str) -> None:
    """A table of the same name in another schema: the columns alone, and the identity unique."""
    copy, identity = sql.Identifier(schema, mapping.table), sql.SQL(", ").join(map(sql.Identifier, mapping.identity))
    origin = sql.Identifier(mapping.schema, mapping.table)
    connection.execute(sql.SQL("CREATE TABLE {} (LIKE {})").format(copy, origin))
    connection.execute(sql.SQL("CREATE UNIQUE INDEX ON {} ({})").format(copy, identity))


def copy_rows(connection: "psycopg.Connection[Any]", mapping: TableMapping, schema: str, at_most: int) -> None:
    """Fill the table that `make_like` made with rows of the mapping's."""
    copy, origin = sql.Identifier(schema, mapping.table), sql.Identifier(mapping.schema, mapping.table)
    named = sql.SQL(" AND ").join(sql.SQL("{} IS NOT NULL").format(sql.Identifier(name)) for name in mapping.identity)
    condition = named if mapping.where is None else sql.SQL("{} AND ({})").format(named, sql.SQL(mapping.where))
    connection.execute(
        sql.SQL("INSERT INTO {} SELECT * FROM {} WHERE {} LIMIT {}").format(copy, origin, condition, at_most)
    )


def multiply_rows(
    connection: "psycopg.Connection[Any]", mapping: TableMapping, schema: str, count: int, chance: random.Random
) -> int:
    """Copy the rows with new identities until there are `count`, or no more can be made up; returns their number."""
    copy = sql.Identifier(schema, mapping.table)
    ((there,),) = connection.execute(sql.SQL("SELECT count(*) FROM {}").format(copy)).fetchall()
    columns = read_table(connection, schema, mapping.table).columns
    changed = next((columns[name] for name in mapping.identity if columns[name].unique(chance)), None)
    if not there or changed is None:
        return int(there)
    values = sql.SQL(", ").join(_value(each, changed) for each in columns.values())
    while there < count:
        made = [_made(changed, there + number, chance) for number in range(min(there, count - there))]
        connection.execute(
            sql.SQL(
                "INSERT INTO {copy} SELECT {values} FROM (SELECT *, row_number() OVER () AS {number} FROM {copy}) t"
                " JOIN unnest(%s::text[]) WITH ORDINALITY AS made(value, place) ON place = {number}"
            ).format(copy=copy, values=values, number=_NUMBER),
            [made],
        )
        there += len(made)
    return int(there)


def _value(column: WrittenColumn, changed: WrittenColumn) -> sql.Composable:
    if column is changed:
        return sql.SQL("made.value::{}").format(sql.SQL(column.shown))
    return sql.SQL("t.{}").format(sql.Identifier(column.name))


def _made(column: WrittenColumn, number: int, chance: random.Random) -> str | None:
    """A value that no other row has: numbers count on, in a range that few tables use."""
    value = column.unique(chance)
    if column.category != "N":
        return value
    return str((_SMALLEST if column.type == "int2" else 2**30) + number)
