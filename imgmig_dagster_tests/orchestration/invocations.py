"""Runs as a command leaves them when it is killed: in progress, and nobody works on them."""

from datetime import datetime, timedelta, timezone

import dagster as dg
from dagster._core.remote_origin import RegisteredCodeLocationOrigin, RemoteRepositoryOrigin
from dagster._core.utils import make_new_run_id

from imgmig_dagster.local_runs.instance import CODE_LOCATION
from imgmig_dagster.local_runs.invocation import DEAD_AFTER_S, Invocation
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform


def begun(platform: Platform, instance: dg.DagsterInstance, tags: dict[str, str], run_id: str | None = None) -> str:
    """A run of March that goes on."""
    job = platform.definitions.resolve_job_def("migrate")
    origin = RemoteRepositoryOrigin(RegisteredCodeLocationOrigin(CODE_LOCATION), "__repository__")
    run = instance.create_run_for_job(
        job,
        run_id=run_id,
        tags={"dagster/partition": MARCH, **tags},
        status=dg.DagsterRunStatus.STARTED,
        remote_job_origin=origin.get_job_origin("migrate"),
    )
    return run.run_id


def begun_by(platform: Platform, instance: dg.DagsterInstance, invocation: Invocation) -> str:
    """A run that a command executes."""
    run_id = make_new_run_id()
    return begun(platform, instance, dict(invocation.tags(run_id)), run_id)


def long_ago() -> str:
    """A moment at which a command that beats no more was heard of for the last time."""
    return (datetime.now(tz=timezone.utc) - timedelta(seconds=DEAD_AFTER_S + 60)).isoformat()
