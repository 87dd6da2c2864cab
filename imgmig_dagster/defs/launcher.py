"""Run launchers for `dagster.yaml` whose health checks know the command line's runs from those that they launched.

Run monitoring asks the launcher whether a run's worker lives, and fails the run where the answer is not yes. A launcher
knows nothing of a run that a command executes in its own process; the command itself says that it lives.
"""

from dagster import DagsterRun
from dagster_aws.ecs import EcsRunLauncher as _EcsRunLauncher

from imgmig_dagster.local_runs.dagster_internals import CheckRunHealthResult, RunLauncher, WorkerStatus
from imgmig_dagster.local_runs.invocation import GONE, Invocation
from imgmig_dagster.window import now


class KnowsCommands(RunLauncher):
    """Put before any launcher of Dagster's: ``class Launcher(KnowsCommands, K8sRunLauncher): ...``."""

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """Of a command's run: whether the command was heard of lately. Of any other what the launcher says."""
        invocation = Invocation.of(run)
        if invocation is None:
            return super().check_run_worker_health(run)
        if invocation.is_silent(self._instance, now()):
            return CheckRunHealthResult(WorkerStatus.FAILED, GONE)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


class EcsRunLauncher(KnowsCommands, _EcsRunLauncher):
    """A task of ECS per run."""
