"""A pass over a partition: read, transform, write, record, checkpoint."""

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Coroutine, Iterator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import asdict, dataclass, replace
from typing import Any, Final, TypeVar

from imgmig_dagster.concurrency import fewer_collections, in_order
from imgmig_dagster.config import WriteMode
from imgmig_dagster.errors import TooManyFailures
from imgmig_dagster.mapping.spec import Row
from imgmig_dagster.migration.page import PageMigrator, PageResult
from imgmig_dagster.migration.reconcile import Reconciler
from imgmig_dagster.migration.results import UNDONE, MigrationResult, Outcome
from imgmig_dagster.progress import Listener, ProgressMeter
from imgmig_dagster.source.accounting import Account, account
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import Checkpoint, CheckpointFile
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.obeying import obeying_throttle
from imgmig_dagster.state.segments import SeenRows, Segments
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import writing
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.traffic import Traffic
from imgmig_dagster.window import Window, now

CHECKPOINT_ROWS: Final = 1_000
# While one page's last requests are under way the next page's are sent: the writer never runs dry between pages.
_PAGES_IN_FLIGHT: Final = 2
_MAX_FAILURES: Final = 10_000
_MAX_FAILED_SHARE: Final = 0.01
_FAILURES_BEFORE_SHARE_COUNTS: Final = 100

Entry = TypeVar("Entry")


@dataclass(frozen=True)
class MigrationRun:
    """Everything that a pass works on. `run_id` names the run in checkpoints and reports.

    With `keep_values` the failure ledger holds the values at fault.
    """

    source: SourceReader
    target: TargetSettings
    state: StateStore
    window: Window
    run_id: str
    write_mode: WriteMode
    page_size: int
    settle_seconds: float
    listener: Listener
    keep_values: bool = False

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
        self._segments = Segments(run.state, run.window.partition, names.SEEN, SeenRows)
        self._ledger = FailureLedger(run.state, run.window.partition)
        self._started = time.monotonic()
        self._failed = 0
        self._rows = 0
        # Settled since the last checkpoint, by outcome.
        self._unsaved: defaultdict[str, list[str]] = defaultdict(list)
        self._begun = self._checkpoint = Checkpoint(run.run_id, {}, now(), first_pass=False)

    async def run(self, start_over: bool) -> MigrationResult:
        run = self._run
        left_over = self._segments.names()
        self._begun = self._checkpoint = self._checkpoints.open(
            run.run_id, self._fingerprint(), self._begun.started_at, start_over
        )
        if not self._begun.segments:
            self._segments.remove(left_over)
        total = await asyncio.to_thread(run.source.count, run.window)
        meter = ProgressMeter("Migrated", run.window.partition, total, run.listener, done=self._begun.rows)
        with writing(run.state, run.window.partition, "migration", run.run_id):
            return await self._write(meter)

    async def _write(self, meter: ProgressMeter) -> MigrationResult:
        run = self._run
        async with run.target.open() as target, obeying_throttle(run.state, target.sender.limiter, run.target.rate):
            migrator = self._page_migrator(target, meter)
            await self._write_pages(migrator, meter, target.sender.traffic)
            segments = self._segments.read(self._checkpoint.segments)
            found = await asyncio.to_thread(account, run.source, run.window, segments)
            await self._take_up(found, migrator)
            self._count_traffic(target.sender.traffic)
        result = self._result(found.rows_in_window, late=len(found.unseen), left_window=len(found.gone))
        # The record comes before the checkpoint's end: a crash between the two repeats a finished pass, and no more.
        left_over = self._segments.names()
        self._checkpoints.archive(self._checkpoint, result.finished_at, {"result": asdict(result)})
        self._segments.remove(left_over)
        return result

    async def retry(self) -> MigrationResult:
        run = self._run
        entries = sorted(await asyncio.to_thread(self._ledger.entries))
        if not entries:
            return self._result(0, late=0, left_window=0)
        await asyncio.to_thread(run.target.identity)
        meter = ProgressMeter("Retried", run.window.partition, len(entries), run.listener)
        with writing(run.state, run.window.partition, "retry", run.run_id, entries):
            async with run.target.open() as target, obeying_throttle(run.state, target.sender.limiter, run.target.rate):
                migrator = self._page_migrator(target, meter)
                for ids in _pages(entries, run.page_size):
                    await self._judge(ids, migrator)
                self._count_traffic(target.sender.traffic)
        return self._result(len(entries), late=0, left_window=0)

    async def _write_pages(self, migrator: PageMigrator, meter: ProgressMeter, traffic: Traffic) -> None:
        """Write page after page; each is settled, in order, once all of its rows are confirmed."""
        run = self._run
        pages = ahead(run.source.pages(run.window, self._begun.cursor, run.page_size))

        def write(page: Sequence[Row]) -> Coroutine[Any, Any, PageResult]:
            return migrator.migrate(page, look_first=not self._begun.first_pass)

        async with aclosing(pages), aclosing(in_order(pages, write, _PAGES_IN_FLIGHT)) as written:
            async for page, result in written:
                self._settle_page(page, result, meter, traffic)
        self._save(traffic)

    def _settle_page(self, page: Sequence[Row], result: PageResult, meter: ProgressMeter, traffic: Traffic) -> None:
        """Record a page's failures, then let the checkpoint cover it: never the other way round."""
        self._settle(result)
        for row_id, outcome in result.outcomes.items():
            self._unsaved[outcome.value].append(row_id)
        self._checkpoint = replace(self._checkpoint, cursor=self._run.source.cursor(page[-1]))
        meter.failures += len(result.failures)
        meter.retries = traffic.retries
        # Of this run alone: a run that resumes once the cause is gone is not held to what failed before.
        self._failed += len(result.failures)
        self._rows += len(page)
        too_many = self._failed >= _FAILURES_BEFORE_SHARE_COUNTS and self._failed > _MAX_FAILED_SHARE * self._rows
        stop = too_many or self._failed >= _MAX_FAILURES
        if stop or sum(map(len, self._unsaved.values())) >= CHECKPOINT_ROWS:
            self._save(traffic)
        if stop:
            raise TooManyFailures(
                f"partition {self._run.window.partition}: {self._failed:,} of {self._rows:,} rows failed, so the pass "
                f"stopped. See {self._run.state.locate(self._ledger.name)} for the causes. Once they are gone, run the "
                "same command to resume, then imgmig retry-failures for the rows that failed"
            )

    def _settle(self, result: PageResult) -> None:
        """Bring the ledger up to date, and count the outcomes."""
        settled = [row_id for row_id, outcome in result.outcomes.items() if outcome not in UNDONE]
        self._ledger.record(result.failures, settled)
        outcomes = Counter(self._checkpoint.outcomes) + result.counts
        self._checkpoint = replace(self._checkpoint, outcomes=dict(outcomes))

    def _save(self, traffic: Traffic) -> None:
        """Write the checkpoint, after the ids of the rows by which it moves."""
        self._count_traffic(traffic)
        checkpoint = self._checkpoint
        if self._unsaved and checkpoint.cursor is not None:
            seen = SeenRows(checkpoint.cursor, self._unsaved)
            segments = self._segments.add(checkpoint.segments, self._run.run_id, seen)
            self._checkpoint = replace(checkpoint, segments=segments)
            self._unsaved = defaultdict(list)
        self._checkpoints.save(self._checkpoint)

    def _count_traffic(self, traffic: Traffic) -> None:
        begun = self._begun
        self._checkpoint = replace(
            self._checkpoint,
            elapsed_s=begun.elapsed_s + time.monotonic() - self._started,
            retries=begun.retries + traffic.retries,
            throttles=begun.throttles + traffic.throttles,
            write_units=begun.write_units + traffic.units,
            traffic=begun.traffic + traffic.record(),
        )

    async def _take_up(self, found: Account, migrator: PageMigrator) -> None:
        """Migrate the rows that were on no page, and look once more at those that are not where they were seen."""
        size = self._run.page_size
        for ids in _pages(found.unseen, size):
            await self._judge(ids, migrator)
        for entries in _pages((*found.gone, *found.moved), size):
            result = await migrator.judge_gone([row_id for row_id, _outcome in entries])
            self._ledger.record(
                result.failures, [row_id for row_id, outcome in result.outcomes.items() if outcome not in UNDONE]
            )
            outcomes = Counter(self._checkpoint.outcomes)
            for row_id, outcome_before in entries:
                if (outcome := result.outcomes[row_id]) is not Outcome.IDENTICAL:
                    outcomes[outcome_before] -= 1
                    outcomes[outcome.value] += 1
            self._checkpoint = replace(self._checkpoint, outcomes=dict(+outcomes))

    async def _judge(self, ids: Sequence[str], migrator: PageMigrator) -> None:
        """Migrate the rows of these ids as they are now; what is gone by now is judged as such."""
        rows = await asyncio.to_thread(self._run.source.rows, ids)
        self._settle(await migrator.migrate(list(rows.values()), look_first=True))
        self._settle(await migrator.judge_gone([row_id for row_id in ids if row_id not in rows]))

    def _page_migrator(self, target: TargetTable, meter: ProgressMeter) -> PageMigrator:
        run = self._run
        reconciler = Reconciler(run.source, target, run.settle_seconds)
        return PageMigrator(run.source, target, run.write_mode, reconciler, meter.advance, run.keep_values)

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

    def _result(self, rows_in_window: int, late: int, left_window: int) -> MigrationResult:
        checkpoint = self._checkpoint
        return MigrationResult(
            partition=self._run.window.partition,
            run_id=self._run.run_id,
            write_mode=self._run.write_mode.value,
            outcomes=checkpoint.outcomes,
            rows_in_window=rows_in_window,
            late=late,
            left_window=left_window,
            started_at=checkpoint.started_at,
            finished_at=now(),
            duration_s=round(checkpoint.elapsed_s, 3),
            resumes=checkpoint.resumes,
            retries=checkpoint.retries,
            throttles=checkpoint.throttles,
            write_units=checkpoint.write_units,
            traffic=checkpoint.traffic,
        )


def _pages(entries: Sequence[Entry], size: int) -> Iterator[Sequence[Entry]]:
    return (entries[start : start + size] for start in range(0, len(entries), size))
