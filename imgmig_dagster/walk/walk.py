"""The pass over a window, for every kind of step: read, step, record, cover, and look for rows that were not seen.

A `Step` works on the rows (`steps.migrate`, `steps.verify`). `coverage` knows how far the pass has come, so that it can
resume at any point.
"""

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence
from contextlib import aclosing
from typing import Any, Final, Generic

from imgmig_dagster.concurrency import in_order
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.walk.completeness import Completeness, check_completeness
from imgmig_dagster.walk.coverage import Coverage, Found
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


async def walk(work: ReadingWork, window: Window, step: Step[Found], coverage: Coverage[Found]) -> Completeness:
    """Take all rows of the window through a step, from where the coverage ends, and compare them with a snapshot.

    Raises:
        SourceError, TargetError, StateError: see there. The pass can be resumed from its last checkpoint.
    """
    pages = ahead(work.source.pages(window, coverage.checkpoint.cursor, work.page_size, step.digested))
    async with aclosing(pages), aclosing(in_order(pages, step.page, _PAGES_IN_FLIGHT)) as worked_on:
        async for page, found in worked_on:
            coverage.cover(page.until, await step.record(found))
            fault = step.fault()
            if fault or coverage.is_due:
                await coverage.save()
            if fault:
                raise fault
    await coverage.save()
    return await asyncio.to_thread(check_completeness, work.source, window, coverage.parts)
