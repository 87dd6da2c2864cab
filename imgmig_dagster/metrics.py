"""The metrics of a run: each declared once, with the numbers behind it.

`metrics_export.py` exports them; docs/metrics.md is generated from here (``python -m imgmig_dagster.metrics``).
`figures.py` declares what a result counts, and `traffic.py` counts requests; nothing is counted twice. No metric holds
a value or an id of a row.
"""

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, TypeAlias

from imgmig_dagster.progress import Listener, Progress
from imgmig_dagster.traffic import Traffic

Points: TypeAlias = Iterable[tuple[float, Mapping[str, str]]]
"""Numbers, each with its own attributes, in addition to those that all have."""


class MetricKind(str, Enum):
    """The kind of a metric, for its backend: counters only rise, within a run."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


class RunMetrics:
    """A run's numbers so far, as its exporter reads them from its own thread.

    `traffic` counts the run's requests. `rate` is the current ceiling in units a second, `in_flight` the number of
    requests in flight.
    """

    def __init__(self) -> None:
        self.traffic = Traffic()
        self.rate: Callable[[], float | None] = lambda: None
        self.in_flight: Callable[[], int] = lambda: 0
        self._processed: Counter[str] = Counter()
        self._under_way: dict[tuple[str, str], Progress] = {}
        self._outcomes: Counter[tuple[str, str]] = Counter()
        self._partitions: Mapping[str, int] = {}
        self._evidence_age_s: float | None = None

    def watching(self, listener: Listener) -> Listener:
        """A listener that counts progress and passes it on."""

        def listen(progress: Progress) -> None:
            key = progress.verb, progress.partition
            last = self._under_way.get(key)
            # If it is less than before, another step of the same partition has begun.
            before = last.done if last is not None and last.done <= progress.done else progress.before
            self._processed[progress.verb.lower()] += progress.done - before
            self._under_way[key] = progress
            listener(progress)

        return listen

    def rows_ended(self, step: str, outcomes: Mapping[str, int]) -> None:
        """Count a finished partition's rows by outcome. A result includes what an earlier run began."""
        for outcome, rows in outcomes.items():
            self._outcomes[step, outcome] += rows

    def judged(self, partitions: Mapping[str, int], evidence_age_s: float | None) -> None:
        """Note what a report judged: the number of partitions by verdict, and the age of the oldest evidence."""
        self._partitions, self._evidence_age_s = dict(partitions), evidence_age_s

    def rows_processed(self) -> Points:
        """By step."""
        return [(rows, {"step": step}) for step, rows in list(self._processed.items())]

    def rows_left(self) -> Points:
        """By step, of the partitions under way."""
        left: Counter[str] = Counter()
        for progress in list(self._under_way.values()):
            left[progress.verb.lower()] += progress.total - progress.done
        return [(rows, {"step": step}) for step, rows in left.items()]

    def rows_by_outcome(self) -> Points:
        """By step and outcome."""
        return [(rows, {"step": step, "outcome": outcome}) for (step, outcome), rows in list(self._outcomes.items())]

    def capacity_units(self) -> Points:
        """By kind."""
        return [(self.traffic.read_units, {"kind": "read"}), (self.traffic.write_units, {"kind": "write"})]

    def requests(self) -> Points:
        """By kind."""
        writes = self.traffic.writes_sent
        return [(self.traffic.requests - writes, {"kind": "read"}), (writes, {"kind": "write"})]

    def rate_ceiling(self) -> Points:
        """One, where there is a ceiling."""
        rate = self.rate()
        return [] if rate is None else [(rate, {})]

    def partitions(self) -> Points:
        """By verdict."""
        return [(count, {"verdict": verdict}) for verdict, count in self._partitions.items()]

    def evidence_age(self) -> Points:
        """One, where there is any evidence."""
        return [] if self._evidence_age_s is None else [(self._evidence_age_s, {})]


@dataclass(frozen=True)
class Metric:
    """A metric; `read` gives its points. A histogram has none: it is recorded answer by answer."""

    name: str
    kind: MetricKind
    unit: str
    meaning: str
    attributes: tuple[str, ...] = ()
    read: Callable[[RunMetrics], Points] = lambda _run: ()


DURATION: Final = Metric(
    "imgmig.request.duration",
    MetricKind.HISTOGRAM,
    "s",
    "how long DynamoDB took to answer, as the run saw it",
    ("kind",),
)
METRICS: Final = (
    Metric(
        "imgmig.rows.processed",
        MetricKind.COUNTER,
        "{row}",
        "rows that the run has processed so far",
        ("step",),
        RunMetrics.rows_processed,
    ),
    Metric(
        "imgmig.rows.left",
        MetricKind.GAUGE,
        "{row}",
        "rows of the running partitions that the run has not processed yet",
        ("step",),
        RunMetrics.rows_left,
    ),
    Metric(
        "imgmig.rows",
        MetricKind.COUNTER,
        "{row}",
        "rows by outcome of migration and verdict of verification, counted when their partition is done",
        ("step", "outcome"),
        RunMetrics.rows_by_outcome,
    ),
    Metric(
        "imgmig.requests",
        MetricKind.COUNTER,
        "{request}",
        "requests to DynamoDB that were sent, each try counted",
        ("kind",),
        RunMetrics.requests,
    ),
    Metric(
        "imgmig.requests.retried",
        MetricKind.COUNTER,
        "{request}",
        "tries after a transient error",
        (),
        lambda run: [(run.traffic.retries, {})],
    ),
    Metric(
        "imgmig.requests.throttled",
        MetricKind.COUNTER,
        "{reply}",
        "replies that throttled",
        (),
        lambda run: [(run.traffic.throttles, {})],
    ),
    Metric(
        "imgmig.requests.in_flight",
        MetricKind.GAUGE,
        "{request}",
        "requests in flight now; their limit adapts to latency and throttling",
        (),
        lambda run: [(run.in_flight(), {})],
    ),
    DURATION,
    Metric(
        "imgmig.capacity",
        MetricKind.COUNTER,
        "{unit}",
        "capacity units that DynamoDB reported",
        ("kind",),
        RunMetrics.capacity_units,
    ),
    Metric(
        "imgmig.rate.ceiling",
        MetricKind.GAUGE,
        "{unit}/s",
        "what the run may use now; no value without a ceiling or throttling",
        (),
        RunMetrics.rate_ceiling,
    ),
    Metric(
        "imgmig.partitions",
        MetricKind.GAUGE,
        "{partition}",
        "partitions by verdict, as the last report judged them",
        ("verdict",),
        RunMetrics.partitions,
    ),
    Metric(
        "imgmig.evidence.age",
        MetricKind.GAUGE,
        "s",
        "age of the oldest partition's evidence when the last report was made",
        (),
        RunMetrics.evidence_age,
    ),
)


def table() -> str:
    """The metrics as docs/metrics.md has them."""
    lines = ["| metric | kind | unit | attributes | meaning |", "|---|---|---|---|---|"]
    for each in METRICS:
        attributes = ", ".join(f"`{name}`" for name in each.attributes)
        lines.append(f"| `{each.name}` | {each.kind.value} | `{each.unit}` | {attributes} | {each.meaning} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(table())
