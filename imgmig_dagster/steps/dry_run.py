"""The dry run: what a migration would do to each row of a partition. Never writes to the target.

`migrate` writes; both decide by `rules.existing_item`.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Final

from imgmig_dagster.capacity.limits import PARTITION_WRITE_UNITS
from imgmig_dagster.capacity.prices import on_demand_dollars
from imgmig_dagster.figures import SECONDS, Figure
from imgmig_dagster.mapping.compare import comparer
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.sizes import write_units
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.inventory import Rejections
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.walk.coverage import Coverage
from imgmig_dagster.walk.walk import Step, walk
from imgmig_dagster.window import Window

# The duration is predicted at this rate if no ceiling is set.
DEFAULT_RATE: Final = float(PARTITION_WRITE_UNITS)


@dataclass(frozen=True, kw_only=True)
class PlanCounts:
    """What a migration would do to a partition's rows, and what that costs."""

    rows: Annotated[int, Figure("rows of the window")]
    would_write: Annotated[int, Figure("rows without an item, to be written")]
    identical: Annotated[int, Figure("rows that need no write")]
    would_judge: Annotated[int, Figure("rows whose item differs, to be judged by the rule for existing items")]
    rejected: Annotated[int, Figure("rows that can never be written as they are")]
    unread: Annotated[int, Figure("rows whose item could not be read")]
    write_units: Annotated[int, Figure("capacity that the writes cost", "write units")]
    rate: Annotated[float, Figure("rate of the prediction", "write units/s", "at_write_units_per_s", sums=False)]

    @property
    def dollars(self) -> Annotated[float, Figure(unit="US dollars", digits=6)]:
        """The price of the writes, on demand."""
        return on_demand_dollars(self.write_units)

    @property
    def duration_s(self) -> Annotated[float, Figure(unit=SECONDS, name="predicted_duration_s", digits=1)]:
        """How long the writes take at `rate`."""
        return self.write_units / self.rate if self.rate else 0.0


@dataclass(frozen=True, kw_only=True)
class MigrationPlan(PlanCounts):
    """The dry run of one partition."""

    partition: str
    rejections: Sequence[Rejection]
    rejected_by_code: Mapping[str, int]
    took_s: float


async def plan(work: ReadingWork, window: Window) -> MigrationPlan:
    """Read and transform every row, and look up what the target already holds.

    Raises:
        SourceError, TargetError: see there.
    """
    started = work.clock.monotonic()
    total = await asyncio.to_thread(work.source.count, window)
    planner = _Planner(work.target, work.meter("Planned", window.partition, total))
    await walk(work, window, planner, Coverage())
    counts, rejections = planner.counts, planner.rejections
    return MigrationPlan(
        partition=window.partition,
        **{name: counts[name] for name in ("rows", "would_write", "identical", "would_judge", "unread", "write_units")},
        rejected=rejections.by_code.total(),
        rejections=rejections.listed,
        rejected_by_code=dict(rejections.by_code),
        rate=work.rate or DEFAULT_RATE,
        took_s=round(work.clock.monotonic() - started, 3),
    )


class _Planner(Step[Sequence[Rejection]]):
    def __init__(self, table: TargetTable, meter: ProgressMeter) -> None:
        self.counts: Counter[str] = Counter()
        self.rejections = Rejections(table.mapping)
        self._table = table
        self._meter = meter
        self._transform = transformer(table.mapping)
        self._compare = comparer(table.mapping)

    async def page(self, rows: Sequence[Row]) -> Sequence[Rejection]:
        """See `Step.page`: count what would become of each row."""
        lookup, counts = await self._table.get_many([row.id for row in rows]), self.counts
        rejected: list[Rejection] = []
        for row in rows:
            counts["rows"] += 1
            item = self._transform(row)
            existing = lookup.items.get(row.id)
            if isinstance(item, Rejection):
                rejected.append(item)
            elif row.id in lookup.unread:
                counts["unread"] += 1
            elif existing is None:
                counts["would_write"] += 1
                counts["write_units"] += write_units(item)
            elif self._compare(row, existing).equal:
                counts["identical"] += 1
            else:
                counts["would_judge"] += 1
                counts["write_units"] += write_units(item)
        self._meter.failures += len(rejected)
        self._meter.advance(len(rows))
        return rejected

    async def record(self, found: Sequence[Rejection]) -> Sequence[Rejection]:
        """See `Step.record`: list the first rejected rows."""
        self.rejections.add(found)
        return found
