"""What a pass, a retry and a repair do alike: bring rows into the target, and keep the ledger and the audit record.

`page` works on one page of rows, `departures` on rows that are gone. `migrate`, `retry_failures` and `repair` use it.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from imgmig_dagster.concurrency import whole_in_thread
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork, WritingWork
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.steps.audited import AuditedDeletes, audit_of
from imgmig_dagster.steps.departures import Departed, Departures
from imgmig_dagster.steps.migration_result import NOT_WRITTEN, MigrationResult, Outcome
from imgmig_dagster.steps.page import PageMigrator, PageResult
from imgmig_dagster.target.dry_run_table import Written
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster.walk.walk import Step

REQUESTS_COUNTED: Final = ("retries", "throttles", "write_units", "read_units")


class RowWriter(Step[PageResult]):
    """Writes the items of rows into a target that notes in the audit record what has to be there."""

    look_first = True

    def __init__(
        self,
        work: ReadingWork,
        partition: str,
        target: Written,
        write_mode: WriteMode,
        meter: ProgressMeter,
        source_wins: bool = False,
        taken_back: set[str] | None = None,
    ) -> None:
        self.ledger = FailureLedger(work.state, partition)
        self._work = work
        self._target = target
        self._meter = meter
        self._migrator = PageMigrator(work, target, write_mode, meter.advance, source_wins, taken_back)

    async def page(self, rows: Sequence[Row]) -> PageResult:
        """See `Step.page`: transform, write, and look at existing items."""
        return await self._migrator.migrate(rows, self.look_first)

    async def record(self, found: PageResult) -> PageResult:
        """See `Step.record`: a row that is not in the target is named in the ledger."""
        await self.account(found.results, found.failures)
        return found

    async def judge_departed(
        self,
        ids: Sequence[str],
        brake: Brake,
        held: Collection[str] = (),
        begun: Collection[str] = (),
        begin: Callable[[Collection[str]], None] = lambda _ids: None,
    ) -> Departed:
        """Give rows that may be gone their outcome; see `Departures`."""
        departures = Departures(self._work, self._target, self._migrator, self._meter.advance, begun, begin)
        departed = await departures.handle(ids, brake, held)
        await self.account(departed.outcomes, departed.failures)
        return departed

    async def account(self, outcomes: Mapping[str, Outcome], failures: Sequence[Failure]) -> None:
        """Bring the ledger up to date, unless it is a dry run."""
        if isinstance(self._target, WritableTable):
            done = [row_id for row_id, outcome in outcomes.items() if outcome not in NOT_WRITTEN]
            await whole_in_thread(self.ledger.record, failures, done)


class MigrationWriter(RowWriter):
    """Writes rows for a pass or a retry, whose deletes are in the audit record."""

    def __init__(self, work: WritingWork, partition: str, write_mode: WriteMode, meter: ProgressMeter) -> None:
        self.audit = audit_of(work, partition)
        self._partition = partition
        self._write_mode = write_mode
        self._taken_back: set[str] = set()
        target = AuditedDeletes(work.target, self.audit)
        super().__init__(work, partition, target, write_mode, meter, taken_back=self._taken_back)

    def result(self, departed: Departed, **counted: Any) -> MigrationResult:
        """The result, with what was counted elsewhere."""
        return MigrationResult(
            partition=self._partition,
            run_id=self._work.run_id,
            write_mode=self._write_mode.value,
            finished_at=self._work.clock.now(),
            items_deleted=departed.items_deleted + len(self._taken_back),
            items_left=departed.items_left,
            audit=self.audit.place if self.audit.is_begun else None,
            **counted,
        )
