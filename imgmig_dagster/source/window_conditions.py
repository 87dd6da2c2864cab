"""Conditions on the order column: whether a row lies in a window. Their parameters are ``start`` and ``end``.

Of a local time the bare column narrows the rows down, for the index's sake, and the instant decides: where the clocks
are put on or back, the order of local times is not that of instants.
"""

from typing import Final

from psycopg import sql

# More than the clocks of any zone were ever put on or back at once: a day, where the date line moved.
_LONGEST_SHIFT: Final = "interval '25 hours'"


def in_window(order: sql.Composable, type_: sql.Composable) -> sql.Composed:
    """Whether the order column lies in the window."""
    return sql.SQL("{order} >= %(start)s::{type} AND {order} < %(end)s::{type}").format(order=order, type=type_)


def out_of_window(order: sql.Composable, type_: sql.Composable) -> sql.Composed:
    """Whether it lies in none."""
    # Each of the three can use an index on the order column; a negation of `in_window` cannot.
    return sql.SQL("({order} < %(start)s::{type} OR {order} >= %(end)s::{type} OR {order} IS NULL)").format(
        order=order, type=type_
    )


def in_zoned_window(order: sql.Composable, instant: sql.Composable, zone: str) -> sql.Composed:
    """Whether the instant of a local time lies in the window."""
    return sql.SQL(
        "{order} >= {earliest} AND {order} < {latest} AND {instant} >= %(start)s::timestamptz"
        " AND {instant} < %(end)s::timestamptz"
    ).format(
        order=order,
        instant=instant,
        earliest=_local("LEAST", "start", zone),
        latest=_local("GREATEST", "end", zone),
    )


def out_of_zoned_window(order: sql.Composable, instant: sql.Composable, zone: str) -> sql.Composed:
    """Whether it lies in none."""
    return sql.SQL(
        "(({order} < {latest} AND {instant} < %(start)s::timestamptz)"
        " OR ({order} >= {earliest} AND {instant} >= %(end)s::timestamptz) OR {order} IS NULL)"
    ).format(
        order=order,
        instant=instant,
        latest=_local("GREATEST", "start", zone),
        earliest=_local("LEAST", "end", zone),
    )


def _local(which: str, name: str, zone: str) -> sql.Composed:
    """The earliest or latest local time that can be this instant, by the offsets before, at and after it."""
    return sql.SQL(
        f"{which}(%({name})s::timestamptz AT TIME ZONE {{zone}},"
        f" (%({name})s::timestamptz - {_LONGEST_SHIFT}) AT TIME ZONE {{zone}} + {_LONGEST_SHIFT},"
        f" (%({name})s::timestamptz + {_LONGEST_SHIFT}) AT TIME ZONE {{zone}} - {_LONGEST_SHIFT})"
    ).format(zone=sql.Literal(zone))
