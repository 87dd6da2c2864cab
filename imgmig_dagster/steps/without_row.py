"""Looks at items whose rows are gone until they stop changing: an orphan item, or a write that was on its way.

`second_look` does the same for rows with items.
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.second_look import MAX_LOOKS
from imgmig_dagster.target.target_table import TargetTable


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


async def look_at_rows_left(work: ReadingWork, ids: Sequence[str]) -> WithoutRow:
    """Look at the items of ids whose rows are reported gone, if they have no row."""
    rows = await asyncio.to_thread(work.source.rows, ids)
    without = [row_id for row_id in ids if row_id not in rows]
    found = await look_without_rows(work.source, work.target, without, work.recheck_delay_s, work.clock.sleep)
    found.have_rows.extend(rows)
    return found


async def look_without_rows(
    source: SourceReader,
    target: TargetTable,
    ids: Sequence[str],
    recheck_delay_s: float,
    sleep: Callable[[float], Awaitable[None]],
) -> WithoutRow:
    """Look at the items of ids for which the source has just given no row."""
    found = WithoutRow()
    lookup = await target.get_many(ids)
    existing: dict[str, Item | None] = {}
    for row_id in ids:
        item = lookup.items.get(row_id)
        if item is None and row_id not in lookup.unread:
            found.gone.append(row_id)
        else:
            existing[row_id] = item  # None: unread
    for _look in range(MAX_LOOKS):
        if not existing:
            return found
        await sleep(recheck_delay_s)
        existing = await _look_again(source, target, existing, found)
    found.unverified.extend(existing)
    return found


async def _look_again(
    source: SourceReader, target: TargetTable, existing: dict[str, Item | None], found: WithoutRow
) -> dict[str, Item | None]:
    """Judge what did not change; return what changed, or could not be read."""
    # The item first: if the application commits before it writes its item, the row of that item exists.
    lookup = await target.get_many(list(existing))
    rows = await asyncio.to_thread(source.rows, list(existing))
    moving: dict[str, Item | None] = {}
    for row_id, seen in existing.items():
        item = lookup.items.get(row_id)
        if row_id in rows:
            found.have_rows.append(row_id)
        elif row_id in lookup.unread:
            moving[row_id] = None
        elif item is None:
            found.gone.append(row_id)
        elif item == seen:
            found.orphans[row_id] = item
        else:
            moving[row_id] = item
    return moving
