"""The command line over many partitions, and the domain's calls behind it without Dagster.

Where the stage's settings come from is the environment of the measured process.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import Final

import dagster as dg

from benchmarks.job import MARCH, Job, Sample, cpu_seconds, measured, peak_mb
from benchmarks.source_tables import FIRST_DAY
from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.local_runs.runner import JobRunner
from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.render import publish
from imgmig_dagster.stage.stages import Stage, WriteMode
from imgmig_dagster.stage.work import WritingWork
from imgmig_dagster.steps.inventory import Rejections, count_source
from imgmig_dagster.steps.migrate import migrate
from imgmig_dagster.steps.verify import identity_now, verify
from imgmig_dagster.verification.verification_result import Identity
from imgmig_dagster.window import Window, now

_OF_THE_WHOLE_TABLE: Final = ("census", "report")


def command(job: Job) -> Sample:
    """`imgmig migrate` as a process of its own, from its start to its end."""
    return _commands(job, ["migrate"])


def both_commands(job: Job) -> Sample:
    """`imgmig migrate`, then `imgmig verify` of all partitions with its report, each a process of its own."""
    return _commands(job, ["migrate"], ["verify", "--from", _windows(job)[0].partition])


def domain_migration(job: Job) -> Sample:
    """The domain's calls behind `imgmig migrate`, in a process that has imported them."""

    return measured(job.rows, lambda: job.work_on(job.source_table, "state", partial(_migrate, windows=_windows(job))))


def domain_calls(job: Job) -> Sample:
    """The domain's calls behind `both_commands`, in a process that has imported them."""
    windows = _windows(job)

    async def all_of_it(work: WritingWork) -> None:
        await _migrate(work, windows)
        for window in windows:
            await verify(work, window)
        publish(work.state, _report(work, await identity_now(work), windows))

    return measured(job.rows, lambda: job.work_on(job.source_table, "state", all_of_it))


def one_run(job: Job) -> Sample:
    """One run of the job that `Job.run` names, over all months of the work, over March, or of the whole table."""
    months = [window.partition for window in _windows(job)] if job.months else [MARCH.partition]
    definitions = build_definitions(Stage.DEV)
    cpu, wall = cpu_seconds(), time.perf_counter()
    with JobRunner(definitions, Path(os.environ["DAGSTER_HOME"])) as runner:
        _run(runner, job.run, [] if job.run in _OF_THE_WHOLE_TABLE else months)
    return Sample(job.rows, cpu_seconds() - cpu, time.perf_counter() - wall, peak_mb())


def _run(runner: JobRunner, name: str, partitions: Sequence[str]) -> None:
    result = runner.run(name, partitions)
    if result.status is not dg.DagsterRunStatus.SUCCESS:
        raise RuntimeError(f"{name} of {partitions} ended with {result.status}: {result.error}")


def _commands(job: Job, *commands: Sequence[str]) -> Sample:
    before, wall = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    for arguments in commands:
        run = [sys.executable, "-c", "from imgmig_dagster.cli import main; main()", *arguments]
        done = subprocess.run(run, check=False, capture_output=True, text=True)
        if done.returncode:
            raise RuntimeError(f"imgmig {arguments} ended with {done.returncode}: {done.stderr or done.stdout}")
    wall = time.perf_counter() - wall
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Sample(job.rows, cpu, wall, after.ru_maxrss * 1024 / 1e6)


async def _migrate(work: WritingWork, windows: Sequence[Window]) -> None:
    for window in windows:
        await count_source(work, window)
        await migrate(work, window, WriteMode.BATCH, rejections=Rejections(work.source.mapping))


def _report(work: WritingWork, identity: Identity, windows: Sequence[Window]) -> SummaryReport:
    reader = work.source
    counted = reader.rows_per_window(windows)
    outside = reader.rows_outside(windows[0].start, windows[-1].end)
    digests = {window.partition: reader.inventory(window).digest for window in windows}
    facts = RunFacts("bench", now(), now(), identity, {}, {}, False, [], outside.rows)
    return build_report(work.state, "dev", windows, counted, facts, digests)


def _windows(job: Job) -> Sequence[Window]:
    months = [datetime(2023 + month // 12, month % 12 + 1, 1, tzinfo=timezone.utc) for month in range(job.months + 1)]
    days = [FIRST_DAY + timedelta(days=day) for day in range(job.days + 1)]
    starts = days if job.days else months
    return [Window(start.date().isoformat(), start, end) for start, end in zip(starts, starts[1:])]  # noqa: B905, RUF007
