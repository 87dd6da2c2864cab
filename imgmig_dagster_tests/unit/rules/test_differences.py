"""When a difference between row and item counts: tables of two looks."""

import pytest

from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.rules.differences import (
    ItemVerdict,
    Look,
    RowVerdict,
    judge_difference,
    judge_without_row,
    may_equal,
)

ROW, CHANGED_ROW = Row(("a", 1)), Row(("a", 2))
ITEM: Item = {"width": {"N": "1"}}
CHANGED_ITEM: Item = {"width": {"N": "2"}}


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        # Unchanged: what was seen twice counts.
        (Look(ROW, ITEM), Look(ROW, ITEM), RowVerdict.MISMATCH),
        (Look(ROW, None), Look(ROW, None), RowVerdict.MISSING),
        (Look(ROW, None, unread=True), Look(ROW, None, unread=True), RowVerdict.UNVERIFIED),
        # Either side changed: a third look.
        (Look(ROW, ITEM), Look(CHANGED_ROW, ITEM), None),
        (Look(ROW, ITEM), Look(ROW, CHANGED_ITEM), None),
        (Look(ROW, None), Look(ROW, ITEM), None),
        (Look(ROW, ITEM), Look(ROW, None), None),
        # An item that could not be read is neither absent nor as before.
        (Look(ROW, None), Look(ROW, None, unread=True), None),
        (Look(ROW, None, unread=True), Look(ROW, None), None),
        (Look(ROW, ITEM), Look(ROW, None, unread=True), None),
    ],
)
def test_a_difference_counts_if_it_is_seen_twice(before: Look, now: Look, verdict: RowVerdict | None) -> None:
    assert judge_difference(before, now) is verdict


@pytest.mark.parametrize(
    ("before", "now", "is_last", "items"),
    [
        (Look(ROW, ITEM), Look(ROW, CHANGED_ITEM), False, [CHANGED_ITEM]),
        (Look(ROW, ITEM), Look(ROW, CHANGED_ITEM), True, [CHANGED_ITEM, ITEM]),
        (Look(ROW, None), Look(ROW, ITEM), True, [ITEM]),
        (Look(ROW, ITEM), Look(ROW, None), False, []),
        (Look(ROW, ITEM), Look(ROW, None), True, [ITEM]),
        (Look(ROW, None), Look(ROW, None), True, []),
    ],
)
def test_only_the_last_look_compares_the_earlier_item_too(
    before: Look, now: Look, is_last: bool, items: list[Item]
) -> None:
    assert may_equal(before, now, is_last) == items


@pytest.mark.parametrize(
    ("before", "now", "verdict"),
    [
        # The first look finds items that are gone, and nothing else.
        (None, Look(None, None), ItemVerdict.GONE),
        (None, Look(None, ITEM), None),
        (None, Look(None, None, unread=True), None),
        # The second one finds orphan items, if nobody writes them.
        (Look(None, ITEM), Look(None, ITEM), ItemVerdict.ORPHAN),
        (Look(None, ITEM), Look(None, CHANGED_ITEM), None),
        (Look(None, ITEM), Look(None, None), ItemVerdict.GONE),
        (Look(None, ITEM), Look(None, None, unread=True), None),
        (Look(None, None, unread=True), Look(None, ITEM), None),
        # A row that came back belongs to its partition, whatever its item is.
        (Look(None, ITEM), Look(ROW, ITEM), ItemVerdict.HAS_A_ROW),
        (Look(None, ITEM), Look(ROW, None, unread=True), ItemVerdict.HAS_A_ROW),
    ],
)
def test_an_item_without_a_row_counts_if_it_is_seen_twice(
    before: Look | None, now: Look, verdict: ItemVerdict | None
) -> None:
    assert judge_without_row(before, now) is verdict
