"""Spreads runs over several hosts by Celery: Dagster's own launcher, extended to notice a lost host.

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
"""By default, a worker counts as dead after this silence."""
_ANSWER_WITHIN_S: Final = 5.0
_SETTINGS: Final = {
    # A process per run, as with other launchers: no run inherits an earlier one's modules or signal handlers.
    "worker_max_tasks_per_child": 1,
    # Otherwise a busy worker would keep the next run from an idle one. Celery supports this only with Redis.
    "worker_disable_prefetch": True,
    # Dagster captures a run's output by file descriptors, which Celery's own streams do not have.
    "worker_redirect_stdouts": False,
    "broker_connection_retry_on_startup": True,
    # The result must outlive the longest run: max_runtime_seconds of deploy/celery is a day.
    "result_expires": 7 * 86_400,
}


class CeleryRunLauncher(KnowsCommands, _CeleryRunLauncher):
    """A task of Celery per run, on any host with a free worker.

    Celery reports that a task has started, but never that its host has died. So the health check asks the worker
    whether it still has the run. A restarted worker does not have it, and one that does not answer for
    `silence_seconds` counts as dead. If it is only cut off and still alive, the fence refuses its requests.
    """

    def __init__(self, silence_seconds: int, config_source: Mapping[str, Any] | None = None, **config: Any) -> None:
        super().__init__(config_source={**_SETTINGS, **(config_source or {})}, **config)
        self._silence_seconds = silence_seconds
        self._silent_since: dict[str, str] = {}

    @classmethod
    def config_type(cls) -> dict[str, Any]:
        """Dagster's own options, and how long to wait for a silent worker."""
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
        if worker is None:  # it has just ended, and has told Dagster how
            return said
        asked = self.celery.control.inspect(destination=[worker], timeout=_ANSWER_WITHIN_S)
        answer = asked.query_task(task.id)
        if answer is None:
            return self._silent(worker, task.id)
        self._silent_since.pop(task.id, None)
        if answer.get(worker) or task.state != "STARTED":
            return said
        return CheckRunHealthResult(WorkerStatus.FAILED, f"the worker {worker} was restarted without this run")

    def terminate(self, run_id: str) -> bool:
        """End a run as Ctrl-C would. A command's run ends by itself, once it sees that it is being canceled."""
        run = self._instance.get_run_by_id(run_id)
        if run is None or run.is_finished:
            return False
        # Dagster's launcher does not report this: the run would end as failed, and be retried.
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
