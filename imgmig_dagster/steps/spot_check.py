"""A random sample of rows, both records side by side and their pictures in S3, for a person to look at.

`source.sampling` draws it; `reporting` makes the page.
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Final

from imgmig_dagster.mapping.compare import comparer, describe_fields
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.rules.differences import MAX_LOOKS, Look, judge_difference
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.verify import identity_now
from imgmig_dagster.verification.pictures import PictureStore
from imgmig_dagster.verification.spot_check_results import SpotCheckPair, SpotCheckResult, StoredObject
from imgmig_dagster.window import Window

_NOTHING: Final = (None, None)


async def spot_check(
    work: ReadingWork, pictures: PictureStore | None, windows: Sequence[Window], count: int, seed: int
) -> SpotCheckResult:
    """Draw `count` rows from these windows and around them, read both sides of each, and ask S3 for its objects.

    S3 is asked if the mapping declares pictures.

    A row that differs is looked at again, until it has not changed for the recheck delay: the application may be
    writing. A row that is deleted in between is not in the sample.

    Raises:
        SourceError, TargetError: see there. An S3 that is away is no error: see `PictureStore.inspect`.
    """
    identity = await identity_now(work)  # a target that is away ends the run, and does not show every item as absent
    source_rows = await asyncio.to_thread(work.source.count_all)
    mapping = work.source.mapping
    drawn = await asyncio.to_thread(work.source.sample, count, seed, mapping.pictures, windows, source_rows)
    looks = await _look_until_still(work, [each.row for each in drawn])
    pairs = [(each.shape, look.row, look.item) for each in drawn if (look := looks.get(each.row.id)) and look.row]
    objects: Mapping[str, tuple[StoredObject | None, StoredObject | None]] = {}
    if pictures is not None:
        objects = await asyncio.to_thread(pictures.inspect, [row for _shape, row, _item in pairs])
    return SpotCheckResult(
        run_id=work.run_id,
        seed=seed,
        requested=count,
        pairs=[
            SpotCheckPair(
                row_id=row.id,
                shape=shape,
                fields=_compared(mapping, row, item or {}),
                has_item=item is not None,
                picture=objects.get(row.id, _NOTHING)[0],
                thumbnail=objects.get(row.id, _NOTHING)[1],
            )
            for shape, row, item in pairs
        ],
        source_rows=source_rows,
        identity=identity,
        checked_at=work.clock.now(),
    )


async def _look_until_still(work: ReadingWork, drawn: Sequence[Row]) -> Mapping[str, Look]:
    """The rows and their items, by id; see `spot_check`. An item that could not be read is absent: it does not pass."""
    compare, table = comparer(work.source.mapping), work.target.for_partition()

    async def look(rows: Collection[Row]) -> dict[str, Look]:
        items = (await table.get_many([row.id for row in rows])).items
        return {row.id: Look(row, items.get(row.id)) for row in rows}

    def agrees(row: Row, item: Item | None) -> bool:
        return item is not None and compare(row, item).equal

    looks = await look(drawn)
    suspects = [row.id for row in drawn if not agrees(row, looks[row.id].item)]
    for _look_number in range(MAX_LOOKS):
        if not suspects:
            break
        await work.clock.sleep(work.recheck_delay_s)
        rows = await asyncio.to_thread(work.source.rows, suspects)
        again, before = await look(rows.values()), {row_id: looks.pop(row_id) for row_id in suspects}
        looks |= again
        changed = [row_id for row_id, now in again.items() if judge_difference(before[row_id], now) is None]
        suspects = [row_id for row_id in changed if not agrees(rows[row_id], again[row_id].item)]
    return looks


def _compared(mapping: TableMapping, row: Row, item: Item) -> Sequence[tuple[str, str, str, bool]]:
    differing = {found.attribute for found in comparer(mapping)(row, item).differences}
    return [
        (attribute, expected, found, attribute not in differing)
        for attribute, expected, found in describe_fields(mapping, row, item)
    ]
