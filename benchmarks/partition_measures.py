"""The measures of what partitions cost: Dagster around the domain's calls, the command line, a backfill from the UI.

What a row costs is in `measures`.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from benchmarks import servers
from benchmarks.backfill import seconds_of_backfill, seconds_of_one_run, user_interface
from benchmarks.before import Version, versions
from benchmarks.bench import Bench
from benchmarks.job import Job, Sample
from benchmarks.results import Figure, Goal, Measured
from benchmarks.source_tables import FIRST_DAY, make_daily_table
from benchmarks.turns import take_turns, way

_FIRST_MONTH: Final = "2023-01-01"
_MONTHS: Final = [f"{year}-{month:02}-01" for year in (2023, 2024) for month in range(1, 13)]
_BEFORE: Final = "the earlier commit"
_NO_COMMIT: Final = "side by side only with --before COMMIT"


def command(bench: Bench) -> Measured:
    """`imgmig migrate` as a person runs it, and the domain's calls behind it."""
    rows, months = bench.scale.command_rows, len(_MONTHS)
    bench.sandbox.seed_synthetic(rows)
    names = ("imgmig migrate", "the migration's calls alone")

    def job(name: str, rows: int, url: str) -> Job:
        return bench.job(name, rows, url, "images", months=months)

    with servers.stub() as url:
        ways = {name: way(bench, job, name, rows, url, _FIRST_MONTH) for name in names}
        samples = take_turns(bench, ways, bench.scale.command_repetitions)
    whole, calls = (samples[name] for name in names)
    return Measured(
        "command",
        [
            Figure(
                f"`imgmig migrate` of {rows:,} rows in {months} partitions, divided by the domain's calls alone",
                _walls(whole, calls),
                Goal(1.5, "≤ 1.50"),
            ),
            Figure("`imgmig migrate` of these, start to end", [a.wall_s for a in whole], digits=1, unit=" s"),
        ],
        samples,
    )


def partitions(bench: Bench) -> Measured:
    """What Dagster costs for each of many partitions of one row."""
    days = bench.scale.days
    whole, calls = _daily(bench, days, 1, "imgmig migrate", "the migration's calls alone")
    return Measured(
        "partitions",
        [
            Figure(
                f"Orchestration: CPU of `imgmig migrate` beyond the domain's calls, per partition, {days:,} of 1 row",
                [1e3 * (a.cpu_s - b.cpu_s) / days for a, b in zip(whole, calls, strict=True)],
                Goal(20, "≤ 20 ms"),
                digits=1,
                unit=" ms",
            )
        ],
        {f"{days:,} partitions, imgmig migrate": whole, f"{days:,} partitions, the domain's calls alone": calls},
    )


def daily(bench: Bench) -> Measured:
    """Years of daily partitions: migrated, verified and reported by the command line, and by the domain's calls."""
    days, rows = bench.scale.daily_partitions, bench.scale.rows_a_day
    whole, calls = _daily(bench, days, rows, "imgmig migrate and verify", "the calls of both alone")
    subject = f"{days:,} daily partitions of {rows:,} rows, `imgmig migrate` and `imgmig verify`"
    return Measured(
        "daily",
        [
            Figure(f"{subject}, divided by the domain's calls alone", _walls(whole, calls), Goal(2.0, "≤ 2.00")),
            Figure(f"{subject}: peak memory", [a.peak_mb for a in whole], Goal(400, "≤ 400 MB"), 0, " MB"),
        ],
        {f"daily, {name}": found for name, found in (("imgmig", whole), ("the domain's calls alone", calls))},
    )


def backfill(bench: Bench) -> Measured:
    """The demo's 24 partitions from the UI, in one run and as a backfill, compared with a backfill at an earlier
    commit."""

    def took(version: Version, seconds: Callable[[str, Sequence[str]], float]) -> float:
        version.imgmig("sandbox", "seed", "--images", str(bench.scale.command_rows))
        try:
            with user_interface(version) as url:
                return seconds(url, _MONTHS)
        finally:
            version.imgmig("sandbox", "delete", "--yes")

    ways = {
        "The demo's 24 partitions from the UI in one run": partial(took, seconds=seconds_of_one_run),
        "Backfill of the demo's 24 partitions from the UI": partial(took, seconds=seconds_of_backfill),
    }
    return Measured("backfill", _side_by_side(bench, ways, 0.2))


def demo(bench: Bench) -> Measured:
    """The demo, from nothing to a verdict, compared with an earlier commit."""

    def took(version: Version) -> float:
        started = time.monotonic()
        try:
            version.imgmig("demo", "--images", str(bench.scale.command_rows))
            return time.monotonic() - started
        finally:
            version.imgmig("sandbox", "delete", "--yes")

    return Measured("demo", _side_by_side(bench, {"`imgmig demo`, as `make demo` after installation": took}, 0.55))


def _daily(bench: Bench, days: int, rows: int, whole: str, calls: str) -> tuple[list[Sample], list[Sample]]:
    table = make_daily_table(bench.owner, days, rows)

    def job(name: str, rows: int, url: str) -> Job:
        return bench.job(name, rows, url, table, days=days)

    with servers.stub(remember=True) as url:
        ways = {name: way(bench, job, name, days * rows, url, FIRST_DAY.date().isoformat()) for name in (whole, calls)}
        samples = take_turns(bench, ways, bench.scale.daily_repetitions)
    return samples[whole], samples[calls]


def _walls(ours: list[Sample], theirs: list[Sample]) -> list[float]:
    return [a.wall_s / b.wall_s for a, b in zip(ours, theirs, strict=True)]


def _side_by_side(bench: Bench, ways: Mapping[str, Callable[[Version], float]], limit: float) -> list[Figure]:
    """The ways of the current code, and the last of them at the earlier commit, each turn in new sandboxes."""
    seconds: dict[str, list[float]] = {}
    *_, last = ways
    for _turn in range(bench.scale.side_by_side_repetitions):
        current, *earlier = versions(bench.before, bench.new_folder())
        turn = [(name, current, measure) for name, measure in ways.items()]
        for name, version, measure in [*turn, *((_BEFORE, version, ways[last]) for version in earlier)]:
            took = measure(version)
            bench.say(f"  {name}: {took:,.0f} s")
            seconds.setdefault(name, []).append(took)
    before = seconds.pop(_BEFORE, [])
    figures = []
    for name, ours in seconds.items():
        subject = f"{name}, divided by {last} at {bench.before or 'an earlier commit'}"
        ratios = [a / b for a, b in zip(ours, before, strict=True)] if before else []
        figures += [
            Figure(subject, ratios, Goal(limit, f"≤ {limit:.2f}"), note=_NO_COMMIT),
            Figure(name, ours, digits=0, unit=" s"),
        ]
    return figures
