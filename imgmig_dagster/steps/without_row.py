"""Looks at items whose rows are gone until they stop changing: an orphan item, or a write that was on its way.

`rules.differences` decides. `second_look` does the same for rows with items.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.rules.differences import MAX_LOOKS, ItemVerdict, Look, judge_without_row
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.target.target_table import Lookup, TargetTable


@dataclass(frozen=True)
class WithoutRow:
    """What happened to ids that had no row.

    `orphans` are items that existed at two looks, with the recheck delay between, while there was no row. `gone` ids
    have no item either, and `have_rows` have a row now. The item of an `unverified` id could not be read, or changed at
    every look.
    """

    orphans: dict[str, Item] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    have_rows: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)

    def judge(self, before: Mapping[str, Look], now: Mapping[str, Look]) -> dict[str, Look]:
        """Record what is certain by now; return what has to be looked at again."""
        again: dict[str, Look] = {}
        for row_id, look in now.items():
            verdict = judge_without_row(before.get(row_id), look)
            if verdict is None:
                again[row_id] = look
            elif verdict is ItemVerdict.HAS_A_ROW:
                self.have_rows.append(row_id)
            elif look.item is None:
                self.gone.append(row_id)
            else:
                self.orphans[row_id] = look.item
        return again


async def look_without_rows(work: ReadingWork, target: TargetTable, ids: Sequence[str]) -> WithoutRow:
    """Look at the items of ids for which the source has just given no row."""
    found = WithoutRow()
    looks = found.judge({}, _looks(ids, {}, await target.get_many(ids)))
    for _again in range(MAX_LOOKS):
        if not looks:
            return found
        await work.clock.sleep(work.recheck_delay_s)
        # The item first: if the application commits before it writes its item, the row of that item exists.
        lookup = await target.get_many(list(looks))
        rows = await asyncio.to_thread(work.source.rows, list(looks))
        looks = found.judge(looks, _looks(looks, rows, lookup))
    found.unverified.extend(looks)
    return found


def _looks(ids: Iterable[str], rows: Mapping[str, Row], lookup: Lookup) -> dict[str, Look]:
    return {row_id: Look(rows.get(row_id), lookup.items.get(row_id), row_id in lookup.unread) for row_id in ids}
