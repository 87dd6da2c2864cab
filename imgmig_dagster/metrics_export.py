"""Exports a run's metrics by OpenTelemetry, as OTLP over HTTP, if the standard variables name a collector.

`metrics` declares the metrics; `stage.config` reads the variables. A separate thread exports. A collector that is
unreachable, refuses or hangs does not slow the run; it costs at most seconds at the end.
"""

import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from imgmig_dagster import __version__
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.metrics import DURATION, METRICS, Metric, MetricKind, RunMetrics
from imgmig_dagster.transport import is_loopback

if TYPE_CHECKING:
    from opentelemetry.metrics import CallbackOptions, Meter, Observation

_LAST_EXPORT_WITHIN_MS: Final = 5_000
_EXTRA: Final = "opentelemetry.exporter.otlp.proto.http"


@contextmanager
def exported(
    run: RunMetrics, collector: str | None, run_id: str, attributes: Mapping[str, str], log: logging.Logger
) -> Iterator[None]:
    """Export the run's metrics during the context, and once more at its end. Without a `collector`, export nothing.

    That is a URL such as ``https://collector:4318/v1/metrics``. Each metric has the `attributes`; the run's id is an
    attribute of the resource. The first fault in exporting goes to the `log`.

    Raises:
        SettingsError: a collector is named, and the extra `metrics` is not installed, or OpenTelemetry refuses the
        value of one of its variables.
    """
    if collector is None:
        yield
        return
    if not _installed():
        raise SettingsError(
            "OTEL_EXPORTER_OTLP_ENDPOINT asks for metrics, and OpenTelemetry is not installed: pip install "
            "'imgmig-dagster[metrics]', or set OTEL_SDK_DISABLED=true"
        )
    import requests
    from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
    from opentelemetry.sdk.resources import OTELResourceDetector, Resource

    session = requests.Session()
    # Loopback is never proxied.
    session.trust_env = not is_loopback(urlsplit(collector).hostname or "")
    ours = {"service.name": "imgmig", "service.version": __version__, "service.instance.id": run_id}
    with _told_once(log):
        try:
            provider = MeterProvider(
                [PeriodicExportingMetricReader(OTLPMetricExporter(endpoint=collector, session=session))],
                # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win.
                Resource.create(ours).merge(OTELResourceDetector().detect()),
                shutdown_on_exit=False,
            )
        except ValueError as error:
            raise SettingsError(f"OpenTelemetry refuses its settings: {error}. Correct the variable OTEL_...") from None
        meter = provider.get_meter("imgmig_dagster", __version__)
        for metric in METRICS:
            _instrument(meter, metric, run, attributes)
        try:
            yield
        finally:
            run.traffic.on_answer = None
            # It raises if a reader had no time left: only the numbers of the last minute are lost.
            with suppress(Exception):
                provider.shutdown(_LAST_EXPORT_WITHIN_MS)


def _installed() -> bool:
    try:
        return find_spec(_EXTRA) is not None
    except ModuleNotFoundError:
        return False


def _instrument(meter: "Meter", metric: Metric, run: RunMetrics, attributes: Mapping[str, str]) -> None:
    name, unit, meaning = metric.name, metric.unit, metric.meaning
    if metric.kind is MetricKind.COUNTER:
        meter.create_observable_counter(name, [_observing(metric, run, attributes)], unit, meaning)
    elif metric.kind is MetricKind.GAUGE:
        meter.create_observable_gauge(name, [_observing(metric, run, attributes)], unit, meaning)
    elif metric is DURATION:
        histogram = meter.create_histogram(name, unit, meaning)
        reads, writes = {**attributes, "kind": "read"}, {**attributes, "kind": "write"}
        run.traffic.on_answer = lambda is_read, seconds: histogram.record(seconds, reads if is_read else writes)


def _observing(
    metric: Metric, run: RunMetrics, attributes: Mapping[str, str]
) -> "Callable[[CallbackOptions], Iterator[Observation]]":
    from opentelemetry.metrics import Observation

    def observe(_options: "CallbackOptions") -> Iterator[Observation]:
        for value, own in metric.read(run):
            yield Observation(value, {**attributes, **own})

    return observe


@contextmanager
def _told_once(log: logging.Logger) -> Iterator[None]:
    """Sends OpenTelemetry's first complaint to the run's log, and drops the others."""
    theirs = logging.getLogger("opentelemetry")
    theirs.propagate = False
    theirs.handlers = [logging.NullHandler(), _FirstOnly(log)]
    try:
        yield
    finally:
        theirs.handlers = [logging.NullHandler()]


class _FirstOnly(logging.Handler):
    def __init__(self, log: logging.Logger) -> None:
        super().__init__(logging.WARNING)
        self._log = log
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        if not self._told:
            self._told = True
            self._log.warning("metrics are not exported, and the run goes on: %s", record.getMessage())
