"""A pass over a partition: read, transform, write, record, checkpoint."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Collection, Coroutine, Iterable, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import asdict, replace
from functools import partial
from typing import Any, Final

from imgmig_dagster.concurrency import in_order
from imgmig_dagster.errors import TooManyFailures
from imgmig_dagster.mapping.spec import Row
from imgmig_dagster.migration.audited import AuditedDeletes
from imgmig_dagster.migration.brake import Brake
from imgmig_dagster.migration.departures import Departed, Departures
from imgmig_dagster.migration.page import PageMigrator, PageResult
from imgmig_dagster.migration.reconcile import Reconciler
from imgmig_dagster.migration.results import UNDONE, MigrationResult, Outcome
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.accounting import Account, account
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.source.reader import Page
from imgmig_dagster.stage import WriteMode
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import AuditLog
from imgmig_dagster.state.checkpoints import Checkpoint, CheckpointFile
from imgmig_dagster.state.failures import Failure, FailureLedger, held_back
from imgmig_dagster.state.segments import SeenRows, Segments
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster.traffic import Traffic
from imgmig_dagster.window import Window
from imgmig_dagster.work import WritingWork

CHECKPOINT_ROWS: Final = 1_000
# While one page's last requests are under way the next page's are sent: the writer never runs dry between pages.
_PAGES_IN_FLIGHT: Final = 2
_MAX_FAILURES: Final = 10_000
_MAX_FAILED_SHARE: Final = 0.01
_FAILURES_BEFORE_SHARE_COUNTS: Final = 100


async def migrate(
    work: WritingWork,
    window: Window,
    write_mode: WriteMode,
    start_over: bool = False,
    confirm_deletes: int | None = None,
) -> MigrationResult:
    """Migrate the partition, from the checkpoint of an interrupted pass where there is one.

    Args:
        work: what it works on.
        window: the partition.
        write_mode: how items are treated that may stand in the target already.
        start_over: forget the interrupted pass. Always safe: what stands in the target is looked up first.
        confirm_deletes: how many items are deleted because their rows are gone; by default as `Brake` says.

    Raises:
        PartitionBusy: another run works on this partition.
        CheckpointRefused: the checkpoint is torn, altered, or of something else.
        SourceError, TargetError: see there. The pass can be resumed from its last checkpoint.
        TooManyFailures: over 1 % of this run's rows failed and at least 100 did, or 10,000 did.
    """
    async with work.owning(names.write_lock(window.partition)) as owned:
        return await _Pass(owned, window, write_mode, confirm_deletes).run(start_over)


async def retry_failures(
    work: WritingWork, window: Window, write_mode: WriteMode, confirm_deletes: int | None = None
) -> MigrationResult:
    """Take up exactly the rows of the partition's ledger, and strike out those that succeed; see `migrate`.

    Raises:
        PartitionBusy: another run works on this partition.
        SourceError, TargetError: see there.
    """
    async with work.owning(names.write_lock(window.partition)) as owned:
        return await _Pass(owned, window, write_mode, confirm_deletes).retry()


class _Pass:
    def __init__(self, run: WritingWork, window: Window, write_mode: WriteMode, confirm_deletes: int | None) -> None:
        self._run = run
        self._window = window
        self._write_mode = write_mode
        self._confirm_deletes = confirm_deletes
        self._audit = AuditLog(run.state, run.run_id, run.keep_values)
        self._checkpoints = CheckpointFile(run.state, window.partition)
        self._segments = Segments(run.state, window.partition, names.SEEN, SeenRows)
        self._ledger = FailureLedger(run.state, window.partition)
        self._started = run.clock.monotonic()
        self._failed = 0
        self._rows = 0
        self._unsaved: dict[str, Outcome] = {}  # settled since the last checkpoint
        self._taken_back: set[str] = set()
        self._begun = self._checkpoint = Checkpoint(run.run_id, {}, run.clock.now(), first_pass=False)

    async def run(self, start_over: bool) -> MigrationResult:
        run = self._run
        fingerprint = await self._fingerprint()
        await asyncio.to_thread(self._begin, fingerprint, start_over)
        total = await asyncio.to_thread(run.source.count, self._window)
        meter = ProgressMeter("Migrated", self._window.partition, total, run.listener, done=self._begun.rows)
        async with run.writing(self._window.partition, "migration"):
            return await self._write(meter)

    def _begin(self, fingerprint: Mapping[str, str], start_over: bool) -> None:
        left_over = self._segments.names()
        opened = self._checkpoints.open(self._run.run_id, fingerprint, self._begun.started_at, start_over)
        self._begun = self._checkpoint = opened
        if not self._begun.segments:
            self._segments.remove(left_over)

    async def _write(self, meter: ProgressMeter) -> MigrationResult:
        run = self._run
        async with self._open() as target:
            await self._write_pages(self._page_migrator(target, meter), meter, target.sender.traffic)
            segments = partial(self._segments.read, self._checkpoint.segments)
            found = await asyncio.to_thread(account, run.source, self._window, segments)
            departed = await self._take_up(found, target, meter)
            self._count_traffic(target.sender.traffic)
        result = self._result(departed, found.rows_in_window, late=len(found.unseen), left_window=len(found.gone))
        await asyncio.to_thread(self._end, result)
        return result

    def _end(self, result: MigrationResult) -> None:
        # The record comes before the checkpoint's end: a crash between the two repeats a finished pass, and no more.
        left_over = self._segments.names()
        self._checkpoints.archive(self._checkpoint, result.finished_at, {"result": asdict(result)})
        self._segments.remove(left_over)

    async def retry(self) -> MigrationResult:
        run = self._run
        failures = await asyncio.to_thread(self._ledger.entries)
        entries = sorted(failures)
        if not entries:
            return self._result(Departed(), 0, late=0, left_window=0)
        await run.target_identity()
        meter = ProgressMeter("Retried", self._window.partition, len(entries), run.listener)
        async with run.writing(self._window.partition, "retry", entries):
            brake = Brake(await asyncio.to_thread(run.source.count, self._window), self._confirm_deletes)
            async with self._open() as target:
                departed = await self._departures(target, meter).settle(entries, brake, held_back(failures))
                self._settle(departed.outcomes, departed.failures)
                self._count(departed.outcomes.values())
                self._count_traffic(target.sender.traffic)
        return self._result(departed, len(entries), late=0, left_window=0)

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[WritableTable]:
        try:
            yield AuditedDeletes(self._run.target, self._audit)
        finally:
            await self._audit.flush()

    async def _write_pages(self, migrator: PageMigrator, meter: ProgressMeter, traffic: Traffic) -> None:
        """Write page after page; each is settled, in order, once all of its rows are confirmed."""
        run = self._run
        pages = ahead(run.source.pages(self._window, self._begun.cursor, run.page_size))

        def write(page: Sequence[Row]) -> Coroutine[Any, Any, PageResult]:
            return migrator.migrate(page, look_first=not self._begun.first_pass)

        async with aclosing(pages), aclosing(in_order(pages, write, _PAGES_IN_FLIGHT)) as written:
            async for page, result in written:
                self._settle_page(page, result, meter, traffic)
        self._save(traffic)

    def _settle_page(self, page: Page, result: PageResult, meter: ProgressMeter, traffic: Traffic) -> None:
        """Record a page's failures, then let the checkpoint cover it: never the other way round."""
        self._settle(result.outcomes, result.failures)
        for row_id, outcome in result.outcomes.items():
            # A row that moved ahead of the cursor is met once more: finding all well leaves what was done first.
            if outcome is not Outcome.IDENTICAL or row_id not in self._unsaved:
                self._unsaved[row_id] = outcome
        self._checkpoint = replace(self._checkpoint, cursor=page.until)
        meter.failures += len(result.failures)
        meter.retries = traffic.retries
        # Of this run alone: a run that resumes once the cause is gone is not held to what failed before.
        self._failed += len(result.failures)
        self._rows += len(page)
        too_many = self._failed >= _FAILURES_BEFORE_SHARE_COUNTS and self._failed > _MAX_FAILED_SHARE * self._rows
        stop = too_many or self._failed >= _MAX_FAILURES
        if stop or len(self._unsaved) >= CHECKPOINT_ROWS:
            self._save(traffic)
        if stop:
            raise TooManyFailures(
                f"partition {self._window.partition}: {self._failed:,} of {self._rows:,} rows failed, so the pass "
                f"stopped. See {self._run.state.locate(self._ledger.name)} for the causes. Once they are gone, run the "
                "same command to resume, then imgmig retry-failures for the rows that failed"
            )

    def _settle(self, outcomes: Mapping[str, Outcome], failures: Sequence[Failure]) -> None:
        """Bring the ledger up to date."""
        self._ledger.record(failures, [row_id for row_id, outcome in outcomes.items() if outcome not in UNDONE])

    def _count(self, outcomes: Iterable[Outcome]) -> None:
        counts = Counter(self._checkpoint.outcomes) + Counter(outcome.value for outcome in outcomes)
        self._checkpoint = replace(self._checkpoint, outcomes=dict(counts))

    def _save(self, traffic: Traffic) -> None:
        """Write the checkpoint, after the ids of the rows by which it moves."""
        self._count_traffic(traffic)
        self._count(self._unsaved.values())
        checkpoint = self._checkpoint
        if self._unsaved and checkpoint.cursor is not None:
            seen = SeenRows.of(checkpoint.cursor, self._unsaved)
            segments = self._segments.add(checkpoint.segments, self._run.run_id, seen)
            self._checkpoint = replace(checkpoint, segments=segments)
            self._unsaved = {}
        self._checkpoints.save(self._checkpoint)

    def _count_traffic(self, traffic: Traffic) -> None:
        begun = self._begun
        self._checkpoint = replace(
            self._checkpoint,
            elapsed_s=begun.elapsed_s + self._run.clock.monotonic() - self._started,
            retries=begun.retries + traffic.retries,
            throttles=begun.throttles + traffic.throttles,
            write_units=begun.write_units + traffic.units,
            traffic=begun.traffic + traffic.record(),
        )

    async def _take_up(self, found: Account, target: WritableTable, meter: ProgressMeter) -> Departed:
        """Migrate the rows that were on no page, and look once more at those that are not where they were seen.

        Those whose items an earlier pass held back are judged with them, and not counted: they are of no page.
        """
        earlier, failures = {**found.gone, **found.moved}, await asyncio.to_thread(self._ledger.entries)
        held = held_back(failures)
        brake = Brake(found.rows_in_window + len(found.gone), self._confirm_deletes)
        ids = list(dict.fromkeys((*found.unseen, *earlier, *held)))
        departures = self._departures(target, meter, begun=self._checkpoint.deleting, begin=self._begin_deletes)
        departed = await departures.settle(ids, brake, held)
        others = set(held) - earlier.keys() - set(found.unseen)
        self._settle(departed.outcomes, departed.failures)
        outcomes = Counter(self._checkpoint.outcomes)
        outcomes.subtract(found.void)
        for row_id, outcome in departed.outcomes.items():
            if row_id not in others:
                # A second look that finds all well leaves what the first one did.
                outcomes[earlier.get(row_id, "identical") if outcome is Outcome.IDENTICAL else outcome.value] += 1
        self._checkpoint = replace(self._checkpoint, outcomes=dict(+outcomes))
        return departed

    def _begin_deletes(self, ids: Collection[str]) -> None:
        self._checkpoint = replace(self._checkpoint, deleting=sorted({*self._checkpoint.deleting, *ids}))
        self._checkpoints.save(self._checkpoint)

    def _departures(self, target: WritableTable, meter: ProgressMeter, **of_a_pass: Any) -> Departures:
        run, migrator = self._run, self._page_migrator(target, meter)
        common = (run.source, target, migrator, run.settle_seconds, run.page_size, meter.advance)
        return Departures(*common, sleep=run.clock.sleep, **of_a_pass)

    def _page_migrator(self, target: WritableTable, meter: ProgressMeter) -> PageMigrator:
        run = self._run
        reconciler = Reconciler(run.source, target, run.settle_seconds, run.clock.sleep)
        common = (run.source, target, self._write_mode, reconciler, meter.advance)
        return PageMigrator(*common, run.keep_values, self._taken_back)

    async def _fingerprint(self) -> Mapping[str, str]:
        run = self._run
        identity = await run.target_identity()
        return {
            "mapping": run.target.mapping.fingerprint(),
            "source": run.source.table.identity,
            "target": identity.arn,
            "target_created_at": identity.created_at,
            "window": self._window.describe(),
        }

    def _result(self, departed: Departed, rows_in_window: int, late: int, left_window: int) -> MigrationResult:
        checkpoint = self._checkpoint
        return MigrationResult(
            partition=self._window.partition,
            run_id=self._run.run_id,
            write_mode=self._write_mode.value,
            outcomes=checkpoint.outcomes,
            rows_in_window=rows_in_window,
            late=late,
            left_window=left_window,
            started_at=checkpoint.started_at,
            finished_at=self._run.clock.now(),
            duration_s=round(checkpoint.elapsed_s, 3),
            resumes=checkpoint.resumes,
            retries=checkpoint.retries,
            throttles=checkpoint.throttles,
            write_units=checkpoint.write_units,
            traffic=checkpoint.traffic,
            items_deleted=departed.items_deleted + len(self._taken_back),
            items_left=departed.items_left,
            audit=self._run.state.locate(self._audit.name) if self._audit.is_begun else None,
        )
