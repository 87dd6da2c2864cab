"""Examines Dagster for `imgmig doctor`: its home, storage and pools, and whether run monitoring knows our commands."""

from functools import partial

import dagster as dg

from imgmig_dagster.defs.resources import TARGET_POOL
from imgmig_dagster.doctor.diagnosis import Examination, Health
from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.local_runs import dagster_internals as internals
from imgmig_dagster.local_runs.instance import open_instance
from imgmig_dagster.stage.config import dagster_home, load_places
from imgmig_dagster.stage.dagster_home import check_dagster_home
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.state.opening import check_shared


def dagster_examinations(stage: Stage) -> list[Examination]:
    """The examinations of the stage's instance; if it cannot be opened, only that."""
    looks = {"home": partial(home, stage)}
    try:
        check_dagster_home(dagster_home(stage), stage)
    except ImgmigError:
        pass
    else:
        looks |= {"storage": partial(storage, stage)}
        try:
            with open_instance(dagster_home(stage)) as instance:
                several_hosts = internals.spreads_runs(instance)
        except ImgmigError:
            pass
        else:
            looks |= {"pools": partial(pools, stage), "run monitoring": partial(monitoring, stage)}
            looks |= {"several hosts": partial(locks, stage)} if several_hosts else {}
    return [Examination("Dagster", thing, look) for thing, look in looks.items()]


def home(stage: Stage) -> tuple[Health, str, str]:
    """Whether the folder exists, with a dagster.yaml, and this user may use it."""
    folder = dagster_home(stage)
    check_dagster_home(folder, stage)
    return Health.OK, str(folder), ""


def storage(stage: Stage) -> tuple[Health, str, str]:
    """Whether the storage answers, and can take as many runs at a time as the queue admits."""
    with open_instance(dagster_home(stage)) as instance:
        kind, one_at_a_time = internals.storage_kind(instance), internals.allows_one_run_at_a_time(instance)
    found = f"{kind}, Dagster {dg.__version__}"
    if kind == "Sqlite" and not one_at_a_time:
        remedy = (
            "set max_concurrent_runs: 1 as in deploy/local/dagster.yaml, or take PostgreSQL as in deploy/dagster.yaml"
        )
        return Health.WARN, f"{found}: it locks under runs at the same time", remedy
    return Health.OK, found, ""


def pools(stage: Stage) -> tuple[Health, str, str]:
    """How many runs the pool admits: they share the write rate."""
    with open_instance(dagster_home(stage)) as instance:
        limit = internals.pool_limit(instance, TARGET_POOL)
        by_run = internals.limits_pools_by_run(instance)
    found = f"{TARGET_POOL} {limit}"
    if not by_run:
        return Health.WARN, f"{found}; not by run", "set concurrency: pools: granularity: run in dagster.yaml"
    if limit < 1:
        return Health.WARN, f"{found}: no run gets in", f"dagster instance concurrency set {TARGET_POOL} 1"
    return Health.OK, f"{found} runs at a time", ""


def locks(stage: Stage) -> tuple[Health, str, str]:
    """Whether the state's locks work on all hosts that take runs."""
    state = load_places(stage).state
    check_shared(state)
    return Health.OK, f"state in {state}", ""


def monitoring(stage: Stage) -> tuple[Health, str, str]:
    """Whether Dagster's daemon would fail the runs that the command line executes."""
    with open_instance(dagster_home(stage)) as instance:
        on, launcher = internals.monitors_runs(instance), internals.launcher_of(instance)
    if not on or launcher is None:
        return Health.OK, "off" if not on else "on", ""
    from imgmig_dagster.defs.launcher import KnowsCommands

    if internals.knows_its_workers(launcher) and not issubclass(launcher, KnowsCommands):
        remedy = (
            "in dagster.yaml set run_launcher: module: imgmig_dagster.defs.launcher, class: EcsRunLauncher (of Celery: "
            "imgmig_dagster.defs.celery_launcher, CeleryRunLauncher); another launcher needs a class like these"
        )
        return Health.FAIL, f"{launcher.__name__} knows no command's run: the daemon marks it as failed", remedy
    return Health.OK, f"on, by {launcher.__name__}", ""
