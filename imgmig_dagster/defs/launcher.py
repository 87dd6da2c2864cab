"""Run launchers for `dagster.yaml` whose health checks also know the runs that a command executes itself.

Run monitoring asks the launcher whether a run's worker is alive, and fails the run if not. A launcher does not know a
run that a command executes in its own process; the command itself says that it is alive.
"""

from dagster import DagsterRun
from dagster_aws.ecs import EcsRunLauncher as _EcsRunLauncher

from imgmig_dagster.local_runs.dagster_internals import CheckRunHealthResult, RunLauncher, WorkerStatus
from imgmig_dagster.local_runs.invocation import GONE, Invocation
from imgmig_dagster.window import now


class KnowsCommands(RunLauncher):
    """A mixin for any of Dagster's launchers: ``class Launcher(KnowsCommands, K8sRunLauncher): ...``."""

    def check_run_worker_health(self, run: DagsterRun) -> CheckRunHealthResult:
        """For a command's run: whether the command has beaten lately. For any other run: what the launcher says."""
        invocation = Invocation.of(run)
        if invocation is None:
            return super().check_run_worker_health(run)
        if invocation.is_silent(self._instance, now()):
            return CheckRunHealthResult(WorkerStatus.FAILED, GONE)
        return CheckRunHealthResult(WorkerStatus.RUNNING)


class EcsRunLauncher(KnowsCommands, _EcsRunLauncher):
    """A task of ECS per run."""
