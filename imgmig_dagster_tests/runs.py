"""A run of a test's own, whose calls of the domain each have an event loop of their own."""

from collections.abc import Callable, Coroutine
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from imgmig_dagster.clock import SYSTEM_CLOCK, Clock
from imgmig_dagster.progress import Listener
from imgmig_dagster.source.counting import table_counts
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork, Work, WritingWork, open_work, work_on
from imgmig_dagster.stage.work import Target as OpensTable
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.census import take_census
from imgmig_dagster.steps.dry_run import MigrationPlan, plan
from imgmig_dagster.steps.inventory import SourceInventory, take_inventory
from imgmig_dagster.steps.migrate import migrate
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.steps.retry_failures import retry_failures
from imgmig_dagster.steps.rows_left import judge_rows_left, note_rows_left
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.target.open_target import TargetSettings, WritableTarget
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.census_results import CensusResult, LeftSince
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import Window

Found = TypeVar("Found")
Table = TypeVar("Table", bound=TargetTable)


@dataclass(frozen=True)
class Run:
    """A run of the test's own: what it works on, and the domain's calls, each in an event loop of its own."""

    source: SourceReader
    target: WritableTarget
    state: StateStore
    window: Window
    run_id: str
    page_size: int = 1000
    recheck_delay_s: float = 0.0
    listener: Listener = lambda _progress: None
    keep_values: bool = False
    write_mode: WriteMode = WriteMode.CONDITIONAL
    clock: Clock = SYSTEM_CLOCK

    def do(self, call: Callable[[WritingWork], Coroutine[Any, Any, Found]]) -> Found:
        """Open the work, and call with it."""
        return work_on(self._open(self.target), call)

    def look(self, call: Callable[[ReadingWork], Coroutine[Any, Any, Found]]) -> Found:
        """The same for a call that may not write."""
        return work_on(self._open(TargetSettings(**vars(self.target))), call)

    def _open(self, target: OpensTable[Table]) -> AbstractAsyncContextManager[Work[Table]]:
        return open_work(
            self.source,
            target,
            self.state,
            self.run_id,
            page_size=self.page_size,
            recheck_delay_s=self.recheck_delay_s,
            listener=self.listener,
            keep_values=self.keep_values,
            clock=self.clock,
        )

    def migrate(self, start_over: bool = False, confirm_deletes: int | None = None) -> MigrationResult:
        return self.do(lambda work: migrate(work, self.window, self.write_mode, start_over, confirm_deletes))

    def retry_failures(self, confirm_deletes: int | None = None) -> MigrationResult:
        return self.do(lambda work: retry_failures(work, self.window, self.write_mode, confirm_deletes))

    def verify(self, only_failed: bool = False) -> VerificationResult:
        return self.look(lambda work: verify(work, self.window, only_failed))

    def census(self) -> CensusResult:
        return self.look(lambda work: take_census(work, [self.window]))

    def rows_left(self) -> LeftSince:
        census = load_record(self.state, names.CENSUS, CensusResult)
        assert census, "no census was taken"
        with self.source.snapshot() as snapshot:
            counts = table_counts(snapshot, [self.window])
            note_rows_left(self.state, census, snapshot, [self.window], counts)
        return self.look(lambda work: judge_rows_left(work, census))

    def plan(self) -> MigrationPlan:
        return self.look(lambda work: plan(work, self.window))

    def take_inventory(self) -> SourceInventory:
        return self.look(lambda work: take_inventory(work, self.window))
