"""What is verified without anybody asking: by default where a stage is not dev, in dev when it is turned on."""

from collections.abc import Iterator, Sequence
from typing import Final

import dagster as dg

from imgmig_dagster.defs.partitions import windows_of
from imgmig_dagster.defs.resources import SourceDatabase, StateDirectory, TargetDynamoDB
from imgmig_dagster.defs.run_config import SpotCheckConfig
from imgmig_dagster.stage import Stage
from imgmig_dagster.verification.changes import changed_partitions, verifiable_partitions
from imgmig_dagster.verification.evidence import Today, identity_of
from imgmig_dagster.window import now

_IN_THE_QUEUE: Final = dg.RunsFilter(
    job_name="verify",
    statuses=[
        dg.DagsterRunStatus.QUEUED,
        dg.DagsterRunStatus.NOT_STARTED,
        dg.DagsterRunStatus.STARTING,
        dg.DagsterRunStatus.STARTED,
    ],
)

DAYS_OF_A_ROUND: Final = 6
"""In any so many days each partition is verified, changed or not: a day before its evidence is too old."""


def all_schedules(partitions: dg.TimeWindowPartitionsDefinition, stage: Stage) -> Sequence[dg.ScheduleDefinition]:
    """The verifications of each day, the weekly census, and the daily spot check."""
    status = dg.DefaultScheduleStatus.STOPPED if stage is Stage.DEV else dg.DefaultScheduleStatus.RUNNING

    @dg.schedule(
        job_name="verify",
        cron_schedule="0 3 * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Each day: the migrated partitions whose evidence no longer counts, and that nothing is writing to",
    )
    def verify_changed(
        context: dg.ScheduleEvaluationContext, source: SourceDatabase, target: TargetDynamoDB, state: StateDirectory
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        with source.reader() as reader:
            today = Today(now(), identity_of(reader, target.identity()))
            changed = changed_partitions(reader, state.open(), windows_of(partitions), today)
        yield from _requests(context, changed, "the evidence of every partition counts")

    @dg.schedule(
        job_name="verify",
        cron_schedule="0 4 * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Each day a sixth of the migrated partitions: all of them in any six days",
    )
    def verify_all(
        context: dg.ScheduleEvaluationContext, state: StateDirectory
    ) -> Iterator[dg.RunRequest | dg.SkipReason]:
        today = context.scheduled_execution_time.toordinal() % DAYS_OF_A_ROUND
        # By its place among all partitions, which never changes, each has its day.
        due = [window for number, window in enumerate(windows_of(partitions)) if number % DAYS_OF_A_ROUND == today]
        yield from _requests(context, verifiable_partitions(state.open(), due), "no partition that is due was migrated")

    return [
        verify_changed,
        verify_all,
        dg.ScheduleDefinition(
            name="census_weekly",
            job_name="census",
            cron_schedule="0 5 * * 0",
            execution_timezone="UTC",
            default_status=status,
            description="Each week: the whole target compared with the whole source",
        ),
        dg.ScheduleDefinition(
            name="spot_check_daily",
            job_name="draw_spot_check",
            cron_schedule="0 6 * * *",
            execution_timezone="UTC",
            default_status=status,
            run_config=dg.RunConfig({"spot_check": SpotCheckConfig(count=50, seed=None, keep_last=True)}),
            description="Each day: a new sample. Only one that is not clean takes the place of a sample for review",
        ),
    ]


def verified_once_migrated(stage: Stage) -> dg.AutomationConditionSensorDefinition:
    """Looks each half minute for partitions that a run has migrated; the condition is the asset's (`specs`)."""
    return dg.AutomationConditionSensorDefinition(
        "verify_once_migrated",
        target=dg.AssetSelection.assets("verification_report"),
        default_status=dg.DefaultSensorStatus.STOPPED if stage is Stage.DEV else dg.DefaultSensorStatus.RUNNING,
        description="Verifies a partition once it was migrated and nothing writes to it; those of one tick together",
    )


def _requests(
    context: dg.ScheduleEvaluationContext, keys: Sequence[str], otherwise: str
) -> Iterator[dg.RunRequest | dg.SkipReason]:
    # What another schedule asked for an hour ago may still be in the queue. Only a test has a tick without an instance.
    asked = context.instance.get_runs(_IN_THE_QUEUE) if context.instance_ref else []
    asked_for = {run.tags.get("dagster/partition") for run in asked}
    keys = [key for key in keys if key not in asked_for]
    if not keys:
        yield dg.SkipReason(otherwise)
    for key in keys:
        # The key keeps a tick that is evaluated twice from verifying twice.
        yield dg.RunRequest(run_key=f"{key}@{context.scheduled_execution_time.isoformat()}", partition_key=key)
