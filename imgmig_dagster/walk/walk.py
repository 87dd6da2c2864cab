"""The pass over a window, for every kind of step: read, step, record, cover, and look for rows that were not seen.

A `Step` works on the rows (all of `steps`). `coverage` knows how far the pass has come, so that it can resume at any
point. `walk_ids` takes single rows through the same step.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final, Generic

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import in_order
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.mapping.rows import DigestedRow
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.stage.work import SourceWork
from imgmig_dagster.walk.completeness import Completeness, check_completeness
from imgmig_dagster.walk.coverage import Coverage, Found, Kept, ResumableCoverage
from imgmig_dagster.window import Window

# While one page's last requests run, the next page's are sent: the requests never run dry between pages.
_PAGES_IN_FLIGHT: Final = 2


class Step(ABC, Generic[Found]):
    """What a pass does with its rows. It knows nothing about resuming. `digested`: read the source's digest of each."""

    digested: bool = False

    @abstractmethod
    async def page(self, rows: Sequence[Any]) -> Found:
        """Work on the rows of a page, in parallel with the next page's."""

    async def record(self, found: Found) -> Found:
        """Keep what must be known about rows before the checkpoint covers them, page after page in their order."""
        return found

    def fault(self) -> ImgmigError | None:
        """Why the pass must stop, once it has saved what it did."""
        return None


async def walk(work: SourceWork, window: Window, step: Step[Found], coverage: Coverage[Found]) -> None:
    """Take all rows of the window through a step, from where the coverage ends.

    Raises:
        SourceError, TargetError, StateError: see there. The pass can be resumed from its last checkpoint.
    """
    pages = ahead(work.source.pages(window, coverage.cursor, work.page_size, step.digested))
    async with aclosing(pages), aclosing(in_order(pages, step.page, _PAGES_IN_FLIGHT)) as worked_on:
        async for page, found in worked_on:
            coverage.cover(page.until, await step.record(found))
            fault = step.fault()
            if fault or coverage.is_due:
                await coverage.save()
            if fault:
                raise fault
    await coverage.save()


async def walk_completely(
    work: SourceWork, window: Window, step: Step[Kept], coverage: ResumableCoverage[Kept]
) -> Completeness:
    """`walk`, and compare the rows that it saw with a snapshot."""
    await walk(work, window, step, coverage)
    return await asyncio.to_thread(check_completeness, work.source, window, coverage.parts)


async def walk_ids(work: SourceWork, ids: Sequence[str], step: Step[Found]) -> list[str]:
    """Take the rows of these ids through a step, as they are now, and return the ids without a row."""
    without = list[str]()
    async for some, rows in rows_of(work, ids):
        await step.record(await step.page(list(rows.values())))
        without += (row_id for row_id in some if row_id not in rows)
    return without


async def rows_of(
    work: SourceWork, ids: Sequence[str]
) -> AsyncIterator[tuple[Sequence[str], Mapping[str, DigestedRow]]]:
    """The rows of these ids as they are now, page by page, with the ids that were asked for."""
    for some in batched(ids, work.page_size):
        yield some, await asyncio.to_thread(work.source.rows, some)
