"""Runs jobs in this process against the stage's Dagster instance, so that the UI shows every event too."""

import contextlib
import logging
import uuid
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Final

import dagster as dg

from imgmig_dagster.errors import FilesUnavailable, ImgmigError, RunFailed
from imgmig_dagster.files import refusal, refusals_as
from imgmig_dagster.local_runs import dagster_internals as internals
from imgmig_dagster.local_runs.instance import CODE_LOCATION, InstanceUnavailable, causes, open_instance, storage_faults
from imgmig_dagster.local_runs.invocation import Lifeline, fail_dead_runs
from imgmig_dagster.local_runs.signals import Signals
from imgmig_dagster.stage.dagster_home import INVOCATIONS

# Keeps Dagster's console lines off the terminal; the event log has them.
_QUIET: Final = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@dataclass(frozen=True)
class RunResult:
    """How one run ended. `error` is what ended it early; None for a run of which only checks failed."""

    run_id: str
    status: dg.DagsterRunStatus
    error: ImgmigError | None

    @property
    def interrupted(self) -> bool:
        """Whether Ctrl-C, or a termination from outside, ended it."""
        return self.status is dg.DagsterRunStatus.CANCELED


class JobRunner:
    """Executes the jobs of `definitions` in process; a context manager, for one thread.

    When a runner starts, it marks the runs of dead processes as failed.
    """

    def __init__(self, definitions: dg.Definitions, dagster_home: Path) -> None:
        self._definitions = definitions
        self._home = dagster_home
        self._resources = contextlib.ExitStack()
        self._instance: dg.DagsterInstance | None = None
        self._signals = Signals()

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

    def run(
        self, job_name: str, partitions: Sequence[str] | None = None, config: Mapping[str, Any] | None = None
    ) -> RunResult:
        """Execute a job, over adjoining partitions where it is partitioned. `config` is its assets' config, by name.

        Raises:
            KeyboardInterrupt: a signal came after the run had ended; the instance has the run's result.
        """
        run_id = str(uuid.uuid4())
        try:
            with storage_faults(self._home):
                return self._run(run_id, job_name, partitions or (), config)
        except InstanceUnavailable as error:
            return RunResult(run_id, dg.DagsterRunStatus.FAILURE, error)

    def _run(
        self, run_id: str, job_name: str, partitions: Sequence[str], config: Mapping[str, Any] | None
    ) -> RunResult:
        if self._instance is None:
            raise RuntimeError("the runner is used outside its `with`")
        instance = self._instance
        ended_by: list[BaseException] = []
        job = internals.job_of(self._definitions, job_name).with_hooks({_keep_the_error(ended_by)})

        def cancel_if_interrupted() -> None:
            if self._signals.arrived():
                # Otherwise an interrupted run would end as a failed one.
                internals.report_canceling(instance, run_id)

        internals.when_a_step_fails(instance, run_id, cancel_if_interrupted)
        run_config = merged(_job_config(job, partitions), _asset_config(config), _QUIET)
        tags = {**_partition_tags(partitions), **self._invocation.tags(run_id)}
        internals.execute(instance, job, run_id, run_config, tags, CODE_LOCATION)
        run = instance.get_run_by_id(run_id)
        status = run.status if run else dg.DagsterRunStatus.FAILURE
        if self._signals.arrived() and status is not dg.DagsterRunStatus.CANCELED:
            raise KeyboardInterrupt
        if status is dg.DagsterRunStatus.FAILURE and not ended_by:
            early = RunFailed(f"run {run_id} of {job_name} failed before its first step: see its page in the UI")
            return RunResult(run_id, status, early)
        return RunResult(run_id, status, our_error(ended_by[0]) if ended_by else None)

    def observe(self, asset: str, facts: Mapping[str, Any]) -> None:
        """Record an observation of an asset outside of any run, with `facts` as its metadata."""
        if self._instance is None:
            raise RuntimeError("the runner is used outside its `with`")
        with storage_faults(self._home):
            self._instance.report_runless_asset_event(dg.AssetObservation(asset, metadata=dict(facts)))


def merged(*configs: Mapping[str, Any]) -> dict[str, Any]:
    """Merge the run configs: a later value replaces an earlier one, everything else stays."""
    result: dict[str, Any] = {}
    for config in configs:
        for key, value in config.items():
            nested = isinstance(value, Mapping) and isinstance(result.get(key), Mapping)
            result[key] = merged(result[key], value) if nested else value
    return result


def _job_config(job: dg.JobDefinition, partitions: Sequence[str]) -> Mapping[str, Any]:
    # Config given to a run replaces the job's whole config, so that the job's own has to be read first.
    if partitions and job.partitioned_config is not None:
        return job.partitioned_config.get_run_config_for_partition_key(partitions[0])
    return internals.config_of(job)


def _asset_config(config: Mapping[str, Any] | None) -> dict[str, Any]:
    return {"ops": {asset: {"config": values} for asset, values in config.items()}} if config else {}


def _partition_tags(partitions: Sequence[str]) -> Mapping[str, str]:
    # The tags that Dagster gives to runs of a backfill, and to a single partition launched in the UI.
    if len(partitions) == 1:
        return {"dagster/partition": partitions[0]}
    if not partitions:
        return {}
    return {internals.RANGE_START: partitions[0], internals.RANGE_END: partitions[-1]}


def _keep_the_error(ended_by: list[BaseException]) -> dg.HookDefinition:
    @dg.failure_hook(name="keep_the_error")
    def keep_the_error(context: dg.HookContext) -> None:
        if context.op_exception is not None:
            ended_by.append(context.op_exception)

    return keep_the_error


def our_error(error: BaseException) -> ImgmigError | None:
    """Our error behind the end of a run or of a part of it; None where a check failed."""
    chain = causes(error)
    for cause in chain:
        if isinstance(cause, ImgmigError):
            return cause
        if isinstance(cause, internals.DagsterAssetCheckFailedError) or is_of_checks(cause):
            return None
    root = chain[-1]
    if isinstance(root, OSError):
        # Such an error's path is no row's value, so the message may hold it.
        return FilesUnavailable(f"{refusal(root)}. Then give the same command again")
    logging.getLogger(__name__).debug("unexpected error", exc_info=error)
    # The message may hold values, so only the event log's stack trace has it.
    return RunFailed(f"an unexpected {type(root).__name__}: see the run's page in the UI")


def is_of_checks(error: BaseException) -> bool:
    """Whether the run failed without an error: blocking checks of its partitions failed."""
    return isinstance(error, dg.Failure) and error.__cause__ is None
