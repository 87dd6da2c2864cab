"""A collector of metrics of the tests' own: OTLP over HTTP, decoded by OpenTelemetry's own messages."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest

from imgmig_dagster_tests.listening import PostHandler, listening


@dataclass(frozen=True)
class Point:
    """A number of one metric, or a histogram's count, of one run."""

    run_id: str
    metric: str
    unit: str
    attributes: dict[str, str]
    value: float


@dataclass
class Collector:
    """What was sent to it. While it `hangs` it takes requests and answers none."""

    url: str = ""
    bodies: list[bytes] = field(default_factory=list)
    paths: set[str] = field(default_factory=set)
    headers: list[dict[str, str]] = field(default_factory=list)
    hangs: bool = False
    asked: threading.Event = field(default_factory=threading.Event)
    answers: threading.Event = field(default_factory=threading.Event)

    def last(self) -> list[Point]:
        """The last point of each metric and its attributes in each run: counters are cumulative."""
        found: dict[tuple[Any, ...], Point] = {}
        for body in self.bodies:
            for point in points(body):
                found[point.run_id, point.metric, tuple(sorted(point.attributes.items()))] = point
        return list(found.values())

    def total(self, metric: str, **attributes: str) -> float:
        """What all runs come to."""
        return sum(
            each.value
            for each in self.last()
            if each.metric == metric and attributes.items() <= each.attributes.items()
        )


def points(body: bytes) -> Iterator[Point]:
    """What a request holds."""
    for of_resource in ExportMetricsServiceRequest.FromString(body).resource_metrics:
        run_id = next(
            each.value.string_value for each in of_resource.resource.attributes if each.key.endswith("nce.id")
        )
        for metric in (metric for scope in of_resource.scope_metrics for metric in scope.metrics):
            kind = metric.WhichOneof("data")
            for point in getattr(metric, kind).data_points:
                attributes = {each.key: each.value.string_value for each in point.attributes}
                value = point.count if kind == "histogram" else point.as_double or point.as_int
                yield Point(run_id, metric.name, metric.unit, attributes, value)


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector that listens while the context lasts."""
    collector = Collector()

    class Handler(PostHandler):
        def answer(self, body: bytes) -> None:
            collector.asked.set()
            if collector.hangs:
                collector.answers.wait()
                return
            compressed = self.headers["Content-Encoding"] == "gzip"
            collector.bodies.append(gzip.decompress(body) if compressed else body)
            collector.paths.add(self.path)
            collector.headers.append(dict(self.headers))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    with listening(Handler) as collector.url:
        try:
            yield collector
        finally:
            collector.answers.set()
