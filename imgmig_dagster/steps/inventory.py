"""What the source holds of a partition, and whether every row of it can be mapped.

PostgreSQL counts. Which rows cannot be mapped is known once each was read: by `plan` or `migrate` if one of them reads
the rows anyway, otherwise by `take_inventory`.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Final

from imgmig_dagster.figures import Figure
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.counting import NONE_REPEATED
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.work import SourceWork
from imgmig_dagster.walk.coverage import Coverage
from imgmig_dagster.walk.walk import Step, walk
from imgmig_dagster.window import Window

LISTED_REJECTIONS: Final = 100


@dataclass(frozen=True)
class SourceInventory:
    """The source's side of a partition. Times are ISO 8601 in UTC; `row_bytes` is the length of the rows in
    PostgreSQL's binary format.

    `rejections` lists at most `LISTED_REJECTIONS` rows that can never be written as they are. `repeated` ids of the
    partition are in the table more than once, or are NULL; checked if no index keeps the id unique.
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


class Rejections(Step[None]):
    """The rows that can never be written as they are: all are counted, the first ones listed."""

    def __init__(self, mapping: TableMapping, meter: ProgressMeter | None = None) -> None:
        self.by_code: Counter[str] = Counter()
        self.listed: list[Rejection] = []
        self._transform = transformer(mapping)
        self._meter = meter

    def add(self, rejected: Sequence[Rejection]) -> None:
        """Count these."""
        self.by_code.update(rejection.code for rejection in rejected)
        self.listed.extend(rejected[: LISTED_REJECTIONS - len(self.listed)])

    async def page(self, rows: Sequence[Row]) -> None:
        """See `Step.page`: try to transform each row."""
        self.add([item for row in rows if isinstance(item := self._transform(row), Rejection)])
        if self._meter is not None:
            self._meter.failures = self.by_code.total()
            self._meter.advance(len(rows))


async def count_source(work: SourceWork, window: Window) -> SourceInventory:
    """What PostgreSQL counts and digests of the window. The pass that reads the rows finds out which cannot be mapped.

    Raises:
        SourceError: see there.
    """
    return await asyncio.to_thread(_count, work.source, window)


async def take_inventory(work: SourceWork, window: Window, counted: SourceInventory | None = None) -> SourceInventory:
    """The whole inventory, by reading and transforming every row. `counted` is what is known already.

    Raises:
        SourceError: see there.
    """
    found = counted or await count_source(work, window)
    rejections = Rejections(work.source.mapping, work.meter("Read", window.partition, found.rows))
    await walk(work, window, rejections, Coverage())
    return completed(found, rejections.by_code, rejections.listed)


def completed(counted: SourceInventory, by_code: Mapping[str, int], listed: Sequence[Rejection]) -> SourceInventory:
    """The inventory, with the rows that a pass found impossible to map."""
    return replace(counted, rejected_by_code=dict(by_code), rejections=listed)


def _count(source: SourceReader, window: Window) -> SourceInventory:
    found = source.inventory(window)
    repeated = NONE_REPEATED if source.table.id_is_indexed else source.repeated_ids(window)
    return SourceInventory(
        partition=window.partition,
        rows=found.rows,
        row_bytes=found.row_bytes,
        nulls=found.nulls,
        digest=found.digest,
        watermark=found.watermark.isoformat() if found.watermark else None,
        read_at=found.read_at.isoformat(),
        rejected_by_code={},
        rejections=(),
        repeated=repeated.ids,
        repeated_ids=repeated.sample_ids,
    )
