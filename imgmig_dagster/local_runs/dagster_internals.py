"""Private parts of Dagster: those of instances and runs. Those of assets' events are in `dagster_events`.

No other module uses any, which a test checks. Public is what `dagster` exports, and what its classes mark as public.
Each new version of Dagster is tested against this module, so pyproject.toml pins the version exactly.
"""

from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from importlib import import_module
from pathlib import Path
from typing import Any, Final, TypeAlias

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition
from dagster._core.errors import DagsterAssetCheckFailedError as DagsterAssetCheckFailedError
from dagster._core.execution.api import execute_run
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.instance.ref import InstanceRef
from dagster._core.launcher import CheckRunHealthResult as CheckRunHealthResult
from dagster._core.launcher import RunLauncher as RunLauncher
from dagster._core.launcher import WorkerStatus as WorkerStatus
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage as SqliteEventLogStorage
from dagster._core.storage.sqlite_storage import DagsterSqliteStorage as DagsterSqliteStorage
from dagster._core.storage.tags import (
    ASSET_PARTITION_RANGE_END_TAG,
    ASSET_PARTITION_RANGE_START_TAG,
    MAX_RUNTIME_SECONDS_TAG,
    REPOSITORY_LABEL_TAG,
)

from imgmig_dagster.local_runs.event_tables import store_batch

AssetJob: TypeAlias = UnresolvedAssetJobDefinition

RANGE_START: Final = ASSET_PARTITION_RANGE_START_TAG
RANGE_END: Final = ASSET_PARTITION_RANGE_END_TAG
"""The tags of a run over several partitions."""

_SPREADING: Final = ("CeleryK8sRunLauncher", "CeleryRunLauncher", "EcsRunLauncher", "K8sRunLauncher")
_EVENTS_AT_ONCE: Final = 1_000
_REPOSITORY: Final = "__repository__"
_NO_OUTPUT_CAPTURE: Final = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}
_KEPT_OPEN: Final = {"module": "imgmig_dagster.local_runs.sqlite_events", "class": "KeptOpenStorage"}


def instance_of(home: Path) -> dg.DagsterInstance:
    """The instance of that folder, for one command: without capture of output, with pooled connections."""
    ref = InstanceRef.from_dir(str(home), overrides=_NO_OUTPUT_CAPTURE)
    if ref.storage_data is not None and ref.storage_data.class_name == DagsterSqliteStorage.__name__:
        kept_open = {**_KEPT_OPEN, "config": ref.storage_data.config_dict}
        ref = InstanceRef.from_dir(str(home), overrides={**_NO_OUTPUT_CAPTURE, "storage": {"custom": kept_open}})
    instance = dg.DagsterInstance.from_ref(ref)
    # dagster-postgres opens a connection per statement, over a hundred a run; with a pool a run takes a quarter of the
    # time.
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3_600, max_overflow=20)
    if isinstance(storage := instance.event_log_storage, SqlEventLogStorage):
        # Dagster asks for each event of a check whether its tables exist, and stores a run's announcements one by one.
        storage.has_table = lru_cache(storage.has_table)  # type: ignore[method-assign]
        storage.store_event_batch = partial(store_batch, storage)  # type: ignore[method-assign]
        instance._get_event_batch_size = lambda: _EVENTS_AT_ONCE  # type: ignore[method-assign]  # noqa: SLF001
    return instance


def job_of(definitions: dg.Definitions, name: str) -> dg.JobDefinition:
    """A job, with everything it needs."""
    return definitions.resolve_job_def(name)


def config_of(job: dg.JobDefinition) -> Mapping[str, Any]:
    """The job's own run config."""
    return job.run_config or {}


def execute(
    instance: dg.DagsterInstance,
    job: dg.JobDefinition,
    run_id: str,
    run_config: Mapping[str, Any],
    tags: Mapping[str, str],
    code_location: str,
) -> None:
    """Execute a job in this process, as a run of the code location, so that the UI can execute it again."""
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(code_location), _REPOSITORY)
    run = instance.create_run_for_job(
        job,
        run_id=run_id,
        run_config=dict(run_config),
        tags={
            **job.run_tags,
            # The label puts the run on its job's page.
            REPOSITORY_LABEL_TAG: f"{_REPOSITORY}@{code_location}",
            # No launcher could end such a run, and a large table takes more than a day.
            MAX_RUNTIME_SECONDS_TAG: "0",
            **tags,
        },
        remote_job_origin=origin.get_job_origin(job.name),
    )
    execute_run(InMemoryJob(job), run, instance)


def when_a_step_fails(instance: dg.DagsterInstance, run_id: str, act: Callable[[], None]) -> None:
    """Call `act` as soon as the failure of a step is stored, before the run ends."""

    def look(entry: dg.EventLogEntry) -> None:
        if entry.dagster_event is not None and entry.dagster_event.is_step_failure:
            act()

    instance.add_event_listener(run_id, look)


def report_canceling(instance: dg.DagsterInstance, run_id: str) -> None:
    """Make a run end as canceled instead of failed."""
    run = instance.get_run_by_id(run_id)
    if run is not None:
        instance.report_run_canceling(run)


def report_failed(instance: dg.DagsterInstance, run: dg.DagsterRun, message: str) -> None:
    """Mark a run as failed whose process is gone."""
    instance.report_run_failed(run, message)


def note(instance: dg.DagsterInstance, key: str, value: str) -> None:
    """Keep a value in Dagster's storage, under our own key."""
    instance.run_storage.set_cursor_values({key: value})


def noted(instance: dg.DagsterInstance, key: str) -> str | None:
    """The value kept under that key."""
    return instance.run_storage.get_cursor_values({key}).get(key)


def pool_limit(instance: dg.DagsterInstance, pool: str) -> int:
    """How many runs the instance admits to a concurrency pool at once: 0 for none, 1 where nothing is set."""
    storage = instance.event_log_storage
    limits = {found.name: found.limit for found in storage.get_pool_limits()}
    said = limits.get(pool, storage.get_pool_config().default_pool_limit)
    return 1 if said is None else said


def allows_one_run_at_a_time(instance: dg.DagsterInstance) -> bool:
    """Whether the instance's queue admits one run at a time."""
    queue = instance.get_concurrency_config().run_queue_config
    return queue is not None and queue.max_concurrent_runs == 1


def limits_pools_by_run(instance: dg.DagsterInstance) -> bool:
    """Whether the pools count runs, and not the ops in them."""
    granularity = instance.get_concurrency_config().pool_config.pool_granularity
    return granularity is not None and granularity.value == "run"


def storage_kind(instance: dg.DagsterInstance) -> str:
    """The kind of storage that keeps the runs: Sqlite, Postgres."""
    return type(instance.run_storage).__name__.removesuffix("RunStorage")


def monitors_runs(instance: dg.DagsterInstance) -> bool:
    """Whether the daemon checks that each run's worker is alive."""
    return instance.run_monitoring_enabled


def launcher_of(instance: dg.DagsterInstance) -> type[RunLauncher] | None:
    """The class of the launcher that `dagster.yaml` names; None where it names none."""
    launcher = instance.get_ref().run_launcher_data
    return getattr(import_module(launcher.module_name), launcher.class_name) if launcher else None


def spreads_runs(instance: dg.DagsterInstance) -> bool:
    """Whether runs work on several hosts. The launcher itself need not be installed here."""
    launcher = instance.get_ref().run_launcher_data if instance.is_persistent else None
    return launcher is not None and launcher.class_name in _SPREADING


def run_launcher(instance: dg.DagsterInstance) -> RunLauncher:
    """The instance's own launcher."""
    return instance.run_launcher


def knows_its_workers(launcher: type[RunLauncher]) -> bool:
    """Whether the launcher can say whether a run's worker is alive."""
    return launcher.supports_check_run_worker_health is not dg.DefaultRunLauncher.supports_check_run_worker_health


def evaluations(instance: dg.DagsterInstance, after: int, limit: int) -> list[tuple[int, dg.AssetCheckEvaluation]]:
    """The checks' evaluations since, in order, each with its place in the event log."""
    wanted = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION, after_cursor=after)
    records = instance.event_log_storage.get_event_records(wanted, limit=limit, ascending=True)
    events = [(record.storage_id, record.event_log_entry.dagster_event) for record in records]
    return [(place, event.asset_check_evaluation_data) for place, event in events if event is not None]


def last_evaluation(instance: dg.DagsterInstance) -> int:
    """The place in the event log of the last evaluation of a check; 0 where there is none."""
    wanted = dg.EventRecordsFilter(dg.DagsterEventType.ASSET_CHECK_EVALUATION)
    last = instance.event_log_storage.get_event_records(wanted, limit=1)
    return last[0].storage_id if last else 0


def failed_partitions(instance: dg.DagsterInstance, run_id: str) -> dict[str | None, str | None]:
    """The partitions that failed in a run over many, each with the class of its error."""
    said = failure.user_failure_data if (failure := _failure_of(instance, run_id)) else None
    failed = said.metadata.get("failed") if said else None
    return dict(failed.value) if isinstance(failed, dg.JsonMetadataValue) and isinstance(failed.value, dict) else {}


def error_classes(instance: dg.DagsterInstance, run_id: str) -> list[str]:
    """The classes of the errors that ended a run, in any of its processes; the cause last."""
    error = failure.error if (failure := _failure_of(instance, run_id)) else None
    names = []
    while error is not None:
        names.append(error.cls_name or "an error")
        error = error.cause
    return names


def _failure_of(instance: dg.DagsterInstance, run_id: str) -> StepFailureData | None:
    failures = instance.get_records_for_run(run_id, of_type=dg.DagsterEventType.STEP_FAILURE, limit=1).records
    event = failures[0].event_log_entry.dagster_event if failures else None
    return event.step_failure_data if event else None


def location_of(run: dg.DagsterRun) -> str | None:
    """A run's code location."""
    return run.remote_job_origin.location_name if run.remote_job_origin is not None else None


def own_location(context: dg.SensorEvaluationContext) -> str | None:
    """A sensor's code location; in a test there is none."""
    return context.code_location_origin.location_name if context.code_location_origin else None
