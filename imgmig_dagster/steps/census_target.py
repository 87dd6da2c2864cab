"""Reads the target's side of a census: by a scan of the table, or from an export of it to S3.

`census_sides` keeps it on disk.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from imgmig_dagster.concurrency import gather
from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.mapping.digests import item_digester
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.census_export import ExportRequest, completed, forget
from imgmig_dagster.steps.census_sides import Sides
from imgmig_dagster.target.exports import ExportDamaged, ExportFile, TableExports
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.target_table import TargetTable

AT_ONCE: Final = 4
"""Segments of a scan, or files of an export, that are read at once."""


async def read_target(
    work: ReadingWork,
    sides: Sides,
    meter: ProgressMeter,
    others: Sequence[TableMapping],
    tell: Callable[[str], None],
    exports: TableExports | None,
    request: ExportRequest | None,
) -> str | None:
    """Add the target's items to their side. Returns the moment of the export, None for a scan.

    Raises:
        TargetError: not all of them could be read.
    """
    target = work.target.for_partition()
    if exports is None or request is None:
        await gather(_read_segment(target, sides, n, meter, others) for n in range(AT_ONCE))
        return None
    export = await completed(work, exports, request, tell)
    take = _taking(target.mapping, sides, others)
    try:
        files = iter(await asyncio.to_thread(exports.files, export))
        await gather(_read_files(exports, files, take, meter) for _reader in range(AT_ONCE))
    except ExportDamaged:
        await forget(work)
        raise
    return export.as_of


async def _read_files(
    exports: TableExports, files: Iterable[ExportFile], take: Callable[[Sequence[Item]], int], meter: ProgressMeter
) -> None:
    for file in files:
        async for items in ahead(exports.items(file)):
            meter.advance(await asyncio.to_thread(take, items))


async def _read_segment(
    target: TargetTable, sides: Sides, segment: int, meter: ProgressMeter, others: Sequence[TableMapping]
) -> None:
    take = _taking(target.mapping, sides, others)
    try:
        async for items in target.scan(segment, AT_ONCE):
            meter.advance(await asyncio.to_thread(take, items))
    except RetriesUsedUpError as error:
        raise TargetUnavailable(
            f"the scan of {target.name} could not be finished: {error.code}. Run the census again"
        ) from None


def _taking(mapping: TableMapping, sides: Sides, others: Sequence[TableMapping]) -> Callable[[Sequence[Item]], int]:
    """A function that adds items to their side, and returns how many of them belong to the mapping."""
    digest, known = item_digester(mapping), (mapping, *others)

    def take(items: Sequence[Item]) -> int:
        ours = [(row_id, digest(item, row_id)) for item in items if (row_id := mapping.row_id(item)) is not None]
        sides.add_items(ours)
        if len(ours) < len(items):
            unclaimed = sum(all(each.row_id(item) is None for each in known) for item in items)
            sides.add_others(len(items) - len(ours), unclaimed)
        return len(ours)

    return take
