"""A random sample of rows, both records side by side and their pictures in S3, for a person to look at.

`source.sampling` draws it; `reporting` makes the page.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.mapping.compare import comparer, describe_fields
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.sampling import SampledRow
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.second_look import MAX_LOOKS
from imgmig_dagster.steps.verify import identity_now
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.pictures import PictureStore
from imgmig_dagster.verification.spot_check_results import SpotCheckPair, SpotCheckResult, StoredObject
from imgmig_dagster.window import Window

_NOTHING: Final = (None, None)


@dataclass(frozen=True)
class _SampledPair:
    """A sampled row and its item. An item that could not be read counts as absent: it does not pass."""

    sampled: SampledRow
    item: Item | None

    @property
    def row_id(self) -> str:
        return self.sampled.row.id


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
    sights = await _look_until_still(work, drawn)
    objects: Mapping[str, tuple[StoredObject | None, StoredObject | None]] = {}
    if pictures is not None:
        objects = await asyncio.to_thread(pictures.inspect, [sight.sampled.row for sight in sights])
    return SpotCheckResult(
        run_id=work.run_id,
        seed=seed,
        requested=count,
        pairs=[
            SpotCheckPair(
                row_id=sight.row_id,
                shape=sight.sampled.shape,
                fields=_compared(mapping, sight.sampled.row, sight.item or {}),
                has_item=sight.item is not None,
                picture=objects.get(sight.row_id, _NOTHING)[0],
                thumbnail=objects.get(sight.row_id, _NOTHING)[1],
            )
            for sight in sights
        ],
        source_rows=source_rows,
        identity=identity,
        checked_at=work.clock.now(),
    )


async def _look_until_still(work: ReadingWork, drawn: Sequence[SampledRow]) -> Sequence[_SampledPair]:
    compare = comparer(work.source.mapping)

    def agrees(sight: _SampledPair) -> bool:
        return sight.item is not None and compare(sight.sampled.row, sight.item).equal

    table = work.target.for_partition()
    sights = await _look(table, drawn)
    suspects = [sight.row_id for sight in sights.values() if not agrees(sight)]
    for _look_number in range(MAX_LOOKS):
        if not suspects:
            break
        await work.clock.sleep(work.recheck_delay_s)
        rows = await asyncio.to_thread(work.source.rows, suspects)
        again = await _look(table, [SampledRow(sights[row_id].sampled.shape, row) for row_id, row in rows.items()])
        moved = [row_id for row_id, sight in again.items() if sight != sights[row_id]]
        for row_id in suspects:
            del sights[row_id]
        sights.update(again)
        suspects = [row_id for row_id in moved if not agrees(again[row_id])]
    return list(sights.values())


async def _look(table: TargetTable, drawn: Sequence[SampledRow]) -> dict[str, _SampledPair]:
    lookup = await table.get_many([each.row.id for each in drawn])
    sights = (_SampledPair(each, lookup.items.get(each.row.id)) for each in drawn)
    return {sight.row_id: sight for sight in sights}


def _compared(mapping: TableMapping, row: Row, item: Item) -> Sequence[tuple[str, str, str, bool]]:
    differing = {found.attribute for found in comparer(mapping)(row, item).differences}
    return [
        (attribute, expected, found, attribute not in differing)
        for attribute, expected, found in describe_fields(mapping, row, item)
    ]
