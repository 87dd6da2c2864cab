"""What Dagster costs around the domain's calls: the real graph, the same graph with empty bodies, the calls alone.

Where the stage's settings come from is the environment of the measured process.
"""

import os
import resource
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Sequence
from datetime import datetime, timezone
from pathlib import Path

import dagster as dg

from benchmarks.job import MARCH, PAGE, Job, Sample, cpu_seconds, measured, peak_mb
from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.defs.jobs import all_jobs
from imgmig_dagster.local_runs.runner import JobRunner
from imgmig_dagster.migration.inventory import take_inventory
from imgmig_dagster.migration.passes import MigrationRun
from imgmig_dagster.migration.plan import plan
from imgmig_dagster.progress import Progress
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage import Stage, WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.verification.verifier import VerificationRun
from imgmig_dagster.window import Window

_JOBS = ("dry_run", "migrate", "verify")
# The current window is a partition too, so that this one exists, and holds no row.
_WARM_UP = "2025-01-01"


def graph(job: Job) -> Sample:
    """dry_run, migrate and verify of each month, as the command line runs them; `rows` counts these runs."""
    return _run_all(job, build_definitions(Stage.DEV))


def empty_graph(job: Job) -> Sample:
    """The same runs of the same assets, checks, partitions and resources, with bodies that do nothing."""
    return _run_all(job, _with_empty_bodies(build_definitions(Stage.DEV)))


def domain_calls(job: Job) -> Sample:
    """What the bodies of `graph` call, without Dagster; `rows` counts the same runs."""
    windows = _months(job.months)

    def work() -> None:
        for window in windows:
            _take_inventory(job, window)
            state = LocalStateStore(job.folder("state"))
            with job.reader(job.source_table) as reader:
                plan(reader, job.target(), window, PAGE, _ignore, state)
            _take_inventory(job, window)
            _migrate(job, window)
            with job.reader(job.source_table) as reader:
                VerificationRun(reader, job.target(), state, "bench", PAGE, 0.0, _ignore).verify(window)

    return measured(len(windows) * len(_JOBS), work)


def command(job: Job) -> Sample:
    """`imgmig migrate` as a process of its own, from its start to its end."""
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    run = [sys.executable, "-c", "from imgmig_dagster.cli import main; main()", "migrate"]
    done = subprocess.run(run, check=False, capture_output=True, text=True)
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(f"imgmig migrate ended with {done.returncode}: {done.stderr or done.stdout}")
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(job.rows, cpu, wall, after.ru_maxrss / 1e3)


def domain_migration(job: Job) -> Sample:
    """The domain's calls behind `imgmig migrate`, in a process that has imported them."""

    def work() -> None:
        for window in _months(job.months):
            _take_inventory(job, window)
            _migrate(job, window)

    return measured(job.rows, work)


def one_run(job: Job) -> Sample:
    """One run of one job over March, for its memory; the one that `Job.run` names."""
    definitions = build_definitions(Stage.DEV)
    cpu, wall = cpu_seconds(), time.perf_counter()
    with JobRunner(definitions, Path(os.environ["DAGSTER_HOME"])) as runner:
        _run(runner, job.run, None if job.run == "census" else MARCH.partition)
    return Sample(job.rows, cpu_seconds() - cpu, time.perf_counter() - wall, peak_mb())


def _run_all(job: Job, definitions: dg.Definitions) -> Sample:
    keys = [window.partition for window in _months(job.months)]
    with JobRunner(definitions, Path(os.environ["DAGSTER_HOME"])) as runner:
        for name in _JOBS:
            _run(runner, name, _WARM_UP)

        def work() -> None:
            for name in _JOBS:
                for key in keys:
                    _run(runner, name, key)

        return measured(len(keys) * len(_JOBS), work)


def _run(runner: JobRunner, name: str, partition: str | None) -> None:
    result = runner.run(name, partition)
    if result.status is not dg.DagsterRunStatus.SUCCESS:
        raise RuntimeError(f"{name} of {partition} ended with {result.status}: {result.error}")


def _with_empty_bodies(definitions: dg.Definitions) -> dg.Definitions:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=dg.PreviewWarning)
        assets = [_emptied(asset) for asset in definitions.assets or () if isinstance(asset, dg.AssetsDefinition)]
    return dg.Definitions(
        assets=assets,
        jobs=[job for job in all_jobs() if job.name in _JOBS],
        resources=definitions.resources,
        executor=dg.in_process_executor,
    )


def _emptied(real: dg.AssetsDefinition) -> dg.AssetsDefinition:
    spec = real.get_asset_spec(real.key)
    checks = list(real.check_specs)

    @dg.asset(
        key=real.key,
        deps=spec.deps,
        group_name=spec.group_name,
        kinds=set(spec.kinds),
        owners=list(spec.owners),
        description=spec.description,
        partitions_def=real.partitions_def,
        check_specs=checks,
        required_resource_keys=set(real.required_resource_keys),
    )
    def empty() -> dg.MaterializeResult:  # type: ignore[type-arg]
        return dg.MaterializeResult(
            check_results=[dg.AssetCheckResult(check_name=check.name, passed=True) for check in checks]
        )

    return empty


def _take_inventory(job: Job, window: Window) -> None:
    with job.reader(job.source_table) as reader:
        take_inventory(reader, window, PAGE, _ignore)


def _migrate(job: Job, window: Window) -> None:
    with job.reader(job.source_table) as reader:
        _migration(job, reader, window).migrate()


def _migration(job: Job, reader: SourceReader, window: Window) -> MigrationRun:
    return MigrationRun(
        source=reader,
        target=job.target(),
        state=LocalStateStore(job.folder("state")),
        window=window,
        run_id="bench",
        write_mode=WriteMode.BATCH,
        page_size=PAGE,
        settle_seconds=0.0,
        listener=_ignore,
    )


def _months(count: int) -> Sequence[Window]:
    return list(_month_windows(count))


def _month_windows(count: int) -> Iterator[Window]:
    firsts = [datetime(2023 + month // 12, month % 12 + 1, 1, tzinfo=timezone.utc) for month in range(count + 1)]
    for start, end in zip(firsts, firsts[1:]):  # noqa: B905, RUF007  # itertools.pairwise hides the windows' edges
        yield Window(start.date().isoformat(), start, end)


def _ignore(_progress: Progress) -> None:
    pass
