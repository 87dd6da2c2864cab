"""Runs spread over several hosts by Celery: Dagster's own launcher, made to notice a host that is gone.

A worker on each host takes the runs (`celery_worker`); `launcher` holds the launchers that need no extra. The package
is the extra `celery` (`pip install imgmig-dagster[celery]`); deploy/celery has the instance's dagster.yaml.
"""

from collections.abc import Mapping
from typing import Any, Final

import dagster as dg
from dagster_celery.launcher import CeleryRunLauncher as _CeleryRunLauncher
from dagster_celery.tags import DAGSTER_CELERY_TASK_ID_TAG

from imgmig_dagster.defs.launcher import KnowsCommands
from imgmig_dagster.local_runs.dagster_internals import CheckRunHealthResult, WorkerStatus, report_canceling
from imgmig_dagster.local_runs.invocation import Invocation
from imgmig_dagster.window import now, seconds_between

SILENCE_S: Final = 120
"""A worker that has not answered for so long is taken for dead, by default."""
_ANSWER_WITHIN_S: Final = 5.0
_SETTINGS: Final = {
    # A process per run, as other launchers have it: no run inherits what an earlier one loaded, or its signal handlers.
    "worker_max_tasks_per_child": 1,
    # A worker that is busy would otherwise keep the next run from an idle one. Celery does it with Redis alone.
    "worker_disable_prefetch": True,
    # Dagster captures a run's output by its file descriptors, which Celery's own streams have not.
    "worker_redirect_stdouts": False,
    "broker_connection_retry_on_startup": True,
    # That a run has started has to be known for as long as it may last: max_runtime_seconds of deploy/celery is a day.
    "result_expires": 7 * 86_400,
}


class CeleryRunLauncher(KnowsCommands, _CeleryRunLauncher):
    """A task of Celery per run, on whichever host has a worker free.

    Celery says of a task that it has started, and never that its host has died since. So the health check asks the
    worker whether it still has the run: a worker that was started anew has not, and one that does not answer for
    `silence_seconds` is taken for dead. Should it live on, cut off, the fence refuses what it sends.
    """

    def __init__(self, silence_seconds: int, config_source: Mapping[str, Any] | None = None, **config: Any) -> None:
        super().__init__(config_source={**_SETTINGS, **(config_source or {})}, **config)
        self._silence_seconds = silence_seconds
        self._silent_since: dict[str, str] = {}

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Dagster's own options, and for how long a silent worker is waited for."""
        description = "For how long a worker may give no answer before its run counts as dead."
        silence = dg.Field(int, is_required=False, default_value=SILENCE_S, description=description)
        return {**dict(_CeleryRunLauncher.config_type()), "silence_seconds": silence}  # type: ignore[arg-type]

    def check_run_worker_health(self, run: dg.DagsterRun) -> CheckRunHealthResult:
        """Whether a worker has the run, or may have it."""
        said = super().check_run_worker_health(run)
        if said.status is not WorkerStatus.RUNNING or Invocation.of(run) is not None:
            return said
        task = self.celery.AsyncResult(run.tags[DAGSTER_CELERY_TASK_ID_TAG])
        worker = (task.info or {}).get("hostname") if task.state == "STARTED" else None
        if worker is None:  # it has ended this moment, and has said how to Dagster
            return said
        asked = self.celery.control.inspect(destination=[worker], timeout=_ANSWER_WITHIN_S)
        answer = asked.query_task(task.id)
        if answer is None:
            return self._silent(worker, task.id)
        self._silent_since.pop(task.id, None)
        if answer.get(worker) or task.state != "STARTED":
            return said
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the worker {worker} was started anew without this run")

    def terminate(self, run_id: str) -> bool:
        """End a run as Ctrl-C would. A command's run ends by itself, once it sees that it is being canceled."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        # Dagster's own does not say so: the run would end as failed, and be retried.
        report_canceling(self._instance, run_id)
        if Invocation.of(run) is not None or DAGSTER_CELERY_TASK_ID_TAG not in run.tags:
            return False
        return bool(super().terminate(run_id))

    def _silent(self, worker: str, task: str) -> CheckRunHealthResult:
        since = self._silent_since.setdefault(task, now())
        if seconds_between(since, now()) < self._silence_seconds:
            return CheckRunHealthResult(WorkerStatus.RUNNING, f"the worker {worker} gives no answer")
        del self._silent_since[task]
        return CheckRunHealthResult(
            WorkerStatus.FAILED, f"the worker {worker} has given no answer for {self._silence_seconds} seconds"
        )
