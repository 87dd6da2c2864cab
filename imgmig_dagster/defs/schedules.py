"""What is verified without anybody asking. Both schedules are off until an operator turns them on."""

from collections.abc import Iterator, Sequence

import dagster as dg

from imgmig_dagster.defs.partitions import windows_of
from imgmig_dagster.defs.resources import SourceDatabase, StateDirectory
from imgmig_dagster.verification.changes import changed_partitions, occupied_partitions


def all_schedules(partitions: dg.TimeWindowPartitionsDefinition) -> Sequence[dg.ScheduleDefinition]:
    """The daily and the weekly verification."""

    @dg.schedule(job_name="verify", cron_schedule="0 3 * * *", execution_timezone="UTC")
    def verify_changed(
        context: dg.ScheduleEvaluationContext, source: SourceDatabase, state: StateDirectory
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Each day: the partitions whose rows are no longer those of their evidence."""
        with source.reader() as reader:
            changed = changed_partitions(reader, state.open(), windows_of(partitions))
        yield from _requests(context, changed, "no partition has changed since it was verified")

    @dg.schedule(job_name="verify", cron_schedule="0 4 * * 0", execution_timezone="UTC")
    def verify_all(
        context: dg.ScheduleEvaluationContext, source: SourceDatabase, state: StateDirectory
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Each week: every partition that holds rows, or has evidence."""
        with source.reader() as reader:
            occupied = occupied_partitions(reader, state.open(), windows_of(partitions))
        yield from _requests(context, occupied, "no partition holds a row")

    return [verify_changed, verify_all]


def _requests(
    context: dg.ScheduleEvaluationContext, keys: Sequence[str], otherwise: str
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    if not keys:
        yield dg.SkipReason(otherwise)
    for key in keys:
        # The key keeps a tick that is evaluated twice from verifying twice.
        yield dg.RunRequest(run_key=f"{key}@{context.scheduled_execution_time.isoformat()}", partition_key=key)
