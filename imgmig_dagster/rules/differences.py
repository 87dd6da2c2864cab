"""When a difference between row and item counts: one look at it proves nothing, since the application may be writing.

`steps.second_look` and `steps.without_row` look, with the recheck delay between two looks.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from imgmig_dagster.mapping.rows import Item, Row

MAX_LOOKS: Final = 5
"""How often a row that keeps changing is looked at again, before it stays unverified."""


class RowVerdict(str, Enum):
    """What was found out about one row."""

    MATCH = "match"
    MISMATCH = "mismatch"
    MISSING = "missing"
    """The row has no item."""
    UNVERIFIED = "unverified"
    """A read failed, or the row never stopped changing: nothing is known, and that is no pass."""


@dataclass(frozen=True)
class Look:
    """The row and the item of an id as one look found them: None if there is none, or if the item is `unread`."""

    row: Row | None
    item: Item | None
    unread: bool = False


def may_equal(before: Look, now: Look, is_last: bool) -> Sequence[Item]:
    """The items of which one must equal the row, as it is now, for a match.

    A row may change at every look, so that its item always shows the row of the look before. They were equal then,
    since the row is written first. So the last look also compares the earlier item.
    """
    return [item for item in (now.item, before.item if is_last else None) if item is not None]


def judge_difference(before: Look, now: Look) -> RowVerdict | None:
    """The verdict on a row that does not equal its item, looked at twice; None if either has changed in between."""
    if now != before:
        return None
    if now.unread:
        return RowVerdict.UNVERIFIED
    return RowVerdict.MISSING if now.item is None else RowVerdict.MISMATCH


class ItemVerdict(Enum):
    """What was found out about an id whose row was gone."""

    GONE = "the item is gone too"
    ORPHAN = "the item exists, and nobody writes it"
    HAS_A_ROW = "there is a row again"


def judge_without_row(before: Look | None, now: Look) -> ItemVerdict | None:
    """The verdict on an id without a row; None if it has to be looked at again. The first look has none `before`."""
    if now.row is not None:
        return ItemVerdict.HAS_A_ROW
    if now.unread:
        return None
    if now.item is None:
        return ItemVerdict.GONE
    return ItemVerdict.ORPHAN if before is not None and now.item == before.item else None
