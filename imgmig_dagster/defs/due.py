"""The job that verifies what is due: the run chooses the partitions, not the schedule that launches it.

Choosing may read whole partitions of the source, which takes longer than a schedule's tick. A run over a range would
announce checks of all its partitions, and those not verified would lose their verdict. So the job is an unpartitioned
op that records each partition as `range_run` does. `schedules` says when it runs.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

import dagster as dg
from pydantic import Field

from imgmig_dagster.defs.asset_basics import working
from imgmig_dagster.defs.assets import verify_part
from imgmig_dagster.defs.failed_partitions import FailedPartitions
from imgmig_dagster.defs.range_run import Part, over_range
from imgmig_dagster.defs.resources import (
    TARGET_POOL,
    ProgressListener,
    SourceDatabase,
    StateDirectory,
    TargetDynamoDB,
)
from imgmig_dagster.defs.table import Table
from imgmig_dagster.errors import PartitionBusy
from imgmig_dagster.local_runs import dagster_events as events
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.verification.changed_windows import changed_partitions, verifiable_partitions
from imgmig_dagster.verification.evidence import CurrentState, identity_of
from imgmig_dagster.window import Window, now

DAYS_OF_A_ROUND: Final = 6
"""Each partition is verified once in this many days, changed or not: a day before its evidence is too old."""


class VerifyDueConfig(dg.Config):
    """Which partitions are due."""

    turn: int | None = Field(
        None,
        ge=0,
        lt=DAYS_OF_A_ROUND,
        description=f"Each {DAYS_OF_A_ROUND}th partition, from the one of this number on; by default those whose "
        "evidence no longer counts",
    )


def verify_due_job(table: Table, specs: Mapping[str, dg.AssetSpec]) -> dg.JobDefinition:
    """The job with one op, which chooses and verifies."""

    @dg.op(name=op_of(table), out={}, pool=TARGET_POOL)
    def verify_what_is_due(
        context: dg.OpExecutionContext,
        config: VerifyDueConfig,
        source: SourceDatabase,
        target: TargetDynamoDB,
        state: StateDirectory,
        progress: dg.ResourceParam[ProgressListener],
    ) -> Iterator[dg.DagsterEvent]:
        windows = {window.partition: window for window in table.partitions.windows()}
        keys = _due(table, config.turn, list(windows.values()), source, target, state)
        context.log.info("%d of %d partitions are due", len(keys), len(windows))
        reads, recording = target.target_settings(table.mapping, context.instance), events.recording(context)
        with working(recording, table, source, reads, state, progress) as (opening, log):

            async def compare(work: ReadingWork, part: Part) -> None:
                try:
                    # In its turn, a partition is verified completely; otherwise only its changes.
                    await verify_part(work, windows[part.partition], part, log, only_failed=config.turn is None)
                except PartitionBusy:
                    log.info("%s: another run is verifying it", part.partition)

            yield from over_range(
                recording, specs, keys, opening, compare, progress.end, FailedPartitions(table, state.open(table.name))
            )

    @dg.job(
        name=table.named("verify_due"),
        description="Verify the migrated partitions whose evidence no longer counts, or a sixth of all, changed or not",
    )
    def job() -> None:
        verify_what_is_due()

    return job


def op_of(table: Table) -> str:
    """The name by which run config knows the op."""
    return table.named("verify_what_is_due")


def _due(
    table: Table,
    turn: int | None,
    windows: Sequence[Window],
    source: SourceDatabase,
    target: TargetDynamoDB,
    state: StateDirectory,
) -> Sequence[str]:
    if turn is not None:
        # A partition's place among all never changes, so it always has the same day.
        return verifiable_partitions(state.open(table.name), windows[turn::DAYS_OF_A_ROUND])
    with source.reader(table.mapping) as reader:
        current = CurrentState(now(), identity_of(reader, target.identity(table.mapping)))
        return changed_partitions(reader, state.open(table.name), windows, current)
