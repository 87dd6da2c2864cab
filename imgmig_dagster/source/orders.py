"""What puts the rows in order and cuts them into windows: a time, a date, a number, or a bucket of the identity.

Conditions take the parameters ``start`` and ``end`` and are bare comparisons, so that an index is used. For a local
time the bare column narrows the rows down and the instant decides: when clocks change, the order of local times is not
that of instants.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta, timezone
from decimal import Decimal
from typing import Final

from psycopg import sql

from imgmig_dagster.mapping.fields import Unit
from imgmig_dagster.source.columns import ColumnKind
from imgmig_dagster.source.values import Values
from imgmig_dagster.window import from_microseconds, to_microseconds

# More than the clocks of any zone were ever changed at once: a day, where the date line moved.
_LONGEST_SHIFT: Final = "interval '25 hours'"
_DAY_US: Final = 86_400_000_000
_BOUND_SHOWN: Final = "{round}(extract(epoch FROM {{}}::timestamptz)::numeric * {per_second})"
_INSIDE: Final = "{order} >= %(start)s::{type} AND {order} < %(end)s::{type}"
# Each of the two can use an index on the order column; a negation of the other cannot.
_OUTSIDE: Final = "{order} < %(start)s::{type} OR {order} >= %(end)s::{type}"
_INSIDE_ZONED: Final = (
    "{order} >= {earliest_start} AND {order} < {latest_end} AND {instant} >= %(start)s::timestamptz"
    " AND {instant} < %(end)s::timestamptz"
)
_OUTSIDE_ZONED: Final = (
    "({order} < {latest_start} AND {instant} < %(start)s::timestamptz)"
    " OR ({order} >= {earliest_end} AND {instant} >= %(end)s::timestamptz)"
)


@dataclass(frozen=True)
class RowOrder:
    """What rows are sorted by, `order` of the type `type`, and the conditions to be in a window or in none.

    The bounds of windows are compared with `instant`. `place` is a row's place in microseconds, if the row's values do
    not show it. `bound` returns the first value at or after a moment, `position` the value of a place. `bound_shown` is
    `bound` in SQL, for a moment in braces.
    """

    order: sql.Composable
    type: sql.Composable
    instant: sql.Composable
    instant_type: sql.Composable
    inside: sql.Composable
    outside: sql.Composable
    bound: Callable[[datetime], str]
    position: Callable[[int], str]
    place: sql.Composable | None = None
    bound_shown: str = "{}"


def order_of(values: Values) -> RowOrder:
    """What puts the rows of a table in order."""
    mapping = values.table.mapping
    name, unit = mapping.order.column, mapping.order.unit
    if mapping.order.buckets is not None:
        return _by_number(values.bucket, sql.SQL("int8"), Unit.SECONDS, is_whole=True)
    column, bare = values.table.columns[name], values.bare(name)
    if unit is not None:
        return _by_number(bare, column.type, unit, is_whole=column.kind is ColumnKind.WHOLE)
    if values.is_zoned(name):
        return _by_local_time(bare, column.type, values.moment(name), values.table.time_zone)
    return _by_time(bare, column.type, _midnight if column.kind is ColumnKind.DATE else _literal)


def _by_time(order: sql.Composable, type_: sql.Composable, bound: Callable[[datetime], str]) -> RowOrder:
    inside, outside = (sql.SQL(each).format(order=order, type=type_) for each in (_INSIDE, _OUTSIDE))
    return RowOrder(order, type_, order, type_, inside, outside, bound, lambda place: bound(from_microseconds(place)))


def _by_local_time(order: sql.Composable, type_: sql.Composable, instant: sql.Composable, zone: str) -> RowOrder:
    # Two local times can be one instant: the place is the column's own.
    bounds = {
        "earliest_start": _local("LEAST", "start", zone),
        "latest_start": _local("GREATEST", "start", zone),
        "earliest_end": _local("LEAST", "end", zone),
        "latest_end": _local("GREATEST", "end", zone),
    }
    inside, outside = (
        sql.SQL(each).format(order=order, instant=instant, **bounds) for each in (_INSIDE_ZONED, _OUTSIDE_ZONED)
    )
    by_time = _by_time(order, type_, _literal)
    by_time = replace(by_time, instant=instant, instant_type=sql.SQL("timestamptz"), place=order)
    return replace(by_time, inside=inside, outside=outside)


def _by_number(order: sql.Composable, type_: sql.Composable, unit: Unit, is_whole: bool) -> RowOrder:
    def number(microseconds: int) -> str:
        if is_whole:
            return str(-(-microseconds // unit.microseconds))
        return f"{Decimal(microseconds) / unit.microseconds:f}"

    inside, outside = (sql.SQL(each).format(order=order, type=type_) for each in (_INSIDE, _OUTSIDE))
    instant = sql.SQL("{}::{}").format(order, type_)  # of the bounds' very type, as width_bucket() asks for
    return RowOrder(
        order,
        type_,
        instant,
        type_,
        inside,
        outside,
        lambda moment: number(to_microseconds(moment)),
        number,
        bound_shown=_BOUND_SHOWN.format(per_second=1_000_000 // unit.microseconds, round="ceil" if is_whole else ""),
    )


def _literal(moment: datetime) -> str:
    # For a column without a zone PostgreSQL drops the literal's zone.
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _midnight(moment: datetime) -> str:
    day = moment.astimezone(timezone.utc)
    first = day if to_microseconds(day) % _DAY_US == 0 else day + timedelta(days=1)
    return first.date().isoformat()


def _local(which: str, name: str, zone: str) -> sql.Composed:
    """The earliest or latest local time that can be this instant, by the offsets before, at and after it."""
    return sql.SQL(
        f"{which}(%({name})s::timestamptz AT TIME ZONE {{zone}},"
        f" (%({name})s::timestamptz - {_LONGEST_SHIFT}) AT TIME ZONE {{zone}} + {_LONGEST_SHIFT},"
        f" (%({name})s::timestamptz + {_LONGEST_SHIFT}) AT TIME ZONE {{zone}} - {_LONGEST_SHIFT})"
    ).format(zone=sql.Literal(zone))
