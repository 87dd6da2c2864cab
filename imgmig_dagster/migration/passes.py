"""A pass over a partition: read, transform, write, record, checkpoint."""

import asyncio
import time
from collections import Counter, deque
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict, dataclass, replace
from typing import Final

from imgmig_dagster.concurrency import fewer_collections
from imgmig_dagster.config import WriteMode
from imgmig_dagster.errors import StateError, TooManyFailures
from imgmig_dagster.mapping.spec import Row
from imgmig_dagster.migration.page import PageMigrator, PageResult
from imgmig_dagster.migration.reconcile import Reconciler
from imgmig_dagster.migration.results import UNDONE, MigrationResult
from imgmig_dagster.progress import Listener, ProgressMeter
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.checkpoints import Checkpoint, CheckpointFile
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.throttle import read_throttle
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.target.rate_limit import RateLimiter
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.window import Window, now

CHECKPOINT_ROWS: Final = 1_000
# While one page's last requests are under way the next page's are sent: the writer never runs dry between pages.
_PAGES_IN_FLIGHT: Final = 2
# Within 2 s a running migration obeys: this, and the half second that a waiting request may sleep.
_THROTTLE_POLL_S: Final = 1.0
_MAX_FAILURES: Final = 10_000
_MAX_FAILED_SHARE: Final = 0.01
_FAILURES_BEFORE_SHARE_COUNTS: Final = 100


@dataclass(frozen=True)
class MigrationRun:
    """Everything that a pass works on. `run_id` names the run in checkpoints and reports."""

    source: SourceReader
    target: TargetSettings
    state: StateStore
    window: Window
    run_id: str
    write_mode: WriteMode
    page_size: int
    settle_seconds: float
    listener: Listener

    def migrate(self, start_over: bool = False) -> MigrationResult:
        """Migrate the partition, from the checkpoint of an interrupted pass where there is one.

        Args:
            start_over: forget the interrupted pass. Always safe: what stands in the target is looked up first.

        Raises:
            PartitionBusy: another run works on this partition.
            CheckpointRefused: the checkpoint is torn, altered, or of something else.
            SourceError, TargetError: see there. The pass can be resumed from its last checkpoint.
            TooManyFailures: over 1 % of this run's rows failed and at least 100 did, or 10,000 did.
        """
        with self.state.exclusive(f"{self.window.partition}/run.lock"), fewer_collections():
            return asyncio.run(_Pass(self).run(start_over))

    def retry_failures(self) -> MigrationResult:
        """Take up exactly the rows of the partition's ledger, and strike out those that succeed.

        Raises:
            PartitionBusy: another run works on this partition.
            SourceError, TargetError: see there.
        """
        with self.state.exclusive(f"{self.window.partition}/run.lock"):
            return asyncio.run(_Pass(self).retry())


class _Pass:
    def __init__(self, run: MigrationRun) -> None:
        self._run = run
        self._checkpoints = CheckpointFile(run.state, run.window.partition)
        self._ledger = FailureLedger(run.state, run.window.partition)
        self._started = time.monotonic()
        self._started_at = now()
        self._failed = 0
        self._rows = 0

    async def run(self, start_over: bool) -> MigrationResult:
        run = self._run
        checkpoint = self._checkpoints.open(run.run_id, self._fingerprint(), self._started_at, start_over)
        total = await asyncio.to_thread(run.source.count, run.window)
        meter = ProgressMeter("Migrated", run.window.partition, total, run.listener, done=checkpoint.rows)
        async with run.target.open() as target, self._throttled(target.sender.limiter):
            page_migrator = self._page_migrator(target, meter)
            checkpoint = await self._write_pages(checkpoint, page_migrator, meter, target)
            rows_in_window = await asyncio.to_thread(run.source.count, run.window)
            result = self._result(checkpoint, rows_in_window, target)
        # The record comes before the checkpoint's end: a crash between the two repeats a finished pass, and no more.
        self._checkpoints.archive(checkpoint, result.finished_at, {"result": asdict(result)})
        return result

    async def retry(self) -> MigrationResult:
        run = self._run
        entries = await asyncio.to_thread(self._ledger.entries)
        if entries:
            # A target that is away must not turn every entry of the ledger into another one.
            await asyncio.to_thread(run.target.identity)
        meter = ProgressMeter("Retried", run.window.partition, len(entries), run.listener)
        outcomes: Counter[str] = Counter()
        async with run.target.open() as target, self._throttled(target.sender.limiter):
            page_migrator = self._page_migrator(target, meter)
            for start in range(0, len(entries), run.page_size):
                ids = sorted(entries)[start : start + run.page_size]
                rows = await asyncio.to_thread(run.source.rows, ids)
                result = await page_migrator.migrate(list(rows.values()), look_first=True)
                outcomes += result.counts
                gone = [row_id for row_id in ids if row_id not in rows]
                outcomes["vanished"] += len(gone)
                meter.advance(len(gone))
                self._ledger.record(result.failures, settled_ids=ids)
            checkpoint = Checkpoint(
                run.run_id, {}, self._started_at, first_pass=False, outcomes=+outcomes, elapsed_s=self._elapsed()
            )
            return self._result(checkpoint, len(entries), target)

    async def _write_pages(
        self, checkpoint: Checkpoint, migrator: PageMigrator, meter: ProgressMeter, target: TargetTable
    ) -> Checkpoint:
        """Write page after page; each is settled, in order, once all of its rows are confirmed."""
        run = self._run
        pages = run.source.pages(run.window, checkpoint.cursor, run.page_size)
        in_flight: deque[tuple[Sequence[Row], asyncio.Task[PageResult]]] = deque()
        saved_rows, before = checkpoint.rows, checkpoint.elapsed_s
        try:
            async for page in ahead(pages):
                write = migrator.migrate(page, look_first=not checkpoint.first_pass)
                in_flight.append((page, asyncio.create_task(write)))
                if len(in_flight) < _PAGES_IN_FLIGHT:
                    continue
                checkpoint = await self._settle(checkpoint, *in_flight.popleft(), meter)
                meter.retries = target.sender.traffic.retries
                if checkpoint.rows - saved_rows >= CHECKPOINT_ROWS:
                    checkpoint = replace(checkpoint, elapsed_s=before + self._elapsed())
                    self._checkpoints.save(checkpoint)
                    saved_rows = checkpoint.rows
            while in_flight:
                checkpoint = await self._settle(checkpoint, *in_flight.popleft(), meter)
        finally:
            for _page, task in in_flight:
                task.cancel()
            await asyncio.gather(*(task for _page, task in in_flight), return_exceptions=True)
        checkpoint = replace(checkpoint, elapsed_s=before + self._elapsed())
        self._checkpoints.save(checkpoint)
        return checkpoint

    async def _settle(
        self, checkpoint: Checkpoint, page: Sequence[Row], write: "asyncio.Task[PageResult]", meter: ProgressMeter
    ) -> Checkpoint:
        """Record a page's failures, then let the checkpoint cover it: never the other way round."""
        result = await write
        settled = [row_id for row_id, outcome in result.outcomes.items() if outcome not in UNDONE]
        self._ledger.record(result.failures, settled)
        meter.failures += len(result.failures)
        outcomes = Counter(checkpoint.outcomes) + result.counts
        checkpoint = replace(checkpoint, cursor=self._run.source.cursor(page[-1]), outcomes=dict(outcomes))
        # Of this run alone: a run that resumes once the cause is gone is not held to what failed before.
        self._failed += sum(result.counts[outcome.value] for outcome in UNDONE)
        self._rows += len(page)
        too_many = self._failed >= _FAILURES_BEFORE_SHARE_COUNTS and self._failed > _MAX_FAILED_SHARE * self._rows
        if too_many or self._failed >= _MAX_FAILURES:
            self._checkpoints.save(checkpoint)
            raise TooManyFailures(
                f"partition {self._run.window.partition}: {self._failed:,} of {self._rows:,} rows failed, so the pass "
                f"stopped. See {self._run.state.locate(self._ledger.name)} for the causes. Once they are gone, run the "
                "same command to resume, then imgmig retry-failures for the rows that failed"
            )
        return checkpoint

    @asynccontextmanager
    async def _throttled(self, limiter: RateLimiter) -> AsyncIterator[None]:
        """Obey what `imgmig throttle` asks for, from the beginning and while the context lasts."""
        state, settings_rate = self._run.state, self._run.target.rate

        async def obey() -> None:
            asked = await asyncio.to_thread(read_throttle, state)
            limiter.limit(settings_rate if asked.rate is None else asked.rate, asked.paused)

        async def follow() -> None:
            while True:
                await asyncio.sleep(_THROTTLE_POLL_S)
                # What was asked for last stays in force while the state store is away.
                with suppress(StateError):
                    await obey()

        await obey()
        following = asyncio.create_task(follow())
        try:
            yield
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    def _page_migrator(self, target: TargetTable, meter: ProgressMeter) -> PageMigrator:
        run = self._run
        reconciler = Reconciler(run.source, target, run.settle_seconds)
        return PageMigrator(run.source, target, run.write_mode, reconciler, meter.advance)

    def _fingerprint(self) -> Mapping[str, str]:
        run = self._run
        identity = run.target.identity()
        return {
            "mapping": run.target.mapping.fingerprint(),
            "source": run.source.table.identity,
            "target": identity.arn,
            "target_created_at": identity.created_at,
            "window": run.window.describe(),
        }

    def _result(self, checkpoint: Checkpoint, rows_in_window: int, target: TargetTable) -> MigrationResult:
        traffic = target.sender.traffic
        return MigrationResult(
            partition=self._run.window.partition,
            run_id=self._run.run_id,
            write_mode=self._run.write_mode.value,
            outcomes=checkpoint.outcomes,
            rows_in_window=rows_in_window,
            started_at=checkpoint.started_at,
            finished_at=now(),
            duration_s=round(checkpoint.elapsed_s, 3),
            resumes=checkpoint.resumes,
            retries=traffic.retries,
            throttles=traffic.throttles,
            write_units=traffic.units,
        )

    def _elapsed(self) -> float:
        return time.monotonic() - self._started
