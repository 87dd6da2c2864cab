"""Ways that take turns, so that a disturbance of the machine hits all of them alike."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.bench import Bench
from benchmarks.job import Job, Sample

Way = Callable[[], Sample]


def way(
    bench: Bench,
    job: Callable[[str, int, str], Job],
    name: str,
    rows: int,
    url: str,
    partition_start: str = "2024-03-01",
) -> Way:
    """One way over a job, in a process of its own."""
    return lambda: bench.run(job(name, rows, url), partition_start)


def take_turns(bench: Bench, ways: Mapping[str, Way], repetitions: int | None = None) -> dict[str, list[Sample]]:
    """The samples of each way; in every second turn their order is reversed."""
    samples: dict[str, list[Sample]] = {name: [] for name in ways}
    for repetition in range(repetitions or bench.scale.repetitions):
        order = list(ways) if repetition % 2 == 0 else list(ways)[::-1]
        for name in order:
            sample = ways[name]()
            bench.say(f"  {name}: {sample.cpu_us_per_row:,.0f} µs of CPU a row, {sample.rows_per_s:,.1f} rows/s")
            samples[name].append(sample)
    return samples


def speeds(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """Rows a second of one way relative to another, turn by turn."""
    return [a.rows_per_s / b.rows_per_s for a, b in zip(ours, theirs, strict=True)]
