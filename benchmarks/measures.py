"""The measures of what a row costs; what a partition costs is in `partition_measures`."""

from collections.abc import Callable, Mapping
from typing import Final

from benchmarks import partition_measures, servers
from benchmarks.bench import Bench
from benchmarks.job import Sample
from benchmarks.results import Figure, Goal, Measured, ratios
from benchmarks.servers import NotAvailable
from benchmarks.turns import Way, speeds, take_turns, way

_OURS_BATCH: Final = "imgmig_dagster, batch"
_OURS_CONDITIONAL: Final = "imgmig_dagster, conditional"
_OURS_VERIFICATION: Final = "imgmig_dagster, verification"
_BATCH_WRITER: Final = "boto3 batch_writer"
_PUT_ITEMS: Final = "boto3 put_item, 10 threads"
_BATCH_GET: Final = "boto3 resource batch_get_item"
_LATENCY_MS: Final = 5
_NODE: Final = "AWS SDK for JavaScript v3, 10 in flight"


def batch_mode(bench: Bench) -> Measured:
    """CPU per item from SQL rows to confirmed writes, against a server that answers at once."""
    rows, missing_node = bench.scale.rows, ""
    with servers.stub() as url:
        ways: dict[str, Way] = {name: way(bench, bench.job, name, rows, url) for name in (_OURS_BATCH, _BATCH_WRITER)}
        try:
            servers.install_node_packages(bench.cache)
            ways[_NODE] = lambda: bench.run_node("batch.mjs", bench.job(_NODE, rows, url))
        except NotAvailable as reason:
            missing_node = str(reason)
        samples = take_turns(bench, ways)
        stages = bench.run(bench.job("stages of batch mode", rows, url)).parts
    ours = samples[_OURS_BATCH]
    return Measured(
        "batch mode",
        [
            Figure(
                "Batch mode: CPU per item, divided by boto3 batch_writer's",
                ratios(ours, samples[_BATCH_WRITER]),
                Goal(1 / 4, "≤ 0.25, reach 0.20", reach=1 / 5),
                digits=3,
            ),
            Figure(
                "Batch mode: CPU per item, divided by AWS SDK for JavaScript v3's",
                ratios(ours, samples[_NODE]) if _NODE in samples else [],
                Goal(1.0, "< 1, reach 0.60", reach=0.6),
                digits=3,
                note=missing_node,
            ),
        ],
        samples,
        stages,
        rows,
    )


def conditional_mode(bench: Bench) -> Measured:
    """CPU per item of conditional writes into an empty table."""
    rows = bench.scale.conditional_rows
    ours = (_OURS_CONDITIONAL, _OURS_BATCH)
    with servers.stub(latency_ms=_LATENCY_MS) as url:
        far = take_turns(bench, {name: way(bench, bench.job, name, rows, url) for name in ours})
    with servers.stub() as url:
        samples = take_turns(bench, {name: way(bench, bench.job, name, rows, url) for name in (*ours, _PUT_ITEMS)})
        stages = bench.run(bench.job("stages of conditional mode", rows, url)).parts
    return Measured(
        "conditional mode",
        [
            Figure(
                "Conditional mode: CPU per item, divided by boto3 PutItem's in ten threads",
                ratios(samples[_OURS_CONDITIONAL], samples[_PUT_ITEMS]),
                Goal(0.05, "≤ 0.05"),
                digits=3,
            ),
            Figure(
                "Conditional mode: CPU per item, divided by batch mode's",
                ratios(samples[_OURS_CONDITIONAL], samples[_OURS_BATCH]),
                Goal(1.6, "≤ 1.6"),
            ),
            Figure(
                f"Conditional mode: items a second at {_LATENCY_MS} ms, divided by batch mode's",
                speeds(far[_OURS_CONDITIONAL], far[_OURS_BATCH]),
                Goal(0.8, "≥ 0.8", at_least=True),
            ),
        ],
        {**samples, **{f"{name}, {_LATENCY_MS} ms": found for name, found in far.items()}},
        stages,
        rows,
    )


def verification(bench: Bench) -> Measured:
    """CPU per row of both reads and the comparison."""
    rows = bench.scale.rows
    with servers.stub(remember=True) as url:
        bench.run(bench.job(_OURS_BATCH, rows, url))
        samples = take_turns(
            bench, {name: way(bench, bench.job, name, rows, url) for name in (_OURS_VERIFICATION, _BATCH_GET)}
        )
        stages = bench.run(bench.job("stages of a verification", rows, url)).parts
    return Measured(
        "verification",
        [
            Figure(
                "Verification: CPU per row, divided by boto3 resource batch_get_item's",
                ratios(samples[_OURS_VERIFICATION], samples[_BATCH_GET]),
                Goal(1 / 2, "≤ 0.50, reach 0.33", reach=1 / 3),
                digits=3,
            )
        ],
        samples,
        stages,
        rows,
    )


def throughput(bench: Bench) -> Measured:
    """Rows a second against ministack, relative to the same requests sent raw."""
    rows = bench.scale.rows
    goal = Goal(0.85, "≥ 0.85", at_least=True)
    writes, reads = (
        f"Throughput against ministack, {what}, divided by that of the same requests replayed raw"
        for what in ("batch mode", "verification")
    )
    try:
        with servers.ministack(bench.new_folder()) as url:

            def on_an_empty_table(way: str) -> Way:
                def run() -> Sample:
                    job = bench.job(way, rows, url)
                    servers.empty_table(url)
                    return bench.run(job)

                return run

            written = take_turns(bench, {name: on_an_empty_table(name) for name in ("raw writes", _OURS_BATCH)})
            read = take_turns(
                bench, {name: way(bench, bench.job, name, rows, url) for name in ("raw reads", _OURS_VERIFICATION)}
            )
    except NotAvailable as reason:
        return Measured("throughput", [Figure(name, [], goal, note=str(reason)) for name in (writes, reads)])
    return Measured(
        "throughput",
        [
            Figure(writes, speeds(written[_OURS_BATCH], written["raw writes"]), goal),
            Figure(reads, speeds(read[_OURS_VERIFICATION], read["raw reads"]), goal),
        ],
        {f"{name}, ministack": found for name, found in {**written, **read}.items()},
    )


def memory(bench: Bench) -> Measured:
    """Peak resident memory of a run's process, Dagster included, over one partition that holds all rows."""
    small, large = bench.scale.small, bench.scale.large
    peaks: dict[str, dict[int, list[float]]] = {name: {} for name in ("migrate", "verify", "census")}
    for rows in (small, large):
        with servers.stub(remember=True) as url:
            for name, by_size in peaks.items():
                # How much memory a run takes hardly varies: the longer jobs are run once.
                times = bench.scale.memory_repetitions if rows <= 100_000 and name == "migrate" else 1
                runs = [bench.run(bench.job("one run", rows, url, run=name)) for _ in range(times)]
                by_size[rows] = [run.peak_mb for run in runs]
                bench.say(f"  {name} of {rows:,} rows: {max(by_size[rows]):,.0f} MB")
    figures = []
    for name, by_size in peaks.items():
        growth = max(by_size[large]) / max(by_size[small])
        figures += [
            Figure(f"Memory: peak of a run of {name}, {rows:,} rows", by_size[rows], _MEMORY_GOAL, 0, " MB")
            for rows in (small, large)
        ]
        figures.append(
            Figure(f"Memory: {name}, {large:,} rows divided by {small:,} rows", [growth], Goal(1.1, "the same: ≤ 1.10"))
        )
    return Measured("memory", figures)


_MEMORY_GOAL: Final = Goal(300, "≤ 300 MB")


def growth(bench: Bench) -> Measured:
    """What a row costs among many, relative to among few."""
    small, large = bench.scale.small, bench.scale.large
    with servers.stub() as url:
        names = {f"{_OURS_BATCH}, {rows:,} rows": rows for rows in (small, large)}
        ways = {name: way(bench, bench.job, _OURS_BATCH, rows, url) for name, rows in names.items()}
        samples = take_turns(bench, ways)
    few, many = samples.values()
    return Measured(
        "growth",
        [
            Figure(
                f"Cost as work grows: CPU per row at {large:,} rows, divided by that at {small:,}",
                ratios(many, few),
                Goal(1.1, "≤ 1.10"),
            )
        ],
        samples,
    )


MEASURES: Final[Mapping[str, Callable[[Bench], Measured]]] = {
    "batch": batch_mode,
    "conditional": conditional_mode,
    "verification": verification,
    "throughput": throughput,
    "memory": memory,
    "growth": growth,
    "command": partition_measures.command,
    "partitions": partition_measures.partitions,
    "daily": partition_measures.daily,
    "demo": partition_measures.demo,
    "backfill": partition_measures.backfill,
}
