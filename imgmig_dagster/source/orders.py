"""What puts the rows in order and cuts them into windows: a time, a date, a number, or a bucket of the identity.

Conditions take the parameters ``start`` and ``end`` and are bare comparisons, so that an index is used. For a local
time the bare column narrows the rows down and the instant decides: when clocks change, the order of local times is not
that of instants.
"""

from collections.abc import Callable
from dataclasses import dataclass
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
_INSIDE: Final = "{order} >= {start}::{type} AND {order} < {end}::{type}"
# Each of the two can use an index on the order column; a negation of the other cannot.
_OUTSIDE: Final = "{order} < {start}::{type} OR {order} >= {end}::{type}"
# {which} local time that can be {bound}, by the offsets before, at and after it.
_LOCAL: Final = (
    "{which}({bound}::timestamptz AT TIME ZONE {{zone}},"
    f" ({{bound}}::timestamptz - {_LONGEST_SHIFT}) AT TIME ZONE {{{{zone}}}} + {_LONGEST_SHIFT},"
    f" ({{bound}}::timestamptz + {_LONGEST_SHIFT}) AT TIME ZONE {{{{zone}}}} - {_LONGEST_SHIFT})"
)
_EARLIEST_START, _LATEST_START, _EARLIEST_END, _LATEST_END = (
    _LOCAL.format(which=which, bound=bound) for bound in ("{start}", "{end}") for which in ("LEAST", "GREATEST")
)
_INSIDE_ZONED: Final = (
    f"{{order}} >= {_EARLIEST_START} AND {{order}} < {_LATEST_END}"
    " AND {instant} >= {start}::timestamptz AND {instant} < {end}::timestamptz"
)
_OUTSIDE_ZONED: Final = (
    f"({{order}} < {_LATEST_START} AND {{instant}} < {{start}}::timestamptz)"
    f" OR ({{order}} >= {_EARLIEST_END} AND {{instant}} >= {{end}}::timestamptz)"
)
_GIVEN: Final = {"start": sql.Placeholder("start"), "end": sql.Placeholder("end")}
_OF_RANGE: Final = {"start": sql.SQL("range.window_start"), "end": sql.SQL("range.window_end")}


@dataclass(frozen=True)
class RowOrder:
    """What rows are sorted by, `order` of the type `type`, and the conditions to be in a window or in none.

    `inside_range` is `inside` for the window of a `range` (see `Keyset.ranges`).

    The bounds of windows are compared with `instant`. `place` is a row's place in microseconds, if the row's values do
    not show it. `bound` returns the first value at or after a moment, `position` the value of a place. `bound_shown` is
    `bound` in SQL, for a moment in braces.
    """

    order: sql.Composable
    type: sql.Composable
    instant: sql.Composable
    instant_type: sql.Composable
    inside: sql.Composable
    inside_range: sql.Composable
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
    conditions = _conditions(_INSIDE, _OUTSIDE, order=order, type=type_)
    return RowOrder(order, type_, order, type_, *conditions, bound, lambda place: bound(from_microseconds(place)))


def _by_local_time(order: sql.Composable, type_: sql.Composable, instant: sql.Composable, zone: str) -> RowOrder:
    names = {"order": order, "instant": instant, "zone": sql.Literal(zone)}
    return RowOrder(
        order,
        type_,
        instant,
        sql.SQL("timestamptz"),
        *_conditions(_INSIDE_ZONED, _OUTSIDE_ZONED, **names),
        _literal,
        lambda place: _literal(from_microseconds(place)),
        place=order,  # two local times can be one instant: the place is the column's own
    )


def _by_number(order: sql.Composable, type_: sql.Composable, unit: Unit, is_whole: bool) -> RowOrder:
    def number(microseconds: int) -> str:
        if is_whole:
            return str(-(-microseconds // unit.microseconds))
        return f"{Decimal(microseconds) / unit.microseconds:f}"

    instant = sql.SQL("{}::{}").format(order, type_)  # of the bounds' very type, as width_bucket() asks for
    return RowOrder(
        order,
        type_,
        instant,
        type_,
        *_conditions(_INSIDE, _OUTSIDE, order=order, type=type_),
        lambda moment: number(to_microseconds(moment)),
        number,
        bound_shown=_BOUND_SHOWN.format(per_second=1_000_000 // unit.microseconds, round="ceil" if is_whole else ""),
    )


def _conditions(inside: str, outside: str, **names: sql.Composable) -> tuple[sql.Composed, sql.Composed, sql.Composed]:
    """`inside`, `inside_range` and `outside` of a `RowOrder`."""
    return (
        sql.SQL(inside).format(**names, **_GIVEN),
        sql.SQL(inside).format(**names, **_OF_RANGE),
        sql.SQL(outside).format(**names, **_GIVEN),
    )


def _literal(moment: datetime) -> str:
    # For a column without a zone PostgreSQL drops the literal's zone.
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds")


def _midnight(moment: datetime) -> str:
    day = moment.astimezone(timezone.utc)
    first = day if to_microseconds(day) % _DAY_US == 0 else day + timedelta(days=1)
    return first.date().isoformat()
