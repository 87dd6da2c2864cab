"""Migrates a partition: what happens to a page of rows, to rows by their ids, and to failures.

`page` works on one page, `departures` on rows that are gone; `walk` carries the pass over the window.
"""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, Final

from imgmig_dagster.concurrency import whole_in_thread
from imgmig_dagster.errors import ImgmigError, TooManyFailures
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import WritingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import AuditLog
from imgmig_dagster.state.failures import Failure, FailureLedger, held_back
from imgmig_dagster.state.row_log import RowLogPart
from imgmig_dagster.steps.audited import AuditedDeletes
from imgmig_dagster.steps.departures import Departed, Departures
from imgmig_dagster.steps.inventory import Rejections, look_at_ids
from imgmig_dagster.steps.migration_result import NOT_WRITTEN, MigrationResult, Outcome
from imgmig_dagster.steps.page import PageMigrator, PageResult
from imgmig_dagster.steps.reconcile import Reconciler
from imgmig_dagster.verification.schema_changes import note_schema
from imgmig_dagster.walk.completeness import Completeness
from imgmig_dagster.walk.coverage import Coverage
from imgmig_dagster.walk.walk import Step, walk
from imgmig_dagster.window import Window

_MAX_FAILURES: Final = 10_000
_MAX_FAILED_SHARE: Final = 0.01
_FAILURES_BEFORE_SHARE_COUNTS: Final = 100


async def migrate(
    work: WritingWork,
    window: Window,
    write_mode: WriteMode,
    start_over: bool = False,
    confirm_deletes: int | None = None,
    rejections: Rejections | None = None,
) -> MigrationResult:
    """Migrate the partition, from the checkpoint of an interrupted pass if there is one.

    Args:
        work: what it works on.
        window: the partition.
        write_mode: how to treat items that may already exist in the target.
        start_over: drop the interrupted pass. Always safe: existing items are looked up first.
        confirm_deletes: how many items to delete because their rows are gone; by default as `Brake` says.
        rejections: collects the rows that can never be written as they are, for the inventory.

    Raises:
        PartitionBusy: another run works on this partition.
        CheckpointRefused: the checkpoint is torn, altered, or of something else.
        SourceError, TargetError: see there. The pass can be resumed from its last checkpoint.
        TooManyFailures: over 1 % of this run's rows failed and at least 100 did, or 10,000 did.
    """
    async with work.owning(names.write_lock(window.partition)) as owned:
        return await _Migration(owned, window, write_mode, confirm_deletes).migrate(start_over, rejections)


async def retry_failures(
    work: WritingWork, window: Window, write_mode: WriteMode, confirm_deletes: int | None = None
) -> MigrationResult:
    """Retry exactly the rows of the partition's ledger, and remove those that succeed; see `migrate`.

    Raises:
        PartitionBusy: another run works on this partition.
        SourceError, TargetError: see there.
    """
    async with work.owning(names.write_lock(window.partition)) as owned:
        return await _Migration(owned, window, write_mode, confirm_deletes).retry()


class _Migration(Step[PageResult]):
    """What happens to the rows of a page, to rows by their ids, and to the failures of either."""

    def __init__(self, work: WritingWork, window: Window, write_mode: WriteMode, confirm_deletes: int | None) -> None:
        self._work = work
        self._window = window
        self._write_mode = write_mode
        self._confirm_deletes = confirm_deletes
        self._started, self._started_at = work.clock.monotonic(), work.clock.now()
        masked = work.source.mapping.sensitive_attributes
        self._audit = AuditLog(work.state, work.run_id, window.partition, work.keep_values, work.clock.now, masked)
        self._ledger = FailureLedger(work.state, window.partition)
        self._target = AuditedDeletes(work.target, self._audit)
        self._taken_back: set[str] = set()
        self._look_first = True
        self._failed = 0
        self._rows = 0

    async def migrate(self, start_over: bool, rejections: Rejections | None) -> MigrationResult:
        work, window = self._work, self._window
        coverage: Coverage[PageResult] = Coverage(work, window.partition, names.MIGRATION_PROGRESS, names.SEEN)
        begun = await coverage.open(await self._fingerprint(), start_over)
        target = await work.target_identity()
        await asyncio.to_thread(note_schema, work.state, work.source, target, self._started_at)
        self._look_first = not begun.first_pass
        total = await asyncio.to_thread(work.source.count, window)
        self._tell("Migrated", total, begun.rows)
        async with work.writing(window.partition, "migration"):
            async with self._audit.flushed():
                found = await walk(work, window, self, coverage)
                departed = await self._migrate_late_rows(found, coverage)
                coverage.count_requests()
            if rejections is not None and coverage.checkpoint.outcomes.get(Outcome.REJECTED.value):
                ids = await asyncio.to_thread(_rejected, coverage.parts())
                late = {row_id for row_id, outcome in departed.outcomes.items() if outcome is Outcome.REJECTED}
                await look_at_ids(work, (ids - found.gone.keys()) | late, rejections)
            checkpoint = coverage.checkpoint
            result = MigrationResult(
                outcomes=checkpoint.outcomes,
                rows_in_window=found.rows_in_window,
                late=len(found.unseen),
                left_window=len(found.gone),
                started_at=checkpoint.started_at,
                duration_s=round(checkpoint.elapsed_s, 3),
                resumes=checkpoint.resumes,
                retries=checkpoint.retries,
                throttles=checkpoint.throttles,
                write_units=checkpoint.write_units,
                read_units=checkpoint.read_units,
                traffic=checkpoint.traffic,
                **self._common(departed),
            )
            await coverage.end(result.finished_at, {"result": asdict(result)})
        return result

    async def retry(self) -> MigrationResult:
        work, window = self._work, self._window
        failures = await asyncio.to_thread(self._ledger.entries)
        entries, departed, outcomes = sorted(failures), Departed(), Counter[str]()
        if entries:
            await work.target_identity()
            self._tell("Retried", len(entries))
            async with work.writing(window.partition, "retry", entries), self._audit.flushed():
                brake = Brake(await asyncio.to_thread(work.source.count, window), self._confirm_deletes)
                departed = await self._departures().handle(entries, brake, held_back(failures))
                await self._update_ledger(departed.outcomes, departed.failures)
                outcomes.update(outcome.value for outcome in departed.outcomes.values())
        traffic = work.target.sender.traffic
        return MigrationResult(
            outcomes=dict(outcomes),
            rows_in_window=len(entries),
            late=0,
            left_window=0,
            started_at=self._started_at,
            duration_s=round(work.clock.monotonic() - self._started, 3) if entries else 0.0,
            resumes=0,
            retries=traffic.retries,
            throttles=traffic.throttles,
            write_units=traffic.write_units,
            read_units=traffic.read_units,
            traffic=traffic.record(),
            **self._common(departed),
        )

    async def page(self, rows: Sequence[Row]) -> PageResult:
        """See `Step.page`: transform, write, and look at existing items."""
        return await self._migrator.migrate(rows, look_first=self._look_first)

    async def record(self, found: PageResult) -> PageResult:
        """See `Step.record`: a row that is not in the target is named in the ledger."""
        await self._update_ledger(found.results, found.failures)
        self._meter.failures += len(found.failures)
        self._meter.retries = self._work.target.sender.traffic.retries
        # Of this run alone: a run that resumes after the cause is gone does not count earlier failures.
        self._failed += len(found.failures)
        self._rows += len(found.results)
        return found

    def fault(self) -> ImgmigError | None:
        """See `Step.fault`: too many rows failed."""
        too_many = self._failed >= _FAILURES_BEFORE_SHARE_COUNTS and self._failed > _MAX_FAILED_SHARE * self._rows
        if not too_many and self._failed < _MAX_FAILURES:
            return None
        return TooManyFailures(
            f"partition {self._window.partition}: {self._failed:,} of {self._rows:,} rows failed, so the pass "
            f"stopped. See {self._work.state.locate(self._ledger.name)} for the causes. Once they are gone, run the "
            "same command to resume, then imgmig retry-failures for the rows that failed"
        )

    async def _migrate_late_rows(self, found: Completeness, coverage: Coverage[PageResult]) -> Departed:
        """Migrate the rows that were on no page, and look once more at those that are not where they were seen.

        Rows whose items an earlier pass held back are judged with them, and not counted: they are on no page.
        """
        earlier, failures = {**found.gone, **found.moved}, await asyncio.to_thread(self._ledger.entries)
        held = held_back(failures)
        brake = Brake(found.rows_in_window + len(found.gone), self._confirm_deletes)
        ids = list(dict.fromkeys((*found.unseen, *earlier, *held)))
        departures = self._departures(begun=coverage.checkpoint.deleting, begin=coverage.begin_deletes)
        departed = await departures.handle(ids, brake, held)
        others = set(held) - earlier.keys() - set(found.unseen)
        await self._update_ledger(departed.outcomes, departed.failures)
        outcomes = Counter(coverage.checkpoint.outcomes)
        outcomes.subtract(found.discounted)
        for row_id, outcome in departed.outcomes.items():
            if row_id not in others:
                # If the second look finds all well, the first outcome stays.
                outcomes[earlier.get(row_id, "identical") if outcome is Outcome.IDENTICAL else outcome.value] += 1
        coverage.checkpoint = replace(coverage.checkpoint, outcomes=dict(+outcomes))
        return departed

    async def _update_ledger(self, outcomes: Mapping[str, Outcome], failures: Sequence[Failure]) -> None:
        """Bring the ledger up to date."""
        done = [row_id for row_id, outcome in outcomes.items() if outcome not in NOT_WRITTEN]
        await whole_in_thread(self._ledger.record, failures, done)

    def _tell(self, verb: str, total: int, done: int = 0) -> None:
        work = self._work
        self._meter = work.meter(verb, self._window.partition, total, done)
        reconciler = Reconciler(work.source, self._target, work.recheck_delay_s, work.clock.sleep)
        common = (work.source, self._target, self._write_mode, reconciler, self._meter.advance)
        self._migrator = PageMigrator(*common, work.keep_values, self._taken_back)

    def _departures(self, **of_a_pass: Any) -> Departures:
        work = self._work
        common = (work.source, self._target, self._migrator, work.recheck_delay_s, work.page_size, self._meter.advance)
        return Departures(*common, sleep=work.clock.sleep, **of_a_pass)

    async def _fingerprint(self) -> Mapping[str, str]:
        work = self._work
        identity = await work.target_identity()
        return {
            "mapping": work.target.mapping.fingerprint(),
            "source": (await asyncio.to_thread(lambda: work.source.table)).identity,
            "target": identity.arn,
            "target_created_at": identity.created_at,
            "window": self._window.describe(),
        }

    def _common(self, departed: Departed) -> dict[str, Any]:
        work = self._work
        return {
            "partition": self._window.partition,
            "run_id": work.run_id,
            "write_mode": self._write_mode.value,
            "finished_at": work.clock.now(),
            "items_deleted": departed.items_deleted + len(self._taken_back),
            "items_left": departed.items_left,
            "audit": self._audit.place if self._audit.is_begun else None,
        }


def _rejected(parts: Iterable[RowLogPart]) -> set[str]:
    """The rows that a pass rejected, including runs before an interruption: few, since a pass with many stops."""
    return {row_id for part in parts for row_id in part.ids.get(Outcome.REJECTED.value, ())}
