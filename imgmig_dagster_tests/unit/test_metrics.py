"""What a run's metrics are, and where they go."""

import logging
import os
import re
from pathlib import Path

import pytest

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.metrics import METRICS, RunMetrics, table
from imgmig_dagster.metrics_export import exported
from imgmig_dagster.progress import Progress
from imgmig_dagster.stage.config import metrics_collector
from imgmig_dagster.stage.stages import Stage

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics.md"


@pytest.mark.parametrize(
    ("moments", "processed", "left"),
    [
        ([("p", 100, 1_000, 0), ("p", 350, 1_000, 0)], 350, 650),
        # Rows of an earlier run are none of this one's.
        ([("p", 700, 1_000, 600), ("p", 1_000, 1_000, 600)], 400, 0),
        ([("p", 100, 1_000, 0), ("q", 50, 60, 0), ("p", 200, 1_000, 0)], 250, 810),
        # The same partition once more, from its beginning.
        ([("p", 100, 100, 0), ("p", 40, 100, 0), ("p", 90, 100, 0)], 190, 10),
    ],
)
def test_progress_is_counted_once(moments: list[tuple[str, int, int, int]], processed: int, left: int) -> None:
    run, told = RunMetrics(), list[Progress]()
    listen = run.watching(told.append)
    for partition, done, total, before in moments:
        listen(Progress("Migrated", partition, done, total, 1.0, before=before))

    assert run.rows_processed() == [(processed, {"step": "migrated"})]
    assert run.rows_left() == [(left, {"step": "migrated"})]
    assert len(told) == len(moments)


def test_steps_are_told_apart() -> None:
    run = RunMetrics()
    listen = run.watching(lambda _progress: None)
    listen(Progress("Migrated", "p", 10, 10, 1.0))
    listen(Progress("Verified", "p", 4, 10, 1.0))

    assert run.rows_processed() == [(10, {"step": "migrated"}), (4, {"step": "verified"})]


def test_what_a_part_of_the_traffic_counts_is_counted_for_the_whole() -> None:
    run, answers = RunMetrics(), list[tuple[bool, float]]()
    run.traffic.on_answer = lambda is_read, seconds: answers.append((is_read, seconds))
    one, other = run.traffic.part(), run.traffic.part()
    for part, is_read in ((one, True), (one, False), (other, False)):
        part.sending(is_read)
        part.answered(is_read, 0.02)
        part.paid(1.5, is_read)
    one.retried()
    other.throttled()

    assert run.requests() == [(1, {"kind": "read"}), (2, {"kind": "write"})]
    assert run.capacity_units() == [(1.5, {"kind": "read"}), (3.0, {"kind": "write"})]
    assert (run.traffic.retries, run.traffic.throttles) == (1, 1)
    assert answers == [(True, 0.02), (False, 0.02), (False, 0.02)]
    assert (one.requests, other.requests) == (2, 1)


def test_the_document_has_the_list() -> None:
    assert table() in DOCUMENT.read_text()
    assert all(re.fullmatch(r"imgmig\.[a-z_.]+", each.name) for each in METRICS)
    assert len({each.name for each in METRICS}) == len(METRICS)


@pytest.mark.parametrize(
    ("stage", "variables", "collector"),
    [
        ("prod", {}, None),
        ("prod", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4318"}, "https://c:4318/v1/metrics"),
        ("prod", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4318/"}, "https://c:4318/v1/metrics"),
        # A sidecar: nothing leaves the machine.
        ("prod", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://localhost:4318"}, "http://localhost:4318/v1/metrics"),
        ("dev", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, "http://c:4318/v1/metrics"),
        # One signal's endpoint is taken as it is, and wins.
        (
            "staging",
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "https://m/in"},
            "https://m/in",
        ),
        ("prod", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_SDK_DISABLED": "true"}, None),
        ("prod", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_SDK_DISABLED": "1"}, "https://c/v1/metrics"),
        ("prod", {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c", "OTEL_METRICS_EXPORTER": "none"}, None),
        # Off, it may be anything.
        ("prod", {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c", "OTEL_SDK_DISABLED": "true"}, None),
    ],
)
def test_the_standard_variables_say_where_metrics_go(
    clean_environment: pytest.MonkeyPatch, stage: str, variables: dict[str, str], collector: str | None
) -> None:
    for name, value in variables.items():
        clean_environment.setenv(name, value)

    assert metrics_collector(Stage(stage)) == collector


@pytest.mark.parametrize(
    ("variables", "says"),
    [
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://collector:4318"}, "must be an https:// URL, or of a collector on"),
        (
            {"OTEL_EXPORTER_OTLP_METRICS_ENDPOINT": "http://10.0.0.1/in"},
            "must be an https:// URL, or of a collector on",
        ),
        (
            {"OTEL_EXPORTER_OTLP_ENDPOINT": "https://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"},
            "OTEL_EXPORTER_OTLP_PROTOCOL must be http/protobuf (port 4318)",
        ),
    ],
)
def test_what_cannot_be_exported_safely_is_refused(
    clean_environment: pytest.MonkeyPatch, variables: dict[str, str], says: str
) -> None:
    for name, value in variables.items():
        clean_environment.setenv(name, value)

    with pytest.raises(SettingsError, match=re.escape(says)):
        metrics_collector(Stage.STAGING)


def test_the_stages_file_says_it_too_and_hands_the_rest_to_opentelemetry(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    Path(".env.staging").write_text("OTEL_EXPORTER_OTLP_ENDPOINT=https://c\nOTEL_EXPORTER_OTLP_HEADERS=api-key=k\n")
    # Forgotten again at the end, as what is set by the code under test would not be.
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_HEADERS"):
        clean_environment.setenv(name, "")
        clean_environment.delenv(name)

    assert metrics_collector(Stage.STAGING) == "https://c/v1/metrics"
    assert os.environ["OTEL_EXPORTER_OTLP_HEADERS"] == "api-key=k"


@pytest.mark.parametrize("variable", ["OTEL_METRIC_EXPORT_INTERVAL", "OTEL_METRICS_EXEMPLAR_FILTER"])
def test_a_value_that_opentelemetry_does_not_take_is_a_fault_of_the_settings(
    clean_environment: pytest.MonkeyPatch, variable: str
) -> None:
    clean_environment.setenv(variable, "0")

    with (
        pytest.raises(SettingsError, match="OpenTelemetry refuses its settings"),
        exported(RunMetrics(), "http://127.0.0.1:9/v1/metrics", "run-1", {}, logging.getLogger(__name__)),
    ):
        pytest.fail("no work begins")
