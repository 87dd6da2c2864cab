"""Compares every row of a partition with its item, field by field, by strongly consistent reads."""

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from imgmig_dagster import __version__
from imgmig_dagster.concurrency import fewer_collections
from imgmig_dagster.mapping.compare import comparer, undeclared_attributes
from imgmig_dagster.mapping.spec import Item, Row
from imgmig_dagster.progress import Listener, ProgressMeter
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.verification.results import (
    LISTED_MISMATCHES,
    VERIFIER_VERSION,
    Identity,
    Mismatch,
    Verdict,
    VerificationResult,
)
from imgmig_dagster.window import Window, now

_MAX_LOOKS: Final = 5


@dataclass(frozen=True)
class VerificationRun:
    """Everything that a verification works on; `run_id` names the run in evidence and reports."""

    source: SourceReader
    target: TargetSettings
    run_id: str
    page_size: int
    settle_seconds: float
    listener: Listener

    def verify(self, window: Window) -> VerificationResult:
        """Compare every row of the window.

        A difference counts only when the same row and the same item are seen again, a settle time later: the
        application may write meanwhile.

        Raises:
            SourceError, TargetError: see there. Nothing is concluded from half a pass.
        """
        with fewer_collections():
            return asyncio.run(_verify(self, window))

    def identity(self) -> Identity:
        """What this run compares, by what."""
        target = self.target.identity()
        return Identity(
            mapping=self.target.mapping.fingerprint(),
            source=self.source.table.identity,
            target=target.arn,
            target_created_at=target.created_at,
            verifier=VERIFIER_VERSION,
            code=__version__,
        )


async def _verify(run: VerificationRun, window: Window) -> VerificationResult:
    started, started_at = time.monotonic(), now()
    identity = run.identity()
    before = await asyncio.to_thread(run.source.inventory, window)
    meter = ProgressMeter("Verified", window.partition, before.rows, run.listener)
    async with run.target.open() as target:
        examiner = Examiner(run.source, target, run.settle_seconds)
        async for page in ahead(run.source.pages(window, None, run.page_size)):
            await examiner.examine(page)
            meter.failures = examiner.faulty
            meter.advance(len(page))
    rows_in_window = await asyncio.to_thread(run.source.count, window)
    return VerificationResult(
        partition=window.partition,
        run_id=run.run_id,
        window=window.describe(),
        verdicts={verdict.value: examiner.verdicts[verdict] for verdict in Verdict},
        rows_in_window=rows_in_window,
        by_attribute=dict(examiner.by_attribute),
        mismatches=examiner.mismatches,
        mismatches_found=examiner.mismatches_found,
        settled=examiner.settled,
        inexact_timestamps=examiner.inexact_timestamps,
        undeclared=dict(examiner.undeclared),
        digest=before.digest,
        watermark=before.watermark.isoformat() if before.watermark else None,
        identity=identity,
        started_at=started_at,
        finished_at=now(),
        duration_s=round(time.monotonic() - started, 3),
    )


@dataclass(frozen=True)
class _Sight:
    """A row and its item as one look found them; `unread` where the item could not be read."""

    row: Row
    item: Item | None
    unread: bool


class Examiner:
    """Gives every row a verdict, and keeps count."""

    def __init__(
        self,
        source: SourceReader,
        target: TargetTable,
        settle_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self.verdicts: Counter[Verdict] = Counter()
        self.by_attribute: Counter[str] = Counter()
        self.undeclared: Counter[str] = Counter()
        self.mismatches: list[Mismatch] = []
        self.mismatches_found = 0
        self.settled = 0
        self.inexact_timestamps = 0
        self._source = source
        self._target = target
        self._settle_seconds = settle_seconds
        self._sleep = sleep
        self._compare = comparer(target.mapping)

    @property
    def faulty(self) -> int:
        """The rows that did not match."""
        return sum(self.verdicts.values()) - self.verdicts[Verdict.MATCH]

    async def examine(self, rows: Sequence[Row]) -> None:
        """Give each of these rows its verdict; one that is deleted between two looks gets none."""
        lookup = await self._target.get_many([str(row[0]) for row in rows])
        sights = {str(row[0]): _Sight(row, lookup.items.get(str(row[0])), str(row[0]) in lookup.unread) for row in rows}
        suspects = {row_id: sight for row_id, sight in sights.items() if not self._matches(sight)}
        for _look in range(_MAX_LOOKS):
            if not suspects:
                return
            await self._sleep(self._settle_seconds)
            suspects = await self._look_again(suspects)
        for row_id in suspects:
            self._record(row_id, Verdict.UNVERIFIED)

    async def _look_again(self, suspects: Mapping[str, _Sight]) -> dict[str, _Sight]:
        """Judge what held still since the last look; return what moved."""
        rows = await asyncio.to_thread(self._source.rows, list(suspects))
        lookup = await self._target.get_many(list(rows))
        moved: dict[str, _Sight] = {}
        for row_id, row in rows.items():
            sight = _Sight(row, lookup.items.get(row_id), row_id in lookup.unread)
            if self._matches(sight):
                self.settled += 1
            elif sight == suspects[row_id]:
                self._judge(row_id, sight)
            else:
                moved[row_id] = sight
        return moved

    def _matches(self, sight: _Sight) -> bool:
        if sight.item is None:
            return False
        comparison = self._compare(sight.row, sight.item)
        if not comparison.equal:
            return False
        self.verdicts[Verdict.MATCH] += 1
        self.inexact_timestamps += len(comparison.inexact)
        self.undeclared.update(undeclared_attributes(self._target.mapping, sight.item))
        return True

    def _judge(self, row_id: str, sight: _Sight) -> None:
        if sight.unread:
            self._record(row_id, Verdict.UNVERIFIED)
        elif sight.item is None:
            self._record(row_id, Verdict.MISSING)
        else:
            self.verdicts[Verdict.MISMATCH] += 1
            self.undeclared.update(undeclared_attributes(self._target.mapping, sight.item))
            for difference in self._compare(sight.row, sight.item).differences:
                self.by_attribute[difference.attribute] += 1
                self._list(
                    Mismatch(row_id, Verdict.MISMATCH, difference.attribute, difference.expected, difference.found)
                )

    def _record(self, row_id: str, verdict: Verdict) -> None:
        self.verdicts[verdict] += 1
        self._list(Mismatch(row_id, verdict))

    def _list(self, mismatch: Mismatch) -> None:
        self.mismatches_found += 1
        if len(self.mismatches) < LISTED_MISMATCHES:
            self.mismatches.append(mismatch)
