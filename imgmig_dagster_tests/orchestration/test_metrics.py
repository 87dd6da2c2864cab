"""Metrics at a collector, after a real migration and verification, and what a collector that does not answer costs."""

import signal
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from imgmig_dagster.metrics import METRICS
from imgmig_dagster_tests.arrange import image, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, unprocessed
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.collector import Collector, collecting
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished, wait_until

ROWS = [*images_of(2, range(40)), *images_of(3, range(50, 85))]
NOT_INSTALLED = """
import sys
sys.modules["opentelemetry"] = None
from imgmig_dagster.cli import main; main()
"""


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as collector:
        yield collector


def run(commands: CommandServer, platform: Platform, folder: Path, *words: str, **variables: str) -> Finished:
    return commands.run(*words, environment={**platform.environment, **variables}, folder=folder)


def test_a_migration_and_its_verification_are_seen_at_a_collector(
    platform: Platform, commands: CommandServer, collector: Collector, proxy: FaultProxy, tmp_path: Path
) -> None:
    platform.source.insert(ROWS)
    platform.through(proxy.url)
    platform.set(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, IMGMIG_WRITE_RATE="5000")
    platform.set(OTEL_EXPORTER_OTLP_HEADERS="api-key=of-the-backend", OTEL_RESOURCE_ATTRIBUTES="team=photos")
    proxy.inject(unprocessed(5), "BatchWriteItem", times=2)

    assert run(commands, platform, tmp_path, "migrate").exit_code == 0
    sent = len(proxy.calls)
    assert run(commands, platform, tmp_path, "verify").exit_code == 0

    assert collector.total("imgmig.rows", step="migrated", outcome="written") == 75
    assert collector.total("imgmig.rows", step="verified", outcome="match") == 75
    # Of each run by itself, and no row twice.
    assert collector.total("imgmig.rows.processed", step="migrated") == 75
    assert collector.total("imgmig.rows.processed", step="verified") == 75
    assert collector.total("imgmig.rows.left") == 0
    assert collector.total("imgmig.partitions", verdict="PASS") == 2
    assert collector.total("imgmig.capacity", kind="write") == 75
    assert collector.total("imgmig.requests.throttled") == 2
    items = [call for call in proxy.calls if call.operation in ("BatchWriteItem", "BatchGetItem", "Scan", "GetItem")]
    assert collector.total("imgmig.requests") == len(items)
    assert collector.total("imgmig.request.duration") == len(items)
    assert collector.total("imgmig.requests", kind="write") == sum(
        call.operation == "BatchWriteItem" for call in items[:sent]
    )
    found = collector.last()
    assert {each.metric for each in found} == {each.name for each in METRICS}
    assert {(each.metric, each.unit) for each in found} == {(each.name, each.unit) for each in METRICS}
    # One of the migration, one of the verification, one of the census, one of the report.
    assert len({each.run_id for each in found}) == 4
    assert all(each.attributes.items() >= {"stage": "dev", "table": "images"}.items() for each in found)
    declared = {each.name: {"stage", "table", *each.attributes} for each in METRICS}
    assert all(each.attributes.keys() == declared[each.metric] for each in found)
    assert collector.paths == {"/v1/metrics"}
    assert all(each["api-key"] == "of-the-backend" for each in collector.headers)
    assert all(b"photos" in body for body in collector.bodies)


def test_no_metric_bears_an_id_or_a_value_of_a_row(
    platform: Platform, commands: CommandServer, collector: Collector, tmp_path: Path
) -> None:
    platform.source.insert(
        [image(number, original_filename="canary-name", updated_at="infinity") for number in range(5)]
    )
    platform.set(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url)

    assert run(commands, platform, tmp_path, "migrate").exit_code == 1

    assert collector.total("imgmig.rows", outcome="rejected") == 5
    assert [word for word in (row_id(0), "canary-name", "IMG_") if word.encode() in b"".join(collector.bodies)] == []


def test_nothing_is_exported_unless_it_is_asked_for(
    platform: Platform, commands: CommandServer, collector: Collector, tmp_path: Path
) -> None:
    platform.source.insert(ROWS[:3])
    assert run(commands, platform, tmp_path, "migrate").exit_code == 0
    off = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_SDK_DISABLED": "true"}
    assert run(commands, platform, tmp_path, "migrate", **off).exit_code == 0

    assert not collector.asked.is_set()


@pytest.mark.parametrize("hangs", [True, False])
def test_a_collector_that_hangs_or_is_away_changes_nothing_of_a_run(
    platform: Platform, commands: CommandServer, collector: Collector, tmp_path: Path, hangs: bool
) -> None:
    platform.source.insert(ROWS)
    collector.hangs = hangs
    with socket.socket() as nobody_listens:
        nobody_listens.bind(("127.0.0.1", 0))
        url = collector.url if hangs else f"http://127.0.0.1:{nobody_listens.getsockname()[1]}"
        # Often, so that exports fail while the run goes on, too.
        variables = {"OTEL_EXPORTER_OTLP_ENDPOINT": url, "OTEL_METRIC_EXPORT_INTERVAL": "50"}
        finished = run(commands, platform, tmp_path, "migrate", **variables)

    assert (finished.exit_code, finished.told) == (0, "")
    assert "migrated 75, skipped 0, failed 0" in finished.stdout
    assert len(platform.target.items()) == 75
    assert "OTLP" not in finished.stdout
    assert collector.asked.is_set() is hangs


def covered(platform: Platform) -> int:
    """The rows of an interrupted pass that its checkpoint covers."""
    found = platform.state.read(f"{MARCH}/migration-progress.json")
    return sum(orjson.loads(found.content)["checkpoint"]["outcomes"].values()) if found else 0


def test_what_was_counted_is_exported_when_a_run_is_stopped(
    platform: Platform, commands: CommandServer, collector: Collector, proxy: FaultProxy, tmp_path: Path
) -> None:
    platform.source.insert(image(number) for number in range(1_500))
    platform.through(proxy.url)
    platform.set(OTEL_EXPORTER_OTLP_ENDPOINT=collector.url, IMGMIG_PAGE_SIZE="250", IMGMIG_REQUESTS_IN_FLIGHT="4")
    go_on = threading.Event()
    proxy.before(
        lambda: go_on.wait(300),
        "BatchWriteItem",
        times=1_000,
        when=lambda _call: len(proxy.of("BatchWriteItem")) > 50 and not go_on.is_set(),
    )
    command = commands.start("migrate", environment=platform.environment, folder=tmp_path)
    wait_until(lambda: covered(platform) == 1_000)
    command.send(signal.SIGTERM)
    go_on.set()
    stopped = command.wait()

    assert stopped.exit_code == 130
    assert collector.total("imgmig.capacity", kind="write") >= 1_000
    assert collector.total("imgmig.rows.processed", step="migrated") >= 1_000
    # Of a partition that was not finished there are no outcomes yet, and the run that resumes it counts them once.
    assert collector.total("imgmig.rows") == 0
    assert run(commands, platform, tmp_path, "migrate").exit_code == 0
    assert collector.total("imgmig.rows", step="migrated") == 1_500


def test_what_is_asked_for_and_not_installed_is_said(
    platform: Platform, commands: CommandServer, collector: Collector, tmp_path: Path
) -> None:
    platform.source.insert(ROWS[:3])
    environment = {**platform.environment, "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url}
    refused = commands.run("migrate", environment=environment, folder=tmp_path, code=NOT_INSTALLED)
    without = commands.run("migrate", environment=platform.environment, folder=tmp_path, code=NOT_INSTALLED)

    assert refused.exit_code == 2
    assert "pip install 'imgmig-dagster[metrics]'" in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stdout + refused.stderr
    assert without.exit_code == 0
