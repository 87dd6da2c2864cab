"""The worker to start on each host: ``celery -A imgmig_dagster.defs.celery_worker:app worker --concurrency 1``.

Broker, backend and options are those of the instance's launcher (`celery_launcher`), from the `dagster.yaml` of
DAGSTER_HOME: launcher and workers read them from the same place.
"""

from functools import cache

from celery import Celery
from dagster_celery.tasks import create_execute_job_task, create_resume_job_task

from imgmig_dagster.defs.celery_launcher import CeleryRunLauncher
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.local_runs.dagster_internals import run_launcher
from imgmig_dagster.local_runs.instance import open_instance
from imgmig_dagster.stage.config import dagster_home, stage_from_env


def __getattr__(name: str) -> Celery:
    """`app`, made when Celery asks for it: importing this module contacts no service."""
    if name == "app":
        return _app()
    raise AttributeError(name)


@cache
def _app() -> Celery:
    try:
        home = dagster_home(stage_from_env())
        # Closed before Celery forks: each run's process opens its own.
        with open_instance(home) as instance:
            launcher = run_launcher(instance)
    except ImgmigError as error:
        raise SystemExit(f"Error: {error}") from None
    if not isinstance(launcher, CeleryRunLauncher):
        raise SystemExit(
            f"Error: {home / 'dagster.yaml'} names another run launcher ({type(launcher).__name__}): take "
            "deploy/celery/dagster.yaml"
        )
    create_execute_job_task(launcher.celery)
    create_resume_job_task(launcher.celery)
    # Loaded once, and shared by the process of each run.
    launcher.celery.conf.include = ["imgmig_dagster.defs.build"]
    return launcher.celery
