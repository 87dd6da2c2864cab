"""Many rows, and a tenth of them: ``python -m benchmarks.large`` prints what each phase of a migration costs.

Ten million rows take about 30 GB of disk, 3 GB of memory and an hour. Each phase is a run of its job in a process of
its own, Dagster included. The rows are made in PostgreSQL, the items kept by the stub.
"""

import argparse
import dataclasses
import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks import servers
from benchmarks.bench import Bench, opened
from benchmarks.job import Job, Sample
from benchmarks.log import say
from benchmarks.scale import DEFAULT
from benchmarks.source_tables import make_large_table
from imgmig_dagster.errors import Interrupted
from imgmig_dagster.stage.stages import WriteMode

_PHASES: Final = {
    "dry run": "dry_run",
    "migrate, conditional mode": "migrate",
    "verify": "verify",
    "census": "census",
    "certificate": "report",
}
_MONTHS: Final = 24
_START: Final = "2023-01-01"
_CACHE: Final = Path(".imgmig/bench")


@dataclass(frozen=True)
class Phase:
    """What one phase took. `scratch_mb` is the most that it held on disk without the state, whose files are counted."""

    sample: Sample
    scratch_mb: float
    state_files: int
    state_mb: float


def main() -> None:
    options = _parse()
    # What ends a run from outside must not leave its servers behind.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with opened(DEFAULT, _CACHE.absolute(), None, say) as bench:
        few, many = (_measure(bench, rows) for rows in (options.beside, options.rows))
    sys.stdout.write("\n".join(["", *_table(options.rows, options.beside, few, many), ""]))


def _measure(bench: Bench, rows: int) -> dict[str, Phase]:
    say(f"Making {rows:,} rows ...")
    table, found = make_large_table(bench.owner, rows), {}
    with servers.stub(remember=True) as url:
        job = bench.job("one run", rows, url, table, months=_MONTHS, write_mode=WriteMode.CONDITIONAL.value)
        for phase, name in _PHASES.items():
            found[phase] = _run(bench, dataclasses.replace(job, run=name))
            sample = found[phase].sample
            say(
                f"{rows:,} rows, {phase}: {sample.cpu_us_per_row:.1f} µs of CPU a row, {sample.wall_s:,.0f} s, "
                f"peak {sample.peak_mb:.0f} MB"
            )
        verdict = _verdict(Path(job.scratch))
    bench.owner.execute(f"DROP TABLE {table}")
    if verdict != "PASS":
        raise RuntimeError(f"the certificate of {rows:,} rows says {verdict}")
    return found


def _run(bench: Bench, job: Job) -> Phase:
    folder = Path(job.scratch)
    with _watched(folder) as largest:
        sample = bench.run(job, _START)
    sizes = _sizes(folder / "stage")
    return Phase(sample, max(largest) / 1e6, len(sizes), sum(sizes) / 1e6)


@contextmanager
def _watched(folder: Path) -> Iterator[list[int]]:
    """The bytes of the folder's files but for the state's, looked at each second."""
    seen, ended = [0], threading.Event()

    def watch() -> None:
        while not ended.wait(1.0):
            seen.append(sum(_sizes(folder)) - sum(_sizes(folder / "stage")))

    watching = threading.Thread(target=watch, daemon=True)
    watching.start()
    try:
        yield seen
    finally:
        ended.set()
        watching.join()


def _sizes(folder: Path) -> list[int]:
    sizes = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                sizes.append(path.stat().st_size)
        except FileNotFoundError:  # of a run that goes on
            continue
    return sizes


def _verdict(folder: Path) -> str:
    (certificate,) = folder.glob("stage/**/reports/certificate.json")
    return str(json.loads(certificate.read_bytes())["verdict"])


def _table(rows: int, beside: int, few: dict[str, Phase], many: dict[str, Phase]) -> Iterator[str]:
    yield (
        f"| phase | µs of CPU per row at {beside:,} | at {rows:,} | ratio | rows/s | peak MB | "
        "scratch on disk, MB | state: files, MB |"
    )
    yield "| --- | --- | --- | --- | --- | --- | --- | --- |"
    for name, phase in many.items():
        before, sample = few[name].sample.cpu_us_per_row, phase.sample
        yield (
            f"| {name} | {before:.1f} | {sample.cpu_us_per_row:.1f} | {sample.cpu_us_per_row / before:.2f} | "
            f"{sample.rows_per_s:,.0f} | {sample.peak_mb:.0f} | {phase.scratch_mb:,.0f} | "
            f"{phase.state_files:,}, {phase.state_mb:,.0f} |"
        )


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.large", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000, help="how many rows are many")
    parser.add_argument("--beside", type=int, default=1_000_000, help="and how many are few")
    return parser.parse_args()


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(Interrupted.exit_code)
