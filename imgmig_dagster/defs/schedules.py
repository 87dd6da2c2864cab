"""What is verified without anybody asking. Both schedules are off until an operator turns them on."""

from collections.abc import Iterator, Sequence

import dagster as dg

from imgmig_dagster.defs.partitions import windows_of
from imgmig_dagster.defs.resources import SourceDatabase, StateDirectory, TargetDynamoDB
from imgmig_dagster.verification.changes import changed_partitions, occupied_partitions
from imgmig_dagster.verification.evidence import Today, identity_of
from imgmig_dagster.window import now


def all_schedules(partitions: dg.TimeWindowPartitionsDefinition) -> Sequence[dg.ScheduleDefinition]:
    """The daily and the weekly verification."""

    @dg.schedule(job_name="verify", cron_schedule="0 3 * * *", execution_timezone="UTC")
    def verify_changed(
        context: dg.ScheduleEvaluationContext, source: SourceDatabase, target: TargetDynamoDB, state: StateDirectory
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        """Each day: the partitions whose evidence no longer counts."""
        with source.reader() as reader:
            today = Today(now(), identity_of(reader, target.identity()))
            changed = changed_partitions(reader, state.open(), windows_of(partitions), today)
        yield from _requests(context, changed, "the evidence of every partition counts")

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
