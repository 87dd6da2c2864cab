"""Retries the rows of a partition's failure ledger. `migrate` passes over the whole window."""

import asyncio
from collections import Counter

from imgmig_dagster.figures import values
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import WritingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import FailureLedger, held_back
from imgmig_dagster.steps.departures import Departed
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.steps.row_writer import REQUESTS_COUNTED, MigrationWriter
from imgmig_dagster.window import Window


async def retry_failures(
    work: WritingWork, window: Window, write_mode: WriteMode, confirm_deletes: int | None = None
) -> MigrationResult:
    """Retry exactly the rows of the partition's ledger, and remove those that succeed; see `migrate`.

    Raises:
        PartitionBusy: another run works on this partition.
        SourceError, TargetError: see there.
    """
    async with work.owning(names.write_lock(window.partition)) as owned:
        return await _retry(owned, window, write_mode, confirm_deletes)


async def _retry(
    work: WritingWork, window: Window, write_mode: WriteMode, confirm_deletes: int | None
) -> MigrationResult:
    started, started_at = work.clock.monotonic(), work.clock.now()
    failures = await asyncio.to_thread(FailureLedger(work.state, window.partition).entries)
    entries, departed = sorted(failures), Departed()
    writer = MigrationWriter(work, window.partition, write_mode, work.meter("Retried", window.partition, len(entries)))
    if entries:
        await work.target_identity()
        async with work.writing(window.partition, "retry", entries), writer.audit.flushed():
            brake = Brake(await asyncio.to_thread(work.source.count, window), confirm_deletes)
            departed = await writer.judge_departed(entries, brake, held_back(failures))
    traffic = work.target.sender.traffic
    return writer.result(
        departed,
        outcomes=dict(Counter(outcome.value for outcome in departed.outcomes.values())),
        rows_in_window=len(entries),
        late=0,
        left_window=0,
        started_at=started_at,
        duration_s=round(work.clock.monotonic() - started, 3) if entries else 0.0,
        resumes=0,
        traffic=traffic.record(),
        **values(traffic, *REQUESTS_COUNTED),
    )
