"""Scheduled verification, census and spot check. On by default in staging and prod; in dev off until turned on.

A tick launches at most one run, which chooses the partitions that are due (`due`).
"""

from collections.abc import Sequence

import dagster as dg

from imgmig_dagster.defs.due import DAYS_OF_A_ROUND, VerifyDueConfig, op_of
from imgmig_dagster.defs.run_config import SpotCheckConfig
from imgmig_dagster.defs.table import Table
from imgmig_dagster.stage.stages import Stage


def all_schedules(table: Table) -> Sequence[dg.ScheduleDefinition]:
    """The verifications of each day, the weekly census, and the daily spot check."""
    status = dg.DefaultScheduleStatus.STOPPED if table.stage is Stage.DEV else dg.DefaultScheduleStatus.RUNNING

    @dg.schedule(
        name=table.named("verify_all"),
        job_name=table.named("verify_due"),
        cron_schedule="0 4 * * *",
        execution_timezone="UTC",
        default_status=status,
        description="Each day: verifies a sixth of the migrated partitions, so that each is verified within six days",
    )
    def verify_all(context: dg.ScheduleEvaluationContext) -> dg.RunRequest:
        turn = context.scheduled_execution_time.toordinal() % DAYS_OF_A_ROUND
        return dg.RunRequest(run_config=dg.RunConfig({op_of(table): VerifyDueConfig(turn=turn)}))

    return [
        dg.ScheduleDefinition(
            name=table.named("verify_changed"),
            job_name=table.named("verify_due"),
            cron_schedule="0 3 * * *",
            execution_timezone="UTC",
            default_status=status,
            description="Each day: verifies the migrated partitions whose evidence no longer counts, unless something "
            "writes to them",
        ),
        verify_all,
        dg.ScheduleDefinition(
            name=table.named("census_weekly"),
            job_name=table.named("census"),
            cron_schedule="0 5 * * 0",
            execution_timezone="UTC",
            default_status=status,
            description="Each week: compares the whole target with the whole source",
        ),
        dg.ScheduleDefinition(
            name=table.named("spot_check_daily"),
            job_name=table.named("draw_spot_check"),
            cron_schedule="0 6 * * *",
            execution_timezone="UTC",
            default_status=status,
            run_config=dg.RunConfig({table.asset("spot_check"): SpotCheckConfig(count=50, seed=None, keep_last=True)}),
            description="Each day: draws a new sample, and keeps the last one for review unless the new one has faults",
        ),
    ]


def verified_once_migrated(table: Table) -> dg.AutomationConditionSensorDefinition:
    """Looks every half minute for partitions that a run has migrated; `specs` has the asset's condition."""
    return dg.AutomationConditionSensorDefinition(
        table.named("verify_once_migrated"),
        target=dg.AssetSelection.assets(table.asset("verification_report")),
        default_status=dg.DefaultSensorStatus.STOPPED if table.stage is Stage.DEV else dg.DefaultSensorStatus.RUNNING,
        description="Verifies partitions that a run has migrated and that nothing writes to, all of a tick in one run",
    )
