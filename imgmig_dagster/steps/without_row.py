"""Looks at items whose rows are gone, until they have held still: an orphan, or a write that was on its way."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.steps.second_look import MAX_LOOKS
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.work import ReadingWork


@dataclass(frozen=True)
class WithoutRow:
    """What became of ids that had no row.

    `orphans` are the items that stood there twice, with the recheck delay between, while there was no row. `gone` have
    no item either, and `have_rows` a row by now. Of the `unverified` the item could not be read, or moved at every
    look.
    """

    orphans: dict[str, Item] = field(default_factory=dict)
    gone: list[str] = field(default_factory=list)
    have_rows: list[str] = field(default_factory=list)
    unverified: list[str] = field(default_factory=list)


async def look_at_rows_left(work: ReadingWork, ids: Sequence[str]) -> WithoutRow:
    """Look at the items of ids whose rows are said to be gone: of those that have none."""
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
    standing: dict[str, Item | None] = {}
    for row_id in ids:
        item = lookup.items.get(row_id)
        if item is None and row_id not in lookup.unread:
            found.gone.append(row_id)
        else:
            standing[row_id] = item  # None: unread
    for _look in range(MAX_LOOKS):
        if not standing:
            return found
        await sleep(recheck_delay_s)
        standing = await _look_again(source, target, standing, found)
    found.unverified.extend(standing)
    return found


async def _look_again(
    source: SourceReader, target: TargetTable, standing: dict[str, Item | None], found: WithoutRow
) -> dict[str, Item | None]:
    """Conclude from what held still; return what moved, or could not be read."""
    # The item first: of an application that commits before it writes its item, the row of that item is there.
    lookup = await target.get_many(list(standing))
    rows = await asyncio.to_thread(source.rows, list(standing))
    moving: dict[str, Item | None] = {}
    for row_id, seen in standing.items():
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
