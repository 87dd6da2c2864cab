"""The source's side of a census: its rows are read, counted by other statements, and their ids kept.

`census_sides` holds the rows on disk until they are compared.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.counting import RowCounts, RowsAndIds, id_hash
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.long_lists import LongList
from imgmig_dagster.steps.census_sides import Sides
from imgmig_dagster.walk.walk import rows_of
from imgmig_dagster.window import Window

CENSUS: Final = "census"
"""In place of a partition in a line on progress."""


async def read_source(
    work: ReadingWork, sides: Sides, meter: ProgressMeter, require_room: Callable[[Sequence[Row]], None]
) -> None:
    """Add every row to its side. `require_room` gets the first page."""
    is_first = True
    async for page in ahead(work.source.all_rows(work.page_size)):
        if is_first:
            await asyncio.to_thread(require_room, page)
            is_first = False
        # `imgmig throttle` paces both sides: a paused census reads nothing.
        limiter = work.target.sender.limiter
        limiter.spent(0, await limiter.wait())  # it is no request
        await asyncio.to_thread(sides.add_rows, page)
        meter.advance(len(page))


async def count_rows(work: ReadingWork, windows: Sequence[Window], sides: Sides) -> RowCounts:
    """What the source counts.

    Rows that came or went during the read do not count as a disagreement. If other ids were read than are counted, the
    ids are read once more on the snapshot of the counts. Rows that nobody saw before are then compared too, and items
    of rows that went.
    """
    rows, id_sum = sides.read
    meter = work.meter("Counted", CENSUS, rows)
    meter.advance(0)
    counts = await asyncio.to_thread(work.source.counts, windows)
    if (rows, id_sum) == (counts.everything, sum(int(group.id_sum) for group in counts.table.groups.values())):
        meter.advance(rows)
        return counts
    async for recounted, ids in ahead(work.source.recount(windows, work.page_size)):
        counts = recounted
        await asyncio.to_thread(sides.recount, ids)
        meter.advance(len(ids))
    async for unseen in ahead(sides.unseen()):
        async for _ids, found in rows_of(work, unseen):
            await asyncio.to_thread(sides.add_rows, found.values())
    return counts


async def keep_ids(work: ReadingWork, sides: Sides) -> Mapping[str, RowsAndIds]:
    """Write every id that had a row to the state store, group by group; returns how many, and the sums of hashes."""
    groups: dict[str, RowsAndIds] = {}
    kept: LongList | None = None
    meter = work.meter("Kept", CENSUS, sides.rows, noun="ids")
    async for group, ids in ahead(sides.ids()):
        if kept is None or group not in groups:
            if kept is not None:
                await asyncio.to_thread(kept.close)
            kept, groups[group] = LongList(work.state, names.census_ids(work.run_id, group)), RowsAndIds(0, "0")
        await asyncio.to_thread(kept.add, ids)
        rows, id_sum = groups[group].rows + len(ids), int(groups[group].id_sum) + sum(map(id_hash, ids))
        groups[group] = RowsAndIds(rows, str(id_sum))
        meter.advance(len(ids))
    if kept is not None:
        await asyncio.to_thread(kept.close)
    return groups
