"""A source row, the values in it, an item, and a place among the rows."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeAlias

Value: TypeAlias = str | int | bytes | None
"""A column's value as `spec.FieldType` says; timestamps as `int` microseconds since 1970-01-01T00:00:00Z (which keeps
±infinity, BC and year 12026 readable, unlike `datetime`).

What no item can hold is of another type than its field's, and so equals nothing there: text that is no UTF-8 is
`bytes`, and a number that is not whole is `str`."""

# PostgreSQL's ±infinity, as its binary format carries them: the ends of a signed 64-bit integer.
INFINITY: Final = 2**63 - 1
MINUS_INFINITY: Final = -(2**63)


class Row(tuple[Value, ...]):
    """A source row: the id, then one value per `TableMapping.readings`, in their order."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """The id as text. An id that is not valid text goes by the name that `str` gives it."""
        return str(self[0])


class DigestedRow(Row):
    """A row with the digest that PostgreSQL computed of it (`source.row_digest_sql`)."""

    digest: int

    @classmethod
    def read(cls, values: Sequence[Value]) -> "DigestedRow":
        """The row of these values, of which the last is the digest."""
        row = cls(values[:-1])
        row.digest = values[-1]  # type: ignore[assignment]  # a number of 64 bits, never NULL
        return row


Item: TypeAlias = dict[str, dict[str, Any]]
"""A DynamoDB item in the service's own JSON: ``{"userId": {"S": "..."}}``."""

Assignments: TypeAlias = Mapping[str, dict[str, Any] | None]
"""New values of some of an item's attributes; None removes one."""


def assigned(item: Item, assignments: Assignments) -> Item:
    """The item with its attributes as assigned."""
    return {name: value for name, value in {**item, **assignments}.items() if value is not None}


Cursor: TypeAlias = tuple[int, str]
"""A keyset position: the order column in microseconds since 1970 (0 of a row without a time), and the id. Never cut to
milliseconds: a cursor that is less precise than the column reads the same page for ever."""
