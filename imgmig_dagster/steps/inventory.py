"""What the source holds of a partition, and whether every row of it can be mapped."""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from imgmig_dagster.figures import Figure
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.counting import NONE_REPEATED, RepeatedIds
from imgmig_dagster.source.inventory import Inventory
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window
from imgmig_dagster.work import ReadingWork

LISTED_REJECTIONS: Final = 100


@dataclass(frozen=True)
class SourceInventory:
    """The source's side of a partition. Times are ISO 8601 in UTC; `row_bytes` is the length of the rows in
    PostgreSQL's binary format.

    `rejections` lists at most `LISTED_REJECTIONS` rows that can never be written as they are. `repeated` ids of the
    partition stand in the table more than once, or are NULL; that is looked up where no index keeps the id unique.
    """

    partition: str
    rows: Annotated[int, Figure("rows of the window")]
    row_bytes: Annotated[int, Figure("length of the rows in PostgreSQL's binary format", "bytes")]
    nulls: Annotated[Mapping[str, int], Figure("NULLs by column")]
    digest: str
    watermark: str | None
    read_at: str
    rejected_by_code: Mapping[str, int]
    rejections: Sequence[Rejection]
    repeated: int = 0
    repeated_ids: Sequence[str] = ()

    @property
    def rejected(self) -> Annotated[int, Figure(name="unmappable_rows")]:
        """How many rows can never be written as they are."""
        return sum(self.rejected_by_code.values())


async def take_inventory(work: ReadingWork, window: Window) -> SourceInventory:
    """Count and digest the window's rows in the source, and try to transform each of them.

    Raises:
        SourceError: see there.
    """
    source = work.source
    found, repeated = await asyncio.to_thread(_count, source, window)
    meter = ProgressMeter("Read", window.partition, found.rows, work.listener, clock=work.clock.monotonic)
    transform = transformer(source.mapping)
    codes: Counter[str] = Counter()
    rejections: list[Rejection] = []
    async for page in ahead(source.pages(window, None, work.page_size)):
        rejected = [item for row in page if isinstance(item := transform(row), Rejection)]
        codes.update(rejection.code for rejection in rejected)
        rejections.extend(rejected[: LISTED_REJECTIONS - len(rejections)])
        meter.failures += len(rejected)
        meter.advance(len(page))
    return SourceInventory(
        partition=window.partition,
        rows=found.rows,
        row_bytes=found.row_bytes,
        nulls=found.nulls,
        digest=found.digest,
        watermark=found.watermark.isoformat() if found.watermark else None,
        read_at=found.read_at.isoformat(),
        rejected_by_code=dict(codes),
        rejections=rejections,
        repeated=repeated.ids,
        repeated_ids=repeated.sample_ids,
    )


def _count(source: SourceReader, window: Window) -> tuple[Inventory, RepeatedIds]:
    return source.inventory(window), NONE_REPEATED if source.table.id_is_indexed else source.repeated_ids(window)
