"""Runs jobs in this process against the stage's Dagster instance, so that every event is in the UI too."""

import contextlib
import fcntl
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
import sqlalchemy
from dagster._core.instance.ref import InstanceRef
from dagster._core.storage.dagster_run import IN_PROGRESS_RUN_STATUSES
from dagster._core.storage.tags import REPOSITORY_LABEL_TAG
from dagster_postgres.utils import DagsterPostgresException
from dagster_shared.error import SerializableErrorInfo

from imgmig_dagster.errors import FilesUnavailable, ImgmigError, SettingsError
from imgmig_dagster.files import refusal, refusals_as

CODE_LOCATION: Final = "imgmig_dagster"
# Tags below `.dagster/` are not shown in the UI's lists.
_INVOCATION_TAG: Final = ".dagster/imgmig/invocation"
_HOST_TAG: Final = ".dagster/imgmig/host"
_INTERRUPTIONS: Final = frozenset({"DagsterExecutionInterruptedError", "KeyboardInterrupt"})
# Dagster's own console lines stay off the terminal; they are in the event log all the same.
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
# Of such a message a person is told the path, which is no row's value.
_OS_REFUSAL: Final = re.compile(
    r"(?:OS|Permission|FileNotFound|FileExists|NotADirectory|IsADirectory)Error: "
    r"\[Errno (?P<errno>\d+)\] [^:']*(?:: '(?P<place>[^']*)')?"
)
_NO_OUTPUT_CAPTURE: Final = {
    "compute_logs": {
        "module": "dagster._core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
}


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


class DagsterUnavailable(ImgmigError):
    """Dagster's storage cannot be opened, as its dagster.yaml describes it."""

    exit_code = 3
    retryable = True


class RunFailed(ImgmigError):
    """A run ended by an error that nobody foresaw."""

    exit_code = 1


class JobRunner:
    """Executes the jobs of `definitions` in process; a context manager, used by one thread.

    Runs of processes that died without a word are marked as failed when the next runner starts on the same host.
    """

    def __init__(self, definitions: dg.Definitions, dagster_home: Path) -> None:
        self._definitions = definitions
        self._home = dagster_home
        self._resources = contextlib.ExitStack()
        self._instance: dg.DagsterInstance | None = None
        self._invocation = uuid.uuid4().hex
        self._signals = _Signals()

    def __enter__(self) -> "JobRunner":
        with _home_refusals(self._home):
            is_home = (self._home / "dagster.yaml").is_file()
        if not is_home:
            raise SettingsError(f"DAGSTER_HOME: there is no dagster.yaml in {self._home}")
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        with self._resources:
            with _storage_named(self._home):
                self._instance = self._resources.enter_context(_open_instance(self._home))
            self._resources.enter_context(self._alive())
            self._resources.enter_context(self._signals)
            with _storage_named(self._home):
                self._fail_dead_runs(self._instance)
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
        if self._instance is None:
            raise RuntimeError("the runner is used outside its `with`")
        instance, run_id = self._instance, str(uuid.uuid4())
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
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            partition_key=partition,
            run_config={**_job_config(job, partition), **_asset_config(config), **_QUIET},
            # The label puts the run on its job's page.
            tags={
                REPOSITORY_LABEL_TAG: f"__repository__@{CODE_LOCATION}",
                _INVOCATION_TAG: self._invocation,
                _HOST_TAG: socket.gethostname(),
            },
            raise_on_error=False,
        )
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
        self._instance.report_runless_asset_event(dg.AssetObservation(asset, metadata=dict(facts)))

    @contextlib.contextmanager
    def _alive(self) -> Iterator[None]:
        """Hold a lock that the kernel drops when this process dies, however it dies."""
        path = self._invocation_file(self._invocation)
        with _home_refusals(self._home):
            path.parent.mkdir(exist_ok=True)
            path.touch()
        with path.open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            try:
                yield
            finally:
                path.unlink()

    def _fail_dead_runs(self, instance: dg.DagsterInstance) -> None:
        for record in instance.get_run_records(dg.RunsFilter(statuses=IN_PROGRESS_RUN_STATUSES)):
            tags = record.dagster_run.tags
            invocation = tags.get(_INVOCATION_TAG)
            if invocation and tags.get(_HOST_TAG) == socket.gethostname() and not self._is_alive(invocation):
                instance.report_run_failed(
                    record.dagster_run, "The imgmig process of this run is gone. Run the command again: it resumes"
                )

    def _is_alive(self, invocation: str) -> bool:
        path = self._invocation_file(invocation)
        try:
            with path.open() as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        path.unlink(missing_ok=True)
        return False

    def _invocation_file(self, invocation: str) -> Path:
        return self._home / "invocations" / invocation


def _home_refusals(home: Path) -> contextlib.AbstractContextManager[None]:
    return refusals_as(FilesUnavailable, home, "name another folder by DAGSTER_HOME")


@contextlib.contextmanager
def _storage_named(home: Path) -> Iterator[None]:
    """What Dagster says of a storage fills a page, and quotes its URL."""
    try:
        yield
    except (dg.DagsterError, DagsterPostgresException, sqlalchemy.exc.SQLAlchemyError) as error:
        raise DagsterUnavailable(
            f"Dagster's storage cannot be opened ({type(error).__name__}): see `storage` in {home / 'dagster.yaml'}. "
            "Set the variables that it names, such as DAGSTER_POSTGRES_URL, in the environment or in the stage's file, "
            "and start its server"
        ) from None


def _open_instance(home: Path) -> dg.DagsterInstance:
    instance = dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_NO_OUTPUT_CAPTURE))
    # dagster-postgres opens a connection per statement, over a hundred a run; pooled, a run takes a quarter.
    instance.optimize_for_webserver(statement_timeout=60_000, pool_recycle=3_600, max_overflow=20)
    if not sqlalchemy.event.contains(sqlalchemy.pool.Pool, "checkout", _ping):
        sqlalchemy.event.listen(sqlalchemy.pool.Pool, "checkout", _ping)
    return instance


def _ping(connection: Any, _record: object, _proxy: object) -> None:
    """A pooled connection may have lost its server meanwhile: try it, and let the pool make a new one."""
    try:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:
        raise sqlalchemy.exc.DisconnectionError from error


def _job_config(job: dg.JobDefinition, partition: str | None) -> Mapping[str, Any]:
    # Config that is given to a run replaces the job's own as a whole, so that this has to be asked for first.
    if partition is not None and job.partitioned_config is not None:
        return job.partitioned_config.get_run_config_for_partition_key(partition)
    return job.run_config or {}


def _asset_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"ops": {asset: {"config": values} for asset, values in config.items()}} if config else {}


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
