"""Messages to a webhook: once for each fault, grouped, with what to type, and no secret and no value in them."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import dagster as dg
import pytest
import typer

from imgmig_dagster.alerts import Alert, AlertNotSent, Fault, Webhook
from imgmig_dagster.cli.app import app
from imgmig_dagster.defs.checks import CLAIMS, Claim
from imgmig_dagster.defs.invocation import Lifeline
from imgmig_dagster.defs.jobs import all_jobs
from imgmig_dagster.defs.outbox import Outbox
from imgmig_dagster.defs.runner import JobRunner
from imgmig_dagster.remedies import LEDGER, STALE, of_check, of_error, of_run
from imgmig_dagster.state import names
from imgmig_dagster_tests.arrange import FakeClock, image, row_id
from imgmig_dagster_tests.orchestration.arrange import APRIL, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import wait_until
from imgmig_dagster_tests.orchestration.invocations import begun_by, long_ago
from imgmig_dagster_tests.orchestration.webhooks import SECRET, Receiver, receiving

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")

ALERT = Alert(
    "prod",
    "https://dagster.internal/",
    [Fault("zero_mismatches", "does not hold", of_check("zero_mismatches"), "x", "all", MARCH, {"mismatches": 1_234})],
)


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as received:
        yield received


class TestWebhook:
    def test_a_message_names_stage_partition_verdict_counts_link_and_what_to_type(self, receiver: Receiver) -> None:
        Webhook(receiver.url).send(ALERT)

        [text] = receiver.texts
        assert text.startswith(
            f"[prod, {MARCH}] zero_mismatches: does not hold (mismatches 1,234). Next: imgmig repair "
        )
        assert f"imgmig repair --stage prod --partition {MARCH} --confirm TABLE --apply" in text
        assert text.endswith("(docs/runbook.md, Checks)")
        assert "<https://dagster.internal/x|Open>" in receiver.posts[0]["blocks"][0]["text"]["text"]

    @pytest.mark.parametrize(("status", "retryable"), [(404, False), (302, False), (503, True), (429, True)])
    def test_a_webhook_that_does_not_take_it_is_asked_once_and_is_an_error_without_its_url(
        self, receiver: Receiver, status: int, retryable: bool
    ) -> None:
        receiver.statuses, receiver.retry_after = [status], "7"

        with pytest.raises(AlertNotSent, match="IMGMIG_ALERT_WEBHOOK") as caught:
            Webhook(receiver.url).send(ALERT)

        assert SECRET not in str(caught.value)
        assert (receiver.asked, receiver.posts) == (1, [])
        assert (caught.value.retryable, caught.value.wait_s) == (retryable, 7.0)

    def test_a_webhook_that_is_not_there_is_an_error_without_its_url(self) -> None:
        with pytest.raises(AlertNotSent) as caught:
            Webhook(f"http://127.0.0.1:1/{SECRET}").send(ALERT)

        assert SECRET not in str(caught.value)

    def test_nothing_from_outside_becomes_a_mention_or_a_link(self, receiver: Receiver) -> None:
        fault = replace(ALERT.faults[0], title="<!channel> & co", counts={})
        Webhook(receiver.url).send(replace(ALERT, faults=[fault]))

        assert receiver.texts[0].startswith(f"[prod, {MARCH}] &lt;!channel&gt; &amp; co: does not hold. ")

    def test_many_faults_of_a_kind_are_one_message_that_names_few_keys_and_a_span(self, receiver: Receiver) -> None:
        faults = [
            replace(ALERT.faults[0], partition=f"2024-0{month}-01", keys=(f"{month}a: width", f"{month}b: width"))
            for month in range(1, 6)
        ]
        Webhook(receiver.url).send(replace(ALERT, faults=faults))

        [text] = receiver.texts
        assert text.startswith("[prod, 5 partitions from 2024-01-01 to 2024-05-01] zero_mismatches: does not hold ")
        assert "(mismatches 6,170, partitions 5): 1a: width; 2a: width; 3a: width and 7 more. " in text
        assert "imgmig repair --stage prod --from 2024-01-01 --to 2024-05-01" in text
        assert "<https://dagster.internal/all|Open>" in receiver.posts[0]["blocks"][0]["text"]["text"]


@pytest.mark.parametrize("claim", CLAIMS, ids=lambda claim: claim.name)
def test_each_check_has_a_remedy_and_a_row_in_the_runbook(claim: Claim) -> None:
    assert f"`{claim.name}`" in RUNBOOK.partition("## Checks")[2].partition("\n## ")[0]
    assert of_check(claim.name).told("dev", [MARCH])


def commands_in(text: str) -> "list[list[str]]":
    return [found.split() for found in re.findall(r"imgmig ((?:--?[a-z-]+|[a-z-]+|TABLE|\d{4}-\d\d-\d\d| )+)", text)]


def test_what_remedies_tell_to_type_is_taken_by_the_command_line() -> None:
    told = [of_check(claim.name) for claim in CLAIMS] + [LEDGER, STALE]
    told += [of_run(job.name, None) for job in all_jobs()]
    told += [of_error(kind) for kind in ("TargetUnavailable", "CheckpointRefused", "TooManyFailures")]
    seen: set[str] = set()
    group = typer.main.get_group(app)
    for remedy in told:
        for name, *options in commands_in(remedy.told("dev", [MARCH])):
            command = group.commands[name]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in options if word.startswith("--")} <= known, (name, options)
            seen.add(name)
    assert seen >= {"migrate", "verify", "repair", "retry-failures", "doctor", "status", "report", "dry-run"}


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
    assert f"mismatches 1): {row_id(7)}: width. Next: imgmig repair --stage dev --partition {MARCH} " in text

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
    folder = tmp_path / "dagster_home"
    folder.mkdir()
    (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
    return folder


@pytest.fixture
def recorded(alerting: Platform, home: Path) -> Iterator[Platform]:
    """As `alerting`, on an instance of its own, in which the command line's runs are recorded."""
    with dg.DagsterInstance.from_config(str(home)) as instance:
        alerting.instance = instance
        yield alerting


def run(platform: Platform, home: Path, job: str, *partitions: str) -> None:
    with JobRunner(platform.definitions, home) as runner:
        for partition in partitions:
            assert runner.run(job, partition).status is dg.DagsterRunStatus.FAILURE


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
        f"[dev, {MARCH}, {APRIL}] run of migrate: failed by TargetRefused (partitions 2). Next: imgmig doctor"
    )
    assert f"imgmig migrate --stage dev --partition {MARCH} --partition {APRIL} (docs/runbook.md, Alerts)" in text
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


def faults(*titles: str) -> "dict[str, Fault]":
    return {title: replace(ALERT.faults[0], title=title) for title in titles}


def outbox(platform: Platform, cursor: "str | None" = None, clock: "FakeClock | None" = None) -> Outbox:
    context = dg.build_sensor_context(instance=platform.instance, cursor=cursor)
    return Outbox(context, "dev", "of_a_test", clock=clock or FakeClock())


def test_a_busy_webhook_is_left_alone_until_it_said_and_nothing_is_lost_or_told_twice(
    recorded: Platform, receiver: Receiver
) -> None:
    box, webhook = outbox(recorded), Webhook(receiver.url)
    for name, fault in faults("a", "b").items():
        box.put(name, fault)
    receiver.statuses, receiver.retry_after = [200, 429], "3600"
    box.send(webhook, "http://ui")
    assert (len(receiver.texts), receiver.asked) == (1, 2)

    box = outbox(recorded, box.cursor)
    box.send(webhook, "http://ui")
    assert receiver.asked == 2, "an hour has not gone by"

    patient = json.loads(box.cursor) | {"wait_until": "2020-01-01T00:00:00.000+00:00"}
    outbox(recorded, json.dumps(patient)).send(webhook, "http://ui")
    assert [text.split(":")[0] for text in receiver.texts] == [f"[dev, {MARCH}] {title}" for title in "ab"]


def test_a_message_that_is_refused_for_good_holds_up_no_other(recorded: Platform, receiver: Receiver) -> None:
    box, webhook = outbox(recorded), Webhook(receiver.url)
    for name, fault in faults("a", "b").items():
        box.put(name, fault)
    receiver.statuses = [400]
    box.send(webhook, "http://ui")
    assert [text.split("] ")[1][0] for text in receiver.texts] == ["b"]

    outbox(recorded, box.cursor).send(webhook, "http://ui")
    assert [text.split("] ")[1][0] for text in receiver.texts] == ["b", "a"]


def test_a_tick_sends_only_as_long_as_it_has_time_and_the_next_one_goes_on(
    recorded: Platform, receiver: Receiver
) -> None:
    clock, webhook = FakeClock(), Webhook(receiver.url)
    box = outbox(recorded, clock=clock)
    for name, fault in faults("a", "b", "c").items():
        box.put(name, fault)
    clock.now += 24
    receiver.on_message = lambda: setattr(clock, "now", clock.now + 10)
    box.send(webhook, "http://ui")
    assert len(receiver.texts) == 1

    receiver.on_message = None
    outbox(recorded, box.cursor).send(webhook, "http://ui")
    assert len(receiver.texts) == 3


def test_a_tick_that_is_cut_off_tells_nothing_again(recorded: Platform, receiver: Receiver) -> None:
    """The daemon gives up a tick whose second message hangs; the next one begins with the old cursor."""
    webhook, go_on = Webhook(receiver.url), threading.Event()
    box = outbox(recorded)
    for name, fault in faults("a", "b").items():
        box.put(name, fault)
    receiver.on_message = lambda: receiver.asked < 2 or go_on.wait(300)
    cut_off = threading.Thread(target=box.send, args=(webhook, "http://ui"))
    cut_off.start()
    wait_until(lambda: receiver.asked == 2)
    receiver.on_message = None

    again = outbox(recorded)
    for name, fault in faults("a", "b").items():
        again.put(name, fault)
    again.send(webhook, "http://ui")
    go_on.set()
    cut_off.join()

    assert [text.split("] ")[1][0] for text in receiver.texts].count("a") == 1


def test_a_cursor_that_is_reset_is_reset(recorded: Platform, receiver: Receiver) -> None:
    webhook = Webhook(receiver.url)
    for _ in range(2):
        box = outbox(recorded, None)
        for name, fault in faults("a").items():
            box.put(name, fault)
        box.send(webhook, "http://ui")
    assert len(receiver.texts) == 2


def test_without_a_webhook_nothing_is_told(platform: Platform, receiver: Receiver) -> None:
    tick(platform, "alert_failed_runs")
    tick(platform, "alert_failed_checks")
    tick(platform, "alert_failure_ledgers")
    tick(platform, "alert_stale_evidence")

    assert receiver.posts == []
