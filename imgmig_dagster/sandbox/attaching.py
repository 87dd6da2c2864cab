"""Attaches a stage to the sandbox, if it uses one. Reading the stage's settings (`stage.config`) starts nothing."""

from imgmig_dagster.sandbox.environment import Sandbox
from imgmig_dagster.stage.config import sandbox_root, uses_sandbox
from imgmig_dagster.stage.stages import Stage


def attach(stage: Stage) -> None:
    """Start the sandbox if the stage uses it and it does not run; do nothing for other stages."""
    if uses_sandbox(stage):
        Sandbox(sandbox_root()).start()


def require_running(stage: Stage) -> None:
    """Raise `SandboxNotRunning` if the stage uses a sandbox that does not run; start nothing."""
    if uses_sandbox(stage):
        Sandbox(sandbox_root()).require_running()
