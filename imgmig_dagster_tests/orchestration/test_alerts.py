"""Messages to a webhook: once for each fault, retried, with no secret and no value in them."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster.alerts import Alert, AlertNotSent, Webhook
from imgmig_dagster.state import names
from imgmig_dagster_tests.arrange import image
from imgmig_dagster_tests.orchestration.arrange import APRIL, MARCH, Platform, images_of

SECRET = "canary-secret-path"


@dataclass
class Receiver:
    """A webhook that keeps what it is sent. `statuses` are its next answers; 200 after them."""

    url: str = ""
    posts: "list[dict[str, Any]]" = field(default_factory=list)
    statuses: "list[int]" = field(default_factory=list)

    @property
    def texts(self) -> "list[str]":
        return [post["text"] for post in self.posts]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            status = received.statuses.pop(0) if received.statuses else 200
            if status == 200:
                received.posts.append(json.loads(body))
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_args: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        received.url = f"http://127.0.0.1:{server.server_address[1]}/{SECRET}"
        yield received
        server.shutdown()


ALERT = Alert("prod", "zero_mismatches", "does not hold", "https://dagster.internal/x", MARCH, {"mismatches": 1_234})


class TestWebhook:
    def test_a_message_names_stage_partition_verdict_counts_and_link(self, receiver: Receiver) -> None:
        Webhook(receiver.url).send(ALERT)

        assert receiver.texts == [f"[prod, {MARCH}] zero_mismatches: does not hold (mismatches 1,234)"]
        assert "<https://dagster.internal/x|Open>" in receiver.posts[0]["blocks"][0]["text"]["text"]

    def test_a_busy_webhook_is_tried_again_and_told_once(self, receiver: Receiver) -> None:
        receiver.statuses = [503, 429, 500]

        Webhook(receiver.url, backoff=0.0).send(ALERT)

        assert len(receiver.posts) == 1

    @pytest.mark.parametrize("statuses", [[404], [302], [503] * 4])
    def test_a_webhook_that_does_not_take_it_is_an_error_without_its_url(
        self, receiver: Receiver, statuses: "list[int]"
    ) -> None:
        receiver.statuses = statuses

        with pytest.raises(AlertNotSent, match="IMGMIG_ALERT_WEBHOOK") as caught:
            Webhook(receiver.url, backoff=0.0).send(ALERT)

        assert SECRET not in str(caught.value)
        assert receiver.posts == []

    def test_a_webhook_that_is_not_there_is_an_error_without_its_url(self) -> None:
        with pytest.raises(AlertNotSent) as caught:
            Webhook(f"http://127.0.0.1:1/{SECRET}", backoff=0.0).send(ALERT)

        assert SECRET not in str(caught.value)

    def test_nothing_from_outside_becomes_a_mention_or_a_link(self, receiver: Receiver) -> None:
        Webhook(receiver.url).send(Alert("prod", "<!channel> & co", "failed", "https://x"))

        assert receiver.texts == ["[prod] &lt;!channel&gt; &amp; co: failed"]


def tick(platform: Platform, sensor: str, cursor: "str | None" = None) -> dg.SensorEvaluationContext:
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
    assert "mismatches 1" in text

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

    assert receiver.texts == [f"[dev, {MARCH}] failure ledger: not empty (failed 1)"]
    assert "https://dagster.internal/assets/migrated_images" in receiver.posts[0]["blocks"][0]["text"]["text"]


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
    expected = f"[dev, {MARCH}] evidence: does not count: it is more than 7 days old (partitions 2)"
    assert receiver.texts == [expected]

    alerting.succeed("verify", MARCH)
    cursor = tick(alerting, "alert_stale_evidence", cursor).cursor
    assert receiver.texts == [expected], "fewer are no news"
    aged(alerting, MARCH, days=8)
    receiver.statuses = [404]
    cursor = tick(alerting, "alert_stale_evidence", cursor).cursor
    tick(alerting, "alert_stale_evidence", cursor)
    assert receiver.texts == [expected, expected.replace("partitions 2", "partitions 1")]


def test_a_migration_that_nobody_verifies_is_stale_after_two_days(alerting: Platform, receiver: Receiver) -> None:
    aged(alerting, MARCH, days=1)
    tick(alerting, "alert_stale_evidence")
    assert receiver.texts == []
    aged(alerting, MARCH, days=2)
    tick(alerting, "alert_stale_evidence")
    assert receiver.texts == [
        f"[dev, {MARCH}] evidence: does not count: it was written, and never verified (partitions 1)"
    ]


def failed_run(platform: Platform, job: str) -> None:
    """Evaluate the run failure sensor for a run that has just failed."""
    result = platform.run(job, MARCH)
    assert not result.success
    repository = platform.definitions.get_repository_def()
    context = dg.build_run_status_sensor_context(
        sensor_name="alert_failed_runs",
        dagster_instance=platform.instance,
        dagster_run=result.dagster_run,
        dagster_event=result.get_run_failure_event(),
        resources=dict(platform.definitions.resources or {}),
    )
    repository.get_sensor_def("alert_failed_runs")(context.for_run_failure())


def test_a_run_that_fails_by_an_error_is_told_by_its_class(alerting: Platform, receiver: Receiver) -> None:
    alerting.set(IMGMIG_TARGET_TABLE="no-such-table")

    failed_run(alerting, "migrate")

    assert receiver.texts == [f"[dev, {MARCH}] run of migrate: failed by TargetRefused"]
    assert "no-such-table" not in json.dumps(receiver.posts)


def test_a_run_that_a_check_ended_is_left_to_the_checks_own_message(alerting: Platform, receiver: Receiver) -> None:
    alerting.target.delete(3)

    failed_run(alerting, "verify")

    assert receiver.texts == []


def test_without_a_webhook_nothing_is_told(platform: Platform, receiver: Receiver) -> None:
    tick(platform, "alert_failed_checks")
    tick(platform, "alert_failure_ledgers")
    tick(platform, "alert_stale_evidence")

    assert receiver.posts == []
