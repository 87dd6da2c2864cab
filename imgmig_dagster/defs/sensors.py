"""Sensors that find what to alert: failed runs, failed checks, ledgers with rows, and stale evidence.

`outbox` keeps what was sent, `alerts` sends it.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final

import dagster as dg

from imgmig_dagster import remedies
from imgmig_dagster.defs.alerts import AlertFault, Webhook
from imgmig_dagster.defs.claims import CLAIMS
from imgmig_dagster.defs.outbox import Outbox
from imgmig_dagster.defs.range_run import ChecksDoNotHold
from imgmig_dagster.defs.resources import StageResource, StateDirectory
from imgmig_dagster.defs.table import Table
from imgmig_dagster.local_runs import dagster_internals as internals
from imgmig_dagster.local_runs.instance import CODE_LOCATION
from imgmig_dagster.local_runs.invocation import GONE, fail_dead_runs
from imgmig_dagster.stage.stage_table import MIGRATED
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.index import at_a_glance
from imgmig_dagster.verification.changed_windows import stale_partitions
from imgmig_dagster.window import now

_EVENTS_EVERY_S: Final = 30
_PARTITIONS_EVERY_S: Final = 300
_EVIDENCE_EVERY_S: Final = 3_600
_EVALUATIONS_PER_TICK: Final = 500
_RUNS_PER_TICK: Final = 100
_KEYS: Final = 3
_FAILED: Final = dg.DagsterEventType.RUN_FAILURE
# A blocking check ends its run: the alert is about the check, not also about the run.
_ENDED_BY_A_CHECK: Final = frozenset({"DagsterAssetCheckFailedError", ChecksDoNotHold.__name__})


class AlertWebhook(StageResource):
    """Where alerts go: to IMGMIG_ALERT_WEBHOOK; nowhere if it is not set."""

    def open(self) -> Webhook | None:
        """The webhook of the stage."""
        url = self.settings.alert_webhook
        return Webhook(url.get_secret_value()) if url is not None else None

    @property
    def ui(self) -> str:
        """The address of Dagster's UI."""
        return self.settings.alerts.ui_url


def all_sensors(table: Table, assets: Collection[dg.AssetKey]) -> list[dg.SensorDefinition]:
    """The alerts of a table, whose runs make these assets; they run by default where a stage is not dev."""
    status = dg.DefaultSensorStatus.STOPPED if table.stage is Stage.DEV else dg.DefaultSensorStatus.RUNNING
    return [
        _failed_runs(table, assets, status),
        _failed_checks(table, status),
        _failure_ledgers(table, status),
        _stale_evidence(table, status),
    ]


def _failed_runs(table: Table, assets: Collection[dg.AssetKey], status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    name = table.named("alert_failed_runs")

    # Not a run_failure_sensor: that reports one run at a time, and moves its cursor only at the end of a tick.
    @dg.sensor(
        name=name,
        minimum_interval_seconds=_EVENTS_EVERY_S,
        default_status=status,
        description="A message for the runs that failed by anything but a check; finds dead commands",
    )
    def alert_failed_runs(context: dg.SensorEvaluationContext, alerts: AlertWebhook) -> dg.SkipReason:
        instance = context.instance
        fail_dead_runs(instance)
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        box = Outbox(context, table.stage.value, name, table.option, lasting=False)
        if box.after is None:
            # Failures from before the sensor was turned on are not alerted.
            last = instance.fetch_run_status_changes(_FAILED, limit=1).records
            box.after = last[0].storage_id if last else 0
        failed = instance.fetch_run_status_changes(
            dg.RunStatusChangeRecordsFilter(_FAILED, after_storage_id=box.after),
            limit=_RUNS_PER_TICK,
            ascending=True,
        ).records
        for record in failed:
            run = instance.get_run_by_id(record.run_id)
            if run is not None and _is_ours(run, context) and _is_of(table, assets, run):
                for fault in _of_run(table, instance, run, record):
                    box.put(f"{run.run_id}:{fault.partition}", fault)
            box.after = record.storage_id
        return box.send(webhook, alerts.ui)

    return alert_failed_runs


def _failed_checks(table: Table, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    name = table.named("alert_failed_checks")
    ours = {(table.asset(claim.asset), claim.name) for claim in CLAIMS}

    @dg.sensor(
        name=name,
        minimum_interval_seconds=_EVENTS_EVERY_S,
        default_status=status,
        description="A message for the partitions of which a check begins to fail, or fails otherwise than before",
    )
    def alert_failed_checks(context: dg.SensorEvaluationContext, alerts: AlertWebhook) -> dg.SkipReason:
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        box = Outbox(context, table.stage.value, name, table.option)
        after = internals.last_evaluation(context.instance) if box.after is None else box.after
        box.after = after
        for place, found in internals.evaluations(context.instance, after, _EVALUATIONS_PER_TICK):
            if (found.asset_key.to_user_string(), found.check_name) in ours:
                _look_at_check(box, found)
            box.after = place
        return box.send(webhook, alerts.ui)

    return alert_failed_checks


def _failure_ledgers(table: Table, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    name = table.named("alert_failure_ledgers")

    @dg.sensor(
        name=name,
        minimum_interval_seconds=_PARTITIONS_EVERY_S,
        default_status=status,
        description="A message for the partitions with rows that are not in the target",
    )
    def alert_failure_ledgers(
        context: dg.SensorEvaluationContext, alerts: AlertWebhook, state: StateDirectory
    ) -> dg.SkipReason:
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        store, box = state.open(table.name), Outbox(context, table.stage.value, name, table.option)
        partitions = [window.partition for window in table.partitions.windows()]
        known = at_a_glance(store, partitions)
        for partition in partitions:
            entries = FailureLedger(known, partition).entries()
            if entries:
                box.put(partition, _of_ledger(table, partition, list(entries.values())))
            else:
                box.resolve(partition)
        return box.send(webhook, alerts.ui)

    return alert_failure_ledgers


def _stale_evidence(table: Table, status: dg.DefaultSensorStatus) -> dg.SensorDefinition:
    name = table.named("alert_stale_evidence")

    @dg.sensor(
        name=name,
        minimum_interval_seconds=_EVIDENCE_EVERY_S,
        default_status=status,
        description="A message for the partitions whose evidence ceased to count and was not renewed for two days",
    )
    def alert_stale_evidence(
        context: dg.SensorEvaluationContext, alerts: AlertWebhook, state: StateDirectory
    ) -> dg.SkipReason:
        webhook = alerts.open()
        if webhook is None:
            return _not_set()
        box = Outbox(context, table.stage.value, name, table.option)
        stale = stale_partitions(state.open(table.name), table.partitions.windows(), now())
        for partition in box.faults - set(stale):
            box.resolve(partition)
        for partition, why in stale.items():
            asset = table.asset("verification_report")
            page, pages = _page(asset, partition), f"assets/{asset}?view=partitions"
            fault = AlertFault(
                "evidence", "does not count", remedies.STALE, page, pages, partition, {}, (f"{partition}: {why}",)
            )
            box.put(partition, fault)
        return box.send(webhook, alerts.ui)

    return alert_stale_evidence


def _is_ours(run: dg.DagsterRun, context: dg.SensorEvaluationContext) -> bool:
    """Whether it is a run of this code location, which may share its instance with others."""
    return internals.location_of(run) in {CODE_LOCATION, internals.own_location(context)} - {None}


def _is_of(table: Table, assets: Collection[dg.AssetKey], run: dg.DagsterRun) -> bool:
    """Whether it is a run of this table: of one of its jobs, or of assets that somebody chose."""
    if table.is_only:
        return True
    if run.asset_selection:
        return not run.asset_selection.isdisjoint(assets)
    return run.job_name in {table.named(job) for job in remedies.JOBS}


def _of_run(
    table: Table, instance: dg.DagsterInstance, run: dg.DagsterRun, record: dg.EventLogRecord
) -> list[AlertFault]:
    """A fault for each partition that failed; none where a check ended the run.

    Then the alert is about the check, not also about the run.
    """
    names = internals.error_classes(instance, run.run_id)
    if _ENDED_BY_A_CHECK & set(names):
        return []
    last = names[-1] if names else None
    ended_by = internals.failed_partitions(instance, run.run_id) or dict.fromkeys(_partitions_of(table, run), last)
    event = record.event_log_entry.dagster_event
    is_gone = event is not None and event.message == GONE
    title, page = f"run of {run.job_name}", f"runs/{run.run_id}"
    return [
        # The class and not the text: a library's text may hold values.
        AlertFault(
            title,
            "failed: its process is gone" if is_gone else f"failed by {name}" if name else "failed",
            remedies.of_run(run.job_name.removeprefix(table.named("")), name),
            page,
            "runs",
            partition,
        )
        for partition, name in ended_by.items()
    ]


def _partitions_of(table: Table, run: dg.DagsterRun) -> Sequence[str | None]:
    if (only := run.tags.get("dagster/partition")) or internals.RANGE_START not in run.tags:
        return [only]
    ends = run.tags[internals.RANGE_START], run.tags[internals.RANGE_END]
    return table.definition.get_partition_keys_in_range(dg.PartitionKeyRange(*ends))


def _look_at_check(box: Outbox, found: dg.AssetCheckEvaluation) -> None:
    asset, partition = found.asset_key.to_user_string(), found.partition
    name = f"{asset}:{found.check_name}:{partition}"
    if found.passed or found.severity is dg.AssetCheckSeverity.WARN:
        box.resolve(name)
        return
    pages = f"assets/{asset}?view=checks&checkDetail={found.check_name}"
    # A partition's page shows its check and its run; the check's page shows only the last partition.
    page = _page(asset, partition) if partition else pages
    numbers = [(key, value.value) for key, value in found.metadata.items() if isinstance(value, dg.IntMetadataValue)]
    counts = {key: count for key, count in numbers if count}
    remedy, keys = remedies.of_check(found.check_name), _keys_of(found)
    listed = keys[:_KEYS]
    fault = AlertFault(
        found.check_name, "does not hold", remedy, page, pages, partition, counts, listed, len(keys) - len(listed)
    )
    box.put(name, fault)


def _page(asset: str, partition: str) -> str:
    return f"assets/{asset}?view=partitions&partition={partition}"


def _keys_of(found: dg.AssetCheckEvaluation) -> tuple[str, ...]:
    """Key and field of each fault that the check lists."""
    tables = [value for value in found.metadata.values() if isinstance(value, dg.TableMetadataValue)]
    records = [record.data for table in tables for record in table.records if "key" in record.data]
    return tuple(map(_key, records))


def _key(record: Mapping[str, Any]) -> str:
    place = f" in {record['partition']}" if "partition" in record else ""
    return f"{record['key']}{place}: {record['field']}" if "field" in record else str(record["key"])


def _of_ledger(table: Table, partition: str, failures: Sequence[Failure]) -> AlertFault:
    asset = table.asset(MIGRATED)
    return AlertFault(
        "failure ledger",
        "not empty",
        remedies.LEDGER,
        _page(asset, partition),
        f"assets/{asset}?view=partitions",
        partition,
        {"failed": len(failures)},
        tuple(f"{each.row_id}: {each.field or 'the whole item'} ({each.code})" for each in failures[:_KEYS]),
        max(0, len(failures) - _KEYS),
    )


def _not_set() -> dg.SkipReason:
    return dg.SkipReason("IMGMIG_ALERT_WEBHOOK is not set")
