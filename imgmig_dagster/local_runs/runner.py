"""Runs jobs in this process against the stage's Dagster instance, so that every event is in the UI too."""

import contextlib
import logging
import re
import signal
import socket
import uuid
import warnings
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Final

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.execution.api import execute_run
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.storage.tags import MAX_RUNTIME_SECONDS_TAG, REPOSITORY_LABEL_TAG
from dagster_shared.error import SerializableErrorInfo

from imgmig_dagster.dagster_home import INVOCATIONS
from imgmig_dagster.errors import FilesUnavailable, ImgmigError
from imgmig_dagster.files import refusal, refusals_as
from imgmig_dagster.local_runs.instance import CODE_LOCATION, InstanceUnavailable, open_instance, storage_faults
from imgmig_dagster.local_runs.invocation import Lifeline, fail_dead_runs

_REPOSITORY: Final = "__repository__"
_INTERRUPTIONS: Final = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
# Dagster's own console lines stay off the terminal; they are in the event log all the same.
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# Of such a message a person is told the path, which is no row's value.
_OS_REFUSAL: Final = re.compile(
    r"(?:OS|Permission|FileNotFound|FileExists|NotADirectory|IsADirectory)Error: "
    r"\[Errno (?P<errno>\d+)\] [^:']*(?:: '(?P<place>[^']*)')?"
)


@dataclass(frozen=True)
class RunResult:
    """How one run ended. `error` is what ended it early, None for a run whose checks merely did not hold."""

    run_id: str
    status: dg.DagsterRunStatus
    error: ImgmigError | None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C, or a termination from outside, ended it."""
        return self.status is dg.DagsterRunStatus.CANCELED


class RunFailed(ImgmigError):
    """A run ended by an error that nobody foresaw."""

    exit_code = 1


class JobRunner:
    """Executes the jobs of `definitions` in process; a context manager, used by one thread.

    Runs of processes that died without a word are marked as failed when the next runner starts.
    """

    def __init__(self, definitions: dg.Definitions, dagster_home: Path) -> None:
        self._definitions = definitions
        self._home = dagster_home
        self._resources = contextlib.ExitStack()
        self._instance: dg.DagsterInstance | None = None
        self._signals = _Signals()

    def __enter__(self) -> "JobRunner":
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        with self._resources:
            instance = self._resources.enter_context(open_instance(self._home))
            with storage_faults(self._home):
                with refusals_as(FilesUnavailable, self._home, "name another folder by DAGSTER_HOME"):
                    lifeline = Lifeline(self._home / INVOCATIONS)
                    self._invocation = self._resources.enter_context(lifeline.hold(instance))
                self._resources.enter_context(self._signals)
                fail_dead_runs(instance, lifeline)
            self._instance = instance
            self._resources = self._resources.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()

    def run(self, job_name: str, partition: str | None = None, config: Mapping[str, Any] | None = None) -> RunResult:
        """Execute a job, of one partition where it is partitioned. `config` is config of its assets, by their names.

        Raises:
            KeyboardInterrupt: a signal came after the run had ended; the run's own result stands in the instance.
        """
        run_id = str(uuid.uuid4())
        try:
            with storage_faults(self._home):
                return self._run(run_id, job_name, partition, config)
        except InstanceUnavailable as error:
            return RunResult(run_id, dg.DagsterRunStatus.FAILURE, error)

    def _run(self, run_id: str, job_name: str, partition: str | None, config: Mapping[str, Any] | None) -> RunResult:
        if self._instance is None:
            raise RuntimeError("the runner is used outside its `with`")
        instance = self._instance
        job = self._definitions.resolve_job_def(job_name)

        def cancel_when_interrupted(entry: dg.EventLogEntry) -> None:
            event = entry.dagster_event
            error = event.step_failure_data.error if event and event.is_step_failure else None
            if any(cause.cls_name in _INTERRUPTIONS for cause in _chain(error)):
                # Otherwise an interrupted run would end as a failed one.
                run = instance.get_run_by_id(run_id)
                if run is not None:
                    instance.report_run_canceling(run)

        instance.add_event_listener(run_id, cancel_when_interrupted)
        made = instance.create_run_for_job(
            job,
            run_id=run_id,
            run_config={**_job_config(job, partition), **_asset_config(config), **_QUIET},
            tags={
                **job.run_tags,
                **_partition_tags(job, partition),
                # The label puts the run on its job's page.
                REPOSITORY_LABEL_TAG: f"{_REPOSITORY}@{CODE_LOCATION}",
                # No launcher could end it, and a large table takes more than a day.
                MAX_RUNTIME_SECONDS_TAG: "0",
                **self._invocation.tags(run_id),
            },
            # As if the code location had launched it: by this the UI can re-execute it.
            remote_job_origin=RemoteRepositoryOrigin(
                RegisteredCodeLocationOrigin(CODE_LOCATION), _REPOSITORY
            ).get_job_origin(job_name),
        )
        result = execute_run(InMemoryJob(job), made, instance)
        run = instance.get_run_by_id(run_id)
        status = run.status if run else dg.DagsterRunStatus.FAILURE
        if self._signals.arrived() and status is not dg.DagsterRunStatus.CANCELED:
            raise KeyboardInterrupt
        failures = [event.step_failure_data.error for event in result.all_events if event.is_step_failure]
        error = next((_rebuilt(error) for error in failures if error), None)
        if status is dg.DagsterRunStatus.FAILURE and not failures:
            error = RunFailed(f"run {run_id} of {job_name} failed before its first step: see its page in the UI")
        return RunResult(run_id, status, error)

    def observe(self, asset: str, facts: Mapping[str, Any]) -> None:
        """Record something about an asset that no run found, with `facts` as its metadata."""
        if self._instance is None:
            raise RuntimeError("the runner is used outside its `with`")
        with storage_faults(self._home):
            self._instance.report_runless_asset_event(dg.AssetObservation(asset, metadata=dict(facts)))


def _job_config(job: dg.JobDefinition, partition: str | None) -> Mapping[str, Any]:
    # Config that is given to a run replaces the job's own as a whole, so that this has to be asked for first.
    if partition is not None and job.partitioned_config is not None:
        return job.partitioned_config.get_run_config_for_partition_key(partition)
    return job.run_config or {}


def _asset_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"ops": {asset: {"config": values} for asset, values in config.items()}} if config else {}


def _partition_tags(job: dg.JobDefinition, partition: str | None) -> Mapping[str, str]:
    if partition is None or job.partitioned_config is None:
        return {}
    return job.partitioned_config.get_tags_for_partition_key(partition, job_name=job.name)


def _chain(error: SerializableErrorInfo | None) -> Iterator[SerializableErrorInfo]:
    while error is not None:
        yield error
        error = error.cause


def _rebuilt(error: SerializableErrorInfo) -> ImgmigError | None:
    """The error of ours behind a failed step; None where a check did not hold."""
    for cause in _chain(error):
        kind = _error_kinds().get(cause.cls_name or "")
        if kind is not None:
            return kind(cause.message.partition(": ")[2].strip())
        if cause.cls_name == "DagsterAssetCheckFailedError":
            return None
    root = list(_chain(error))[-1]
    if found := _OS_REFUSAL.match(root.message):
        refused = OSError(int(found["errno"]), "", found["place"])
        return FilesUnavailable(f"{refusal(refused)}. Then give the same command again")
    logging.getLogger(__name__).debug("unforeseen error: %s", error.to_string())
    # The message may hold values: it stays in the event log's stack trace.
    return RunFailed(f"an unforeseen {root.cls_name}: see the run's page in the UI")


def _error_kinds() -> dict[str, type[ImgmigError]]:
    kinds, unseen = {}, [ImgmigError]
    while unseen:
        kind = unseen.pop()
        kinds[kind.__name__] = kind
        unseen += kind.__subclasses__()
    return kinds


class _Signals:
    """Notes SIGINT and SIGTERM, those too that come between two runs, where Dagster swallows them."""

    def __enter__(self) -> "_Signals":
        self._receiver, self._sender = socket.socketpair()
        self._receiver.setblocking(False)
        self._sender.setblocking(False)
        self._previous_fd = signal.set_wakeup_fd(self._sender.fileno(), warn_on_full_buffer=False)
        self._previous_handler = signal.signal(signal.SIGTERM, _raise_interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        signal.signal(signal.SIGTERM, self._previous_handler)
        signal.set_wakeup_fd(self._previous_fd)
        self._receiver.close()
        self._sender.close()

    def arrived(self) -> bool:
        """Whether one came since the last question."""
        try:
            return any(number in (signal.SIGINT, signal.SIGTERM) for number in self._receiver.recv(4096))
        except BlockingIOError:
            return False


def _raise_interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
