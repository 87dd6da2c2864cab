"""What people are told without asking: failed runs, failed checks, ledgers that are not empty, and stale evidence."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import dagster as dg
from pydantic import TypeAdapter

from imgmig_dagster.alerts import Alert, AlertNotSent, Webhook
from imgmig_dagster.config import Stage
from imgmig_dagster.defs.partitions import windows_of
from imgmig_dagster.defs.resources import StageResource, StateDirectory
from imgmig_dagster.state.failures import FailureLedger
from imgmig_dagster.state.names import FAILURES
from imgmig_dagster.verification.changes import stale_partitions
from imgmig_dagster.window import now

_CHECKS_EVERY_S: Final = 30
_PARTITIONS_EVERY_S: Final = 300
_EVIDENCE_EVERY_S: Final = 3_600
_EVALUATIONS_PER_TICK: Final = 500
# A check that blocks ends its run: the check is told of, and not the run besides.
_ENDED_BY_A_CHECK: Final = "DagsterAssetCheckFailedError"


class AlertWebhook(StageResource):
    """Where alerts go: IMGMIG_ALERT_WEBHOOK, nowhere if it is not set."""

    def open(self) -> Webhook | None:
        """The webhook of the stage."""
        url = self.settings.alert_webhook
        return Webhook(url.get_secret_value()) if url is not None else None

    def link(self, path: str) -> str:
        """A page of the UI."""
        return f"{self.settings.ui_url.rstrip('/')}/{path}"


@dataclass
class Told:
    """A sensor's cursor: the last event looked at, and what was told of each fault that still lasts."""

    after: int | None = None
    faults: dict[str, str] = field(default_factory=dict)

    @classmethod
    def parse(cls, cursor: str | None) -> "Told":
        """The cursor of the last tick; an empty one at the first."""
        return TypeAdapter(cls).validate_json(cursor) if cursor else cls()

    def dump(self) -> str:
        """As Dagster keeps it."""
        return json.dumps({"after": self.after, "faults": self.faults})

    def tell(self, fault: str, alert: Alert, send: Callable[[Alert], None]) -> bool:
        """Send an alert unless the same was told of this fault before."""
        said = f"{alert.verdict} {json.dumps(dict(alert.counts), sort_keys=True)}"
        if self.faults.get(fault) == said:
            return False
        send(alert)
        self.faults[fault] = said
        return True


def all_sensors(partitions: dg.TimeWindowPartitionsDefinition, stage: Stage) -> list[dg.SensorDefinition]:
    """The alerts of a stage; they run by default where a stage is not dev."""
    status = dg.DefaultSensorStatus.STOPPED if stage is Stage.DEV else dg.DefaultSensorStatus.RUNNING
    return [
        _failed_runs(stage, status),
        _failed_checks(stage, status),
        _failure_ledgers(stage, status),
        _stale_evidence(partitions, stage, status),
    ]


def _failed_runs(stage: Stage, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.run_failure_sensor(
        name="alert_failed_runs",
        default_status=status,
        description="A message for each run that failed by anything but a check",
    )
    def alert_failed_runs(context: dg.RunFailureSensorContext, alerts: AlertWebhook) -> dg.SkipReason | None:
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        names = _class_names(context)
        if _ENDED_BY_A_CHECK in names:
            return dg.SkipReason("its failed check is told of by alert_failed_checks")
        run = context.dagster_run
        webhook.send(
            Alert(
                stage.value,
                f"run of {run.job_name}",
                # The class and not the text: what a library says may hold values.
                f"failed by {names[-1]}" if names else "failed",
                alerts.link(f"runs/{run.run_id}"),
                run.tags.get("dagster/partition"),
            )
        )
        return None

    return alert_failed_runs


def _failed_checks(stage: Stage, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.sensor(
        name="alert_failed_checks",
        minimum_interval_seconds=_CHECKS_EVERY_S,
        default_status=status,
        description="A message for each check that begins to fail, or fails otherwise than before",
    )
    def alert_failed_checks(context: dg.SensorEvaluationContext, alerts: AlertWebhook) -> dg.SkipReason:
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        told, sent = Told.parse(context.cursor), 0
        if told.after is None:
            # What failed before anybody asked to be told is not news.
            last = context.instance.event_log_storage.get_event_records(_evaluations(None), limit=1)
            told.after = last[0].storage_id if last else 0
        records = context.instance.event_log_storage.get_event_records(
            _evaluations(told.after), limit=_EVALUATIONS_PER_TICK, ascending=True
        )
        try:
            for record in records:
                sent += _tell_of_check(told, record, stage, alerts, webhook)
                told.after = record.storage_id
        except AlertNotSent as error:
            # The next tick goes on at this event.
            context.log.error(str(error))
        context.update_cursor(told.dump())
        return dg.SkipReason(f"{sent} messages sent of {len(records)} evaluations")

    return alert_failed_checks


def _failure_ledgers(stage: Stage, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    @dg.sensor(
        name="alert_failure_ledgers",
        minimum_interval_seconds=_PARTITIONS_EVERY_S,
        default_status=status,
        description="A message for each partition with rows that are not in the target",
    )
    def alert_failure_ledgers(
        context: dg.SensorEvaluationContext, alerts: AlertWebhook, state: StateDirectory
    ) -> dg.SkipReason:
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        store, told, sent = state.open(), Told.parse(context.cursor), 0
        partitions = [name.split("/", 1)[0] for name in store.list("") if name.endswith(f"/{FAILURES}")]
        try:
            for partition in partitions:
                failed = len(FailureLedger(store, partition).entries())
                if not failed:
                    told.faults.pop(partition, None)
                    continue
                link = alerts.link(f"assets/migrated_images?partition={partition}")
                alert = Alert(stage.value, "failure ledger", "not empty", link, partition, {"failed": failed})
                sent += told.tell(partition, alert, webhook.send)
        except AlertNotSent as error:
            context.log.error(str(error))
        context.update_cursor(told.dump())
        return dg.SkipReason(f"{sent} messages sent of {len(partitions)} ledgers")

    return alert_failure_ledgers


def _stale_evidence(
    partitions: dg.TimeWindowPartitionsDefinition, stage: Stage, status: dg.DefaultSensorStatus
) -> dg.SensorDefinition:
    @dg.sensor(
        name="alert_stale_evidence",
        minimum_interval_seconds=_EVIDENCE_EVERY_S,
        default_status=status,
        description="One message for all partitions whose evidence ceased to count and was not renewed for two days",
    )
    def alert_stale_evidence(
        context: dg.SensorEvaluationContext, alerts: AlertWebhook, state: StateDirectory
    ) -> dg.SkipReason:
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        told, stale = Told.parse(context.cursor), stale_partitions(state.open(), windows_of(partitions), now())
        told.faults = {partition: why for partition, why in told.faults.items() if partition in stale}
        # One message, not one for each: where the schedules stand still all partitions are stale at once.
        if news := [partition for partition in stale if partition not in told.faults]:
            link, verdict = alerts.link("assets/verification_report"), f"does not count: {stale[news[0]]}"
            alert = Alert(stage.value, "evidence", verdict, link, news[0], {"partitions": len(news)})
            try:
                webhook.send(alert)
            except AlertNotSent as error:
                context.log.error(str(error))
            else:
                told.faults |= {partition: stale[partition] for partition in news}
        context.update_cursor(told.dump())
        return dg.SkipReason(f"the evidence of {len(stale)} partitions is stale, {len(news)} of them are news")

    return alert_stale_evidence


def _tell_of_check(told: Told, record: dg.EventLogRecord, stage: Stage, alerts: AlertWebhook, webhook: Webhook) -> bool:
    event = record.event_log_entry.dagster_event
    if event is None:
        return False
    found = event.asset_check_evaluation_data
    partition = getattr(found, "partition", None) or event.partition
    asset, fault = (
        found.asset_key.to_user_string(),
        f"{found.asset_key.to_user_string()}:{found.check_name}:{partition}",
    )
    if found.passed or found.severity is dg.AssetCheckSeverity.WARN:
        told.faults.pop(fault, None)
        return False
    link = alerts.link(f"assets/{asset}?view=checks&checkDetail={found.check_name}")
    alert = Alert(stage.value, found.check_name, "does not hold", link, partition, _counts(found.metadata))
    return told.tell(fault, alert, webhook.send)


def _evaluations(after: int | None) -> dg.EventRecordsFilter:
    return dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=after)


def _counts(metadata: Mapping[str, dg.MetadataValue[Any]]) -> dict[str, int]:
    counts = {name: value.value for name, value in metadata.items() if isinstance(value, dg.IntMetadataValue)}
    return {name: count for name, count in counts.items() if count}


def _class_names(context: dg.RunFailureSensorContext) -> list[str]:
    """The classes of the errors that ended the run, the cause last."""
    failures = context.get_step_failure_events()
    error = failures[0].step_failure_data.error if failures else None
    names = []
    while error is not None:
        names.append(error.cls_name or "an error")
        error = error.cause
    return names


def _not_set() -> dg.SkipReason:
    return dg.SkipReason("IMGMIG_ALERT_WEBHOOK is not set")
