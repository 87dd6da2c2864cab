"""Messages to a webhook: once for each fault, grouped, with what to type, and no secret and no value in them."""

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.local_runs.invocation import Lifeline
from imgmig_dagster.local_runs.runner import JobRunner
from imgmig_dagster.state import names
from imgmig_dagster_tests.arrange import image, row_id
from imgmig_dagster_tests.orchestration.arrange import APRIL, MARCH, Platform, dagster_home, images_of
from imgmig_dagster_tests.orchestration.invocations import begun_by, long_ago
from imgmig_dagster_tests.orchestration.webhooks import Receiver

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")


def tick(platform: Platform, sensor: str, cursor: str | None = None) -> dg.SensorEvaluationContext:
    """Evaluate a polling sensor once, as the daemon does; its context holds the new cursor."""
    repository = platform.definitions.get_repository_def()
    context = dg.build_sensor_context(
        instance=platform.instance,
        cursor=cursor,
        repository_def=repository,
        resources=dict(platform.definitions.resources or {}),
    )
    with context:
        repository.get_sensor_def(sensor).evaluate_tick(context)
    return context


@pytest.fixture
def alerting(platform: Platform, receiver: Receiver) -> Platform:
    """Thirty images in March, migrated, and a webhook."""
    platform.set(IMGMIG_ALERT_WEBHOOK=receiver.url, IMGMIG_UI_URL="https://dagster.internal/")
    platform.source.insert(image(number) for number in range(30))
    platform.succeed("migrate", MARCH)
    return platform


def test_a_failed_check_is_told_once_until_it_fails_otherwise(alerting: Platform, receiver: Receiver) -> None:
    cursor = tick(alerting, "alert_failed_checks").cursor
    alerting.change_item(7, "width", {"N": "1"})
    alerting.run("verify", MARCH)
    cursor = tick(alerting, "alert_failed_checks", cursor).cursor
    [text] = receiver.texts
    assert text.startswith(f"[dev, {MARCH}] zero_mismatches: does not hold (")
    assert f"faults found 1): {row_id(7)}: width. Next: `imgmig repair --stage dev --partition {MARCH}` " in text

    alerting.run("verify", MARCH)
    cursor = tick(alerting, "alert_failed_checks", cursor).cursor
    assert len(receiver.texts) == 1, "the same again"

    alerting.change_item(8, "width", {"N": "1"})
    alerting.run("verify", MARCH)
    cursor = tick(alerting, "alert_failed_checks", cursor).cursor
    assert len(receiver.texts) == 2, "another count"

    alerting.change_item(7, "width", {"N": "640"})
    alerting.change_item(8, "width", {"N": "640"})
    alerting.succeed("verify", MARCH)
    cursor = tick(alerting, "alert_failed_checks", cursor).cursor
    alerting.change_item(7, "width", {"N": "1"})
    alerting.run("verify", MARCH)
    tick(alerting, "alert_failed_checks", cursor)
    assert len(receiver.texts) == 3, "again after it had held"


def test_a_message_that_was_not_taken_is_sent_at_the_next_tick(alerting: Platform, receiver: Receiver) -> None:
    cursor = tick(alerting, "alert_failed_checks").cursor
    alerting.target.delete(3)
    alerting.run("verify", MARCH)
    receiver.statuses = [404]

    cursor = tick(alerting, "alert_failed_checks", cursor).cursor
    assert receiver.texts == []
    tick(alerting, "alert_failed_checks", cursor)
    assert len(receiver.texts) == 1


def test_what_failed_before_anybody_listened_is_not_told(alerting: Platform, receiver: Receiver) -> None:
    alerting.target.delete(3)
    alerting.run("verify", MARCH)

    tick(alerting, "alert_failed_checks")

    assert receiver.texts == []


def test_a_ledger_that_is_not_empty_is_told_once_for_each_count(alerting: Platform, receiver: Receiver) -> None:
    alerting.source.insert([image(99, updated_at="infinity")])
    alerting.run("migrate", MARCH)

    cursor = tick(alerting, "alert_failure_ledgers").cursor
    tick(alerting, "alert_failure_ledgers", cursor)

    [text] = receiver.texts
    assert text.startswith(f"[dev, {MARCH}] failure ledger: not empty (failed 1): {row_id(99)}: updated_at (timestamp_")
    assert f"imgmig retry-failures --stage dev --partition {MARCH}" in text
    page = f"https://dagster.internal/assets/migrated_images?view=partitions&partition={MARCH}"
    assert page in receiver.posts[0]["blocks"][0]["text"]["text"]


def aged(platform: Platform, partition: str, days: int) -> None:
    """Move what the state says of a partition's verification and writes into the past."""
    for name in (names.evidence(partition), names.last_write(partition)):
        stored = platform.state.read(name)
        if stored is not None:
            record = json.loads(stored.content)
            earlier = {key: _earlier(value, days) for key, value in record.items() if key.endswith("_at") and value}
            platform.state.write(name, json.dumps({**record, **earlier}).encode())


def _earlier(moment: str, days: int) -> str:
    return (datetime.fromisoformat(moment) - timedelta(days=days)).isoformat(timespec="milliseconds")


def test_evidence_that_ceased_to_count_and_is_not_renewed_is_told_once_for_all_partitions(
    alerting: Platform, receiver: Receiver
) -> None:
    alerting.source.insert(images_of(4, range(40, 43)))
    for partition in (MARCH, APRIL):
        alerting.succeed("migrate", partition)
        alerting.succeed("verify", partition)
    aged(alerting, MARCH, days=6)
    aged(alerting, APRIL, days=6)
    cursor = tick(alerting, "alert_stale_evidence").cursor
    assert receiver.texts == [], "it still counts"

    for partition in (MARCH, APRIL):
        aged(alerting, partition, days=1)
    cursor = tick(alerting, "alert_stale_evidence", cursor).cursor
    cursor = tick(alerting, "alert_stale_evidence", cursor).cursor
    [both] = receiver.texts
    old = "it is more than 7 days old"
    told = f"does not count (partitions 2): {MARCH}: {old}; {APRIL}: {old}. Next: "
    assert both.startswith(f"[dev, {MARCH}, {APRIL}] evidence: {told}")
    assert f"imgmig verify --stage dev --partition {MARCH} --partition {APRIL}" in both

    alerting.succeed("verify", MARCH)
    cursor = tick(alerting, "alert_stale_evidence", cursor).cursor
    assert receiver.texts == [both], "fewer are no news"
    aged(alerting, MARCH, days=8)
    receiver.statuses = [404]
    cursor = tick(alerting, "alert_stale_evidence", cursor).cursor
    tick(alerting, "alert_stale_evidence", cursor)
    assert receiver.texts[1].startswith(f"[dev, {MARCH}] evidence: does not count: {MARCH}: {old}. Next: ")
    assert len(receiver.texts) == 2


def test_a_migration_that_nobody_verifies_is_stale_after_two_days(alerting: Platform, receiver: Receiver) -> None:
    aged(alerting, MARCH, days=1)
    tick(alerting, "alert_stale_evidence")
    assert receiver.texts == []
    aged(alerting, MARCH, days=2)
    tick(alerting, "alert_stale_evidence")
    [text] = receiver.texts
    assert text.startswith(f"[dev, {MARCH}] evidence: does not count: {MARCH}: it was written, and never verified. ")


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return dagster_home(tmp_path / "dagster_home")


@pytest.fixture
def recorded(alerting: Platform, home: Path) -> Iterator[Platform]:
    """As `alerting`, on an instance of its own, in which the command line's runs are recorded."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        alerting.instance = instance
        yield alerting


def run(platform: Platform, home: Path, job: str, *partitions: str) -> None:
    with JobRunner(platform.definitions, home) as runner:
        for partition in partitions:
            assert runner.run(job, [partition]).status is dg.DagsterRunStatus.FAILURE


def test_runs_of_the_command_line_that_fail_are_told_in_one_message_by_their_class(
    recorded: Platform, home: Path, receiver: Receiver
) -> None:
    cursor = tick(recorded, "alert_failed_runs").cursor
    recorded.set(IMGMIG_TARGET_TABLE="no-such-table")
    run(recorded, home, "migrate", MARCH, APRIL)
    cursor = tick(recorded, "alert_failed_runs", cursor).cursor
    tick(recorded, "alert_failed_runs", cursor)

    [text] = receiver.texts
    assert text.startswith(
        f"[dev, {MARCH}, {APRIL}] run of migrate: failed by TargetRefused (partitions 2). Next: `imgmig doctor"
    )
    assert f"imgmig migrate --stage dev --partition {MARCH} --partition {APRIL}` (docs/runbook.md, Alerts)" in text
    assert "no-such-table" not in json.dumps(receiver.posts)
    assert "https://dagster.internal/runs|" in receiver.posts[0]["blocks"][0]["text"]["text"]


def test_a_run_that_a_check_ended_is_left_to_the_checks_own_message(
    recorded: Platform, home: Path, receiver: Receiver
) -> None:
    cursor = tick(recorded, "alert_failed_runs").cursor
    recorded.target.delete(3)
    run(recorded, home, "verify", MARCH)

    tick(recorded, "alert_failed_runs", cursor)

    assert receiver.texts == []


def test_a_command_that_was_killed_is_found_dead_and_told(recorded: Platform, home: Path, receiver: Receiver) -> None:
    cursor = tick(recorded, "alert_failed_runs").cursor
    with Lifeline(home / "invocations").hold(recorded.instance) as invocation:
        begun_by(recorded, recorded.instance, invocation)
    invocation.beat(recorded.instance, long_ago())

    tick(recorded, "alert_failed_runs", cursor)

    [text] = receiver.texts
    assert text.startswith(f"[dev, {MARCH}] run of migrate: failed: its process is gone. Next: ")
    assert f"imgmig migrate --stage dev --partition {MARCH}" in text


def mismatches_in(platform: Platform, *numbers: int) -> None:
    for number in numbers:
        platform.change_item(number, "width", {"N": "1"})


def test_one_check_of_many_partitions_is_one_message(alerting: Platform, receiver: Receiver) -> None:
    cursor = tick(alerting, "alert_failed_checks").cursor
    alerting.source.insert(images_of(4, range(40, 43)))
    alerting.succeed("migrate", APRIL)
    mismatches_in(alerting, 7, 41)
    for partition in (MARCH, APRIL):
        alerting.run("verify", partition)

    tick(alerting, "alert_failed_checks", cursor)

    [text] = receiver.texts
    assert text.startswith(f"[dev, {MARCH}, {APRIL}] zero_mismatches: does not hold (")
    assert f"{row_id(7)}: width; {row_id(41)}: width. Next: " in text


def test_without_a_webhook_nothing_is_told(platform: Platform, receiver: Receiver) -> None:
    tick(platform, "alert_failed_runs")
    tick(platform, "alert_failed_checks")
    tick(platform, "alert_failure_ledgers")
    tick(platform, "alert_stale_evidence")

    assert receiver.posts == []
