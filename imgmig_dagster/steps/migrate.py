"""Migrates a partition: the pass over its window, and what it does at the end about rows that it did not see.

`row_writer` brings the rows into the target, `walk` carries the pass, `retry_failures` repeats what failed.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, replace

from imgmig_dagster.errors import ImgmigError, TooManyFailures
from imgmig_dagster.figures import values
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.rules.failing import too_many_failed
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import WritingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import held_back
from imgmig_dagster.steps.departures import Departed
from imgmig_dagster.steps.inventory import Rejections
from imgmig_dagster.steps.migration_result import MigrationResult, Outcome
from imgmig_dagster.steps.page import PageResult
from imgmig_dagster.steps.row_writer import REQUESTS_COUNTED, MigrationWriter
from imgmig_dagster.verification.schema_changes import note_schema
from imgmig_dagster.walk.completeness import Completeness
from imgmig_dagster.walk.coverage import ResumableCoverage
from imgmig_dagster.walk.walk import walk_completely, walk_ids
from imgmig_dagster.window import Window


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
        coverage: ResumableCoverage[PageResult] = ResumableCoverage(
            owned, window.partition, names.MIGRATION_PROGRESS, names.SEEN
        )
        begun = await coverage.open(await _fingerprint(owned, window), start_over)
        target = await owned.target_identity()
        await asyncio.to_thread(note_schema, owned.state, owned.source, target, owned.clock.now())
        total = await asyncio.to_thread(owned.source.count, window)
        meter = owned.meter("Migrated", window.partition, total, begun.rows)
        migration = _Migration(owned, window, write_mode, meter, coverage)
        async with owned.writing(window.partition, "migration"):
            return await migration.migrate(confirm_deletes, rejections)


class _Migration(MigrationWriter):
    """The step of a pass: it stops if too many rows fail, and takes up at its end what it did not see."""

    def __init__(
        self,
        work: WritingWork,
        window: Window,
        write_mode: WriteMode,
        meter: ProgressMeter,
        coverage: ResumableCoverage[PageResult],
    ) -> None:
        super().__init__(work, window.partition, write_mode, meter)
        self.look_first = not coverage.checkpoint.first_pass
        self._window = window
        self._coverage = coverage
        # Of this run alone: a run that resumes after the cause is gone does not count earlier failures.
        self._failed = self._rows = 0

    async def migrate(self, confirm_deletes: int | None, rejections: Rejections | None) -> MigrationResult:
        work, coverage = self._work, self._coverage
        async with self.audit.flushed():
            found = await walk_completely(work, self._window, self, coverage)
            departed = await self._take_up(found, confirm_deletes)
            coverage.count_requests()
        checkpoint = coverage.checkpoint
        if rejections is not None and checkpoint.outcomes.get(Outcome.REJECTED.value):
            ids = await asyncio.to_thread(self._rejected)
            late = {row_id for row_id, outcome in departed.outcomes.items() if outcome is Outcome.REJECTED}
            await walk_ids(work, sorted((ids - found.gone.keys()) | late), rejections)
        result = self.result(
            departed,
            rows_in_window=found.rows_in_window,
            late=len(found.unseen),
            left_window=len(found.gone),
            duration_s=round(checkpoint.elapsed_s, 3),
            **values(checkpoint, "outcomes", "started_at", "resumes", "traffic", *REQUESTS_COUNTED),
        )
        await coverage.end(result.finished_at, {"result": asdict(result)})
        return result

    async def record(self, found: PageResult) -> PageResult:
        """See `Step.record`; also count the failures."""
        self._meter.failures += len(found.failures)
        self._meter.retries = self._work.target.sender.traffic.retries
        self._failed += len(found.failures)
        self._rows += len(found.results)
        return await super().record(found)

    def fault(self) -> ImgmigError | None:
        """See `Step.fault`: too many rows failed."""
        if not too_many_failed(self._failed, self._rows):
            return None
        return TooManyFailures(
            f"partition {self._window.partition}: {self._failed:,} of {self._rows:,} rows failed, so the pass "
            f"stopped. See {self._work.state.locate(self.ledger.name)} for the causes. Once they are gone, run the "
            "same command to resume, then imgmig retry-failures for the rows that failed"
        )

    async def _take_up(self, found: Completeness, confirm_deletes: int | None) -> Departed:
        """Migrate the rows that were on no page, and look once more at those that are not where they were seen.

        Rows whose items an earlier pass held back are judged with them, and not counted: they are on no page.
        """
        coverage, earlier = self._coverage, {**found.gone, **found.moved}
        held = held_back(await asyncio.to_thread(self.ledger.entries))
        brake = Brake(found.rows_in_window + len(found.gone), confirm_deletes)
        ids = list(dict.fromkeys((*found.unseen, *earlier, *held)))
        begun, begin = coverage.checkpoint.deleting, coverage.begin_deletes
        departed = await self.judge_departed(ids, brake, held, begun, begin)
        others = set(held) - earlier.keys() - set(found.unseen)
        outcomes = Counter(coverage.checkpoint.outcomes)
        outcomes.subtract(found.discounted)
        for row_id, outcome in departed.outcomes.items():
            if row_id not in others:
                # If the second look finds all well, the first outcome stays.
                outcomes[earlier.get(row_id, "identical") if outcome is Outcome.IDENTICAL else outcome.value] += 1
        coverage.checkpoint = replace(coverage.checkpoint, outcomes=dict(+outcomes))
        return departed

    def _rejected(self) -> set[str]:
        """The rows that the pass rejected, including runs before an interruption: few, since a pass with many stops."""
        return {row_id for part in self._coverage.parts() for row_id in part.ids.get(Outcome.REJECTED.value, ())}


async def _fingerprint(work: WritingWork, window: Window) -> Mapping[str, str]:
    """What an interrupted pass must match."""
    identity = await work.target_identity()
    return {
        "mapping": work.target.mapping.fingerprint(),
        "source": (await asyncio.to_thread(lambda: work.source.table)).identity,
        "target": identity.arn,
        "target_created_at": identity.created_at,
        "window": window.describe(),
    }
