"""Writes the events of one partition to Dagster's event log: six statements in one transaction (`event_tables`).

Dagster itself writes one event at a time: some forty statements for a partition and its checks, several times the CPU
of the partition's own work (docs/benchmarks.md). We write the same events, which a test checks. Like `dagster_events`,
this module uses private parts of Dagster.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from typing import Any, Final, cast

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import (
    AssetCheckEvaluationTargetMaterializationData,
)
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.events import DagsterEvent
from dagster._core.events.log import EventLogEntry
from dagster._core.execution.context.system import StepExecutionContext
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage

from imgmig_dagster.local_runs.event_tables import EventTables

_MATERIALIZED: Final = dg.DagsterEventType.ASSET_MATERIALIZATION


class _Unlogged:
    """A step's context that does not log events one by one."""

    def __init__(self, step: StepExecutionContext) -> None:
        self.job_name = step.job_name
        self.step = step.step
        self.event_tags = step.event_tags
        self.log = self

    def log_dagster_event(self, **_event: object) -> None:
        """Do nothing: our code writes the event."""


class _Versions:
    """The inputs of each partition, by which Dagster tells whether it is out of date.

    Dagster adds them to an op's outputs, but not to events that it logs. Inputs that the run does not make are read
    once for all partitions, as Dagster does when a step begins.
    """

    def __init__(self, storage: SqlEventLogStorage, partitions: Sequence[str]) -> None:
        self._storage = storage
        self._partitions = partitions
        self._known: dict[dg.AssetKey, dict[str, tuple[str, str]]] = {}

    def tags(self, spec: dg.AssetSpec, partition: str, data_version: str) -> Mapping[str, str]:
        """The tags of a materialization with data of that version."""
        tags = {CODE_VERSION_TAG: spec.code_version or "", DATA_VERSION_TAG: data_version}
        unmade = (DEFAULT_DATA_VERSION.value, NULL_EVENT_POINTER)
        for each in spec.deps:
            version, pointer = self._of(each.asset_key).get(partition, unmade)
            tags[get_input_data_version_tag(each.asset_key)] = version
            tags[get_input_event_pointer_tag(each.asset_key)] = pointer
        return tags

    def made(self, key: dg.AssetKey, partition: str, data_version: str, place: int) -> None:
        """Note what this run has made, for the assets that depend on it."""
        self._of(key)[partition] = (data_version, str(place))

    def _of(self, key: dg.AssetKey) -> dict[str, tuple[str, str]]:
        if key not in self._known:
            places = self._storage.get_latest_storage_id_by_partition(key, _MATERIALIZED, set(self._partitions))
            tags = self._storage.get_latest_tags_by_partition(key, _MATERIALIZED, [DATA_VERSION_TAG], self._partitions)
            self._known[key] = {
                partition: (tags.get(partition, {}).get(DATA_VERSION_TAG, DEFAULT_DATA_VERSION.value), str(place))
                for partition, place in places.items()
            }
        return self._known[key]


class PartitionEvents:
    """Records partitions of the op's assets; for one thread.

    `specs` are the assets' specs, by name; `blocking` are their blocking checks, as names of asset and check. `written`
    is for the run's result: an error would drop it.
    """

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        specs: Mapping[str, dg.AssetSpec],
        blocking: Collection[tuple[str, str]],
        partitions: Sequence[str],
    ) -> None:
        self._step: Any = _Unlogged(context.get_step_execution_context())
        self._run_id = context.run.run_id
        self._specs = specs
        self._blocking = blocking
        self._tables = EventTables(cast("SqlEventLogStorage", context.instance.event_log_storage))
        self._versions = _Versions(self._tables.storage, partitions)
        self.written: list[dg.DagsterEvent] = []

    def record(
        self,
        asset: str,
        partition: str,
        facts: Mapping[str, Any],
        results: Sequence[dg.AssetCheckResult],
        version: str | None,
    ) -> None:
        """Record the asset's materialization with `facts`, and its checks.

        `version` is the data version: assets made from the same version stay up to date. By default each run has
        a new one.
        """
        key, data_version = dg.AssetKey(asset), version or self._run_id
        tags = self._versions.tags(self._specs[asset], partition, data_version)
        made = dg.AssetMaterialization(asset, partition=partition, metadata=facts, tags=tags)
        with self._tables.writing(self._run_id) as write:
            [materialized] = write.events([self._entry(DagsterEvent.asset_materialization(self._step, made))])
            write.materialization(materialized, data_version)
            # Without its target, a check's Partitions tab takes the evaluation for one of an earlier materialization.
            target = AssetCheckEvaluationTargetMaterializationData(
                run_id=self._run_id, storage_id=materialized.place, timestamp=materialized.entry.timestamp
            )
            entries = [
                self._entry(
                    DagsterEvent.asset_check_evaluation(self._step, self._evaluation(asset, partition, each, target))
                )
                for each in results
            ]
            evaluated = write.events(entries) if entries else []
            if evaluated:
                write.evaluations(evaluated, materialized.place)
        self._versions.made(key, partition, data_version, materialized.place)
        self.written += [each.entry.get_dagster_event() for each in (materialized, *evaluated)]

    def withdraw(self, kept: Collection[str]) -> None:
        """Withdraw what the run announced of checks, except for the `kept` partitions, and except what was evaluated.

        Otherwise Dagster shows a check as skipped, in red, after a canceled run; now its last verdict shows again.
        """
        with self._tables.writing(self._run_id) as write:
            write.withdraw(self._run_id, kept)

    def _evaluation(
        self,
        asset: str,
        partition: str,
        result: dg.AssetCheckResult,
        target: AssetCheckEvaluationTargetMaterializationData,
    ) -> dg.AssetCheckEvaluation:
        name = result.check_name or ""
        return dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey(asset),
            check_name=name,
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
            blocking=(asset, name) in self._blocking,
            partition=partition,
            target_materialization_data=target,
        )

    def _entry(self, event: DagsterEvent) -> EventLogEntry:
        """The entry that Dagster's log handler would make."""
        return EventLogEntry(  # type: ignore[no-untyped-call]
            error_info=None,
            level=logging.DEBUG,
            user_message=event.message or "",
            run_id=self._run_id,
            timestamp=time.time(),
            step_key=event.step_key,
            job_name=event.job_name,
            dagster_event=event,
        )
