"""Messages: what they say, that each is sent once whatever becomes of a tick, and that none holds up the others."""

import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest
import typer

from imgmig_dagster.cli.app import app
from imgmig_dagster.defs.alerts import Alert, AlertFault, AlertNotSent, Webhook
from imgmig_dagster.defs.build import tables_of
from imgmig_dagster.defs.claims import CLAIMS, Claim
from imgmig_dagster.defs.jobs import all_jobs
from imgmig_dagster.defs.outbox import Outbox
from imgmig_dagster.remedies import CHECKS, LEDGER, STALE, of_check, of_run, table_of_checks
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.arrange import FakeClock
from imgmig_dagster_tests.orchestration.arrange import MARCH
from imgmig_dagster_tests.orchestration.commands import wait_until
from imgmig_dagster_tests.orchestration.webhooks import SECRET, Receiver, receiving

RUNBOOK = (Path(__file__).parents[2] / "docs" / "runbook.md").read_text(encoding="utf-8")

ALERT = Alert(
    "prod",
    "https://dagster.internal/",
    [
        AlertFault(
            "zero_mismatches", "does not hold", of_check("zero_mismatches"), "x", "all", MARCH, {"mismatches": 1_234}
        )
    ],
)


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance in files, which two threads may use at once."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as opened:
        yield opened


class TestWebhook:
    def test_a_message_names_stage_partition_verdict_counts_link_and_what_to_type(self, receiver: Receiver) -> None:
        Webhook(receiver.url).send(ALERT)

        [text] = receiver.texts
        assert text.startswith(
            f"[prod, {MARCH}] zero_mismatches: does not hold (mismatches 1,234). Next: `imgmig repair "
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

    def test_what_stays_on_this_machine_goes_to_no_proxy(
        self, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        with receiving() as proxy:
            for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
                monkeypatch.setenv(name, proxy.url)
            for name in ("NO_PROXY", "no_proxy"):
                monkeypatch.delenv(name, raising=False)

            Webhook(receiver.url).send(ALERT)

            assert (proxy.asked, len(receiver.posts)) == (0, 1)

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
def test_each_check_has_a_remedy(claim: Claim) -> None:
    assert of_check(claim.name).text("dev", [MARCH])


def test_the_runbooks_table_of_checks_is_the_one_that_checks_and_alerts_speak_from() -> None:
    """``python -m imgmig_dagster.remedies`` prints it."""
    assert table_of_checks() in RUNBOOK
    assert set(CHECKS) == {claim.name for claim in CLAIMS}


def commands_in(text: str) -> list[list[str]]:
    return [found.split() for found in re.findall(r"imgmig ((?:--?[a-z-]+|[a-z-]+|TABLE|\d{4}-\d\d-\d\d| )+)", text)]


def test_what_remedies_tell_to_type_is_taken_by_the_command_line() -> None:
    told = [of_check(claim.name) for claim in CLAIMS] + [LEDGER, STALE]
    told += [of_run(job.name, None) for job in all_jobs(tables_of(Stage.DEV)[0])]
    told += [of_run("migrate", kind) for kind in ("TargetUnavailable", "CheckpointRefused", "TooManyFailures")]
    seen: set[str] = set()
    group = typer.main.get_group(app)
    for remedy in told:
        for name, *options in commands_in(remedy.text("dev", [MARCH])):
            command = group.commands[name]
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in options if word.startswith("--")} <= known, (name, options)
            seen.add(name)
    assert seen >= {"migrate", "verify", "repair", "retry-failures", "doctor", "status", "report", "dry-run"}


def faults(*titles: str) -> dict[str, AlertFault]:
    return {title: replace(ALERT.faults[0], title=title) for title in titles}


def outbox(instance: dg.DagsterInstance, cursor: str | None = None, clock: FakeClock | None = None) -> Outbox:
    context = dg.build_sensor_context(instance=instance, cursor=cursor)
    return Outbox(context, "dev", "of_a_test", clock=clock or FakeClock())


def test_a_busy_webhook_is_left_alone_until_it_said_and_nothing_is_lost_or_told_twice(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    box, webhook = outbox(instance), Webhook(receiver.url)
    for name, fault in faults("a", "b").items():
        box.put(name, fault)
    receiver.statuses, receiver.retry_after = [200, 429], "3600"
    box.send(webhook, "http://ui")
    assert (len(receiver.texts), receiver.asked) == (1, 2)

    box = outbox(instance, box.cursor)
    box.send(webhook, "http://ui")
    assert receiver.asked == 2, "an hour has not gone by"

    patient = json.loads(box.cursor) | {"wait_until": "2020-01-01T00:00:00.000+00:00"}
    outbox(instance, json.dumps(patient)).send(webhook, "http://ui")
    assert [text.split(":")[0] for text in receiver.texts] == [f"[dev, {MARCH}] {title}" for title in "ab"]


def test_a_message_that_is_refused_for_good_holds_up_no_other(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    box, webhook = outbox(instance), Webhook(receiver.url)
    for name, fault in faults("a", "b").items():
        box.put(name, fault)
    receiver.statuses = [400]
    box.send(webhook, "http://ui")
    assert [text.split("] ")[1][0] for text in receiver.texts] == ["b"]

    outbox(instance, box.cursor).send(webhook, "http://ui")
    assert [text.split("] ")[1][0] for text in receiver.texts] == ["b", "a"]


def test_a_tick_sends_only_as_long_as_it_has_time_and_the_next_one_goes_on(
    instance: dg.DagsterInstance, receiver: Receiver
) -> None:
    clock, webhook = FakeClock(), Webhook(receiver.url)
    box = outbox(instance, clock=clock)
    for name, fault in faults("a", "b", "c").items():
        box.put(name, fault)
    clock.now += 24
    receiver.on_message = lambda: setattr(clock, "now", clock.now + 10)
    box.send(webhook, "http://ui")
    assert len(receiver.texts) == 1

    receiver.on_message = None
    outbox(instance, box.cursor).send(webhook, "http://ui")
    assert len(receiver.texts) == 3


def test_a_tick_that_is_cut_off_tells_nothing_again(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    """The daemon gives up a tick whose second message hangs; the next one begins with the old cursor."""
    webhook, go_on = Webhook(receiver.url), threading.Event()
    box = outbox(instance)
    for name, fault in faults("a", "b").items():
        box.put(name, fault)
    receiver.on_message = lambda: receiver.asked < 2 or go_on.wait(300)
    cut_off = threading.Thread(target=box.send, args=(webhook, "http://ui"))
    cut_off.start()
    wait_until(lambda: receiver.asked == 2)
    receiver.on_message = None

    again = outbox(instance)
    for name, fault in faults("a", "b").items():
        again.put(name, fault)
    again.send(webhook, "http://ui")
    go_on.set()
    cut_off.join()

    assert [text.split("] ")[1][0] for text in receiver.texts].count("a") == 1


def test_a_cursor_of_an_earlier_version_goes_on_at_its_event(instance: dg.DagsterInstance) -> None:
    box = outbox(instance, '{"after": 12, "faults": {"a": "does not hold {}"}}')

    assert (box.after, box.faults) == (12, set())


def test_what_an_earlier_version_alerted_is_not_alerted_again(instance: dg.DagsterInstance, receiver: Receiver) -> None:
    webhook, fault = Webhook(receiver.url), faults("a")["a"]
    box = outbox(instance)
    box.put("a", fault)
    box.send(webhook, "http://ui")
    kept = json.loads(box.cursor)
    earlier = kept | {"told": kept.pop("alerted")}

    box = outbox(instance, json.dumps(earlier))
    box.put("a", fault)
    box.send(webhook, "http://ui")

    assert len(receiver.texts) == 1


@pytest.mark.parametrize("cursor", [None, ""])
def test_a_cursor_that_is_reset_is_reset(instance: dg.DagsterInstance, receiver: Receiver, cursor: str | None) -> None:
    webhook = Webhook(receiver.url)
    for _ in range(2):
        box = outbox(instance, cursor)
        for name, fault in faults("a").items():
            box.put(name, fault)
        box.send(webhook, "http://ui")
    assert len(receiver.texts) == 2
