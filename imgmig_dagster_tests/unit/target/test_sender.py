"""Retries, throttling and stops, over HTTP with injected faults and a fake clock."""

import asyncio
import json
import threading
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from imgmig_dagster.aws.access import AwsAccess
from imgmig_dagster.errors import CredentialsUnavailable, SettingsError, TargetRefused, TargetUnavailable
from imgmig_dagster.fence import UNFENCED
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.target.client import DynamoDBClient, DynamoDBError
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.writer import ExistingItem
from imgmig_dagster_tests.arrange import FakeClock, Target, access, item_of, row_id
from imgmig_dagster_tests.fault_proxy import (
    Action,
    Call,
    FaultProxy,
    Forward,
    Reply,
    error,
    reply,
    reset_after,
    reset_before,
    slow,
    truncated,
)
from imgmig_dagster_tests.unit.target.opened import POLICY, opened

FOREVER = 10_000
TRANSIENT: dict[str, Action] = {
    "HTTP 500": error("InternalServerError", 500),
    "HTTP 503": error("ServiceUnavailable", 503),
    "a proxy's page with 502": reply(502, b"<html>Bad Gateway</html>"),
    "an unknown error with 500": error("SomethingNew", 500),
    "reset before": reset_before,
    "reset after": reset_after,
    "truncated": truncated,
    "half a reply with 200": reply(200, b'{"Items": ['),
    "a page with 200": reply(200, b"<html>Log in to this network</html>"),
}
THROTTLES = ["ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded"]


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_a_transient_fault_is_retried_after_100_200_and_400_milliseconds(
    target: Target, proxy: FaultProxy, fault: str
) -> None:
    clock = FakeClock()
    target.put(item_of(1))
    proxy.inject(TRANSIENT[fault], "BatchGetItem", times=3)

    async with opened(target, proxy.url, clock) as table:
        assert await table.get(item_of(1)["PK"]["S"].removeprefix("IMAGE#")) == item_of(1)
        assert table.sender.traffic.retries == 3
        assert table.sender.traffic.requests == 4
    assert clock.slept == [0.1, 0.2, 0.4]
    assert len(proxy.calls) == 4


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_after_three_retries_a_transient_fault_is_given_up(target: Target, proxy: FaultProxy, fault: str) -> None:
    clock = FakeClock()
    proxy.inject(TRANSIENT[fault], "Scan", times=FOREVER)

    async with opened(target, proxy.url, clock) as table:
        with pytest.raises(RetriesUsedUpError):
            await anext(table.scan(0, 1))
    # The fifth asks whether the service is there at all.
    assert [call.operation for call in proxy.calls] == ["Scan"] * 4 + ["DescribeTable"]
    assert clock.slept == [0.1, 0.2, 0.4]


@pytest.mark.parametrize("fault", TRANSIENT)
async def test_a_service_that_answers_nothing_at_all_ends_the_run(
    target: Target, proxy: FaultProxy, fault: str
) -> None:
    proxy.inject(TRANSIENT[fault], times=FOREVER)

    with pytest.raises(TargetUnavailable, match=r"does not answer: .* run the same command again to resume"):
        async with opened(target, proxy.url) as table:
            await table.put_new(item_of(1))


async def test_a_service_that_answers_others_is_not_asked_whether_it_is_there(
    target: Target, proxy: FaultProxy
) -> None:
    proxy.inject(error("InternalServerError", 500), "Scan", times=FOREVER)

    async with opened(target, proxy.url) as table:

        async def answered(_seconds: float) -> None:
            await table.get(row_id(1))

        table.sender.retry = replace(table.sender.retry, sleep=answered)
        with pytest.raises(RetriesUsedUpError):
            await anext(table.scan(0, 1))
    assert "DescribeTable" not in {call.operation for call in proxy.calls}


async def test_jitter_only_lengthens_the_waits(target: Target, proxy: FaultProxy) -> None:
    clock = FakeClock()
    proxy.inject(error("InternalServerError", 500), times=3)

    async with opened(target, proxy.url, clock, replace(POLICY, random=lambda: 1.0)) as table:
        await table.put_new(item_of(1))
    assert clock.slept == pytest.approx([0.15, 0.3, 0.6])


@pytest.mark.parametrize("code", THROTTLES)
async def test_throttling_uses_up_no_retry_and_slows_the_writer_down(
    target: Target, proxy: FaultProxy, code: str
) -> None:
    clock = FakeClock()
    proxy.inject(error(code), "PutItem", times=20)
    proxy.inject(error("InternalServerError", 500), "PutItem", times=3)

    async with opened(target, proxy.url, clock) as table:
        table.sender.limiter.spent(4_000.0)
        clock.now += 1.0
        assert table.sender.limiter.rate is None

        assert await table.put_new(item_of(1)) is None

        assert table.sender.traffic.throttles == 20
        assert table.sender.traffic.retries == 3
        record = table.sender.traffic.record()
        # One request was answered, at once by this clock: the waits between its tries are no latency.
        assert (record.reads, record.writes, sum(record.throttled.values())) == ({}, {"0.1": 1}, 20)
        assert table.sender.limiter.rate is not None
        assert table.sender.limiter.rate < 4_000 / 2
    assert target.item(1) == item_of(1)


async def test_waits_grow_while_throttling_goes_on_but_not_past_five_seconds(target: Target, proxy: FaultProxy) -> None:
    clock = FakeClock()
    proxy.inject(error("ThrottlingException"), times=9)

    async with opened(target, proxy.url, clock) as table:
        await table.put_new(item_of(1))
    assert clock.slept[:9] == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0, 5.0])


async def test_throttled_past_the_deadline_the_target_is_unavailable_and_the_advice_is_to_resume(
    target: Target, proxy: FaultProxy
) -> None:
    clock = FakeClock()
    started = clock.now
    proxy.inject(error("ProvisionedThroughputExceededException"), times=FOREVER)

    with pytest.raises(TargetUnavailable, match="resume") as caught:
        async with opened(target, proxy.url, clock, RetryPolicy(random=lambda: 0.0, deadline=60.0)) as table:
            await table.put_new(item_of(1))
    assert 60 < clock.now - started < 70
    assert caught.value.retryable
    assert "write_units_per_s" in str(caught.value)


@pytest.mark.parametrize(
    ("code", "advice"),
    [
        ("ResourceNotFoundException", "table in [target]"),
        ("AccessDeniedException", "does not have a permission"),
        ("InvalidSignatureException", "the secret access key is not that of its access key"),
        ("SomethingNew", ""),
    ],
)
async def test_what_no_request_can_survive_stops_the_run_at_once(
    target: Target, proxy: FaultProxy, code: str, advice: str
) -> None:
    clock = FakeClock()
    proxy.inject(error(code), times=FOREVER)

    with pytest.raises(TargetRefused, match=code) as caught:
        async with opened(target, proxy.url, clock) as table:
            await table.put_new(item_of(1))
    assert advice in str(caught.value)
    assert "IMAGE#secret" not in str(caught.value)
    assert len(proxy.calls) == 1
    assert clock.slept == []


async def test_a_missing_table_stops_the_run(target: Target, proxy: FaultProxy) -> None:
    with pytest.raises(TargetRefused, match="ResourceNotFoundException"):
        async with opened(replace(target, name="no-such-table"), proxy.url) as table:
            await table.put_new(item_of(1))
    assert len(proxy.calls) == 1


async def test_a_rejected_request_is_its_callers_to_judge_and_is_not_retried(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(error("ValidationException"), times=FOREVER)

    async with opened(target, proxy.url) as table:
        with pytest.raises(DynamoDBError, match=r"PutItem: ValidationException \(HTTP 400\)") as caught:
            await table.put_new(item_of(1))
        assert "secret" not in str(caught.value)
    assert len(proxy.calls) == 1


async def test_no_more_requests_are_in_flight_than_allowed(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(slow(0.01), times=FOREVER)

    async with opened(target, proxy.url, requests_in_flight=3) as table:
        await asyncio.gather(*(table.put_new(item_of(number)) for number in range(12)))
    assert proxy.most_in_flight == 3
    assert len(target.items()) == 12


async def test_a_request_that_waits_for_its_retry_keeps_no_other_one_back(target: Target, proxy: FaultProxy) -> None:
    arrived, released = threading.Event(), asyncio.Event()

    async def fail(_call: Call, _forward: Forward) -> Reply:
        arrived.set()
        return Reply(500, b"{}")

    proxy.inject(fail)

    async def sleep_until_released(_seconds: float) -> None:
        await released.wait()

    async with opened(target, proxy.url, requests_in_flight=1) as table:
        table.sender.retry = replace(table.sender.retry, sleep=sleep_until_released)
        waiting = asyncio.create_task(table.put_new(item_of(1)))
        await asyncio.to_thread(arrived.wait)
        assert await table.put_new(item_of(2)) is None
        assert not waiting.done()
        released.set()
        assert await waiting is None


async def test_a_reply_that_does_not_come_in_time_is_a_transient_fault(target: Target, proxy: FaultProxy) -> None:
    proxy.inject(slow(300.0))

    async with opened(target, proxy.url, timeout=3.0) as table:
        # The first try was carried out: the second finds its own item.
        assert await table.put_new(item_of(1)) == ExistingItem(item_of(1))
        assert table.sender.traffic.retries == 1


async def test_a_server_that_is_not_there_is_given_up_after_the_retries(target: Target) -> None:
    async with opened(target, "http://127.0.0.1:1") as table:
        with pytest.raises(TargetUnavailable, match="ConnectionFailed"):
            await table.put_new(item_of(1))


class TestCredentials:
    @pytest.fixture
    def credentials_file(self, clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> Path:
        file = tmp_path / "credentials"
        clean_environment.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
        self.write(file, "OLD")
        return file

    @staticmethod
    def write(file: Path, access_key: str) -> None:
        renewed = file.with_suffix(".new")
        renewed.write_text(f"[default]\naws_access_key_id = {access_key}\naws_secret_access_key = s\n")
        renewed.replace(file)

    @staticmethod
    def expired(file: Path, renewed: str, code: str = "ExpiredTokenException") -> Action:
        """The service refuses the old key; a person has logged in again in between."""

        async def action(call: Call, forward: Forward) -> Reply:
            if call.access_key != "OLD":
                return await forward(call.body)
            TestCredentials.write(file, renewed)
            return Reply(400, json.dumps({"__type": f"x#{code}"}).encode())

        return action

    @pytest.mark.parametrize("code", ["ExpiredTokenException", "ExpiredToken", "UnrecognizedClientException"])
    @pytest.mark.parametrize("requests", [1, 8])
    async def test_a_key_that_is_refused_is_loaded_again_once_for_all_requests_in_flight(
        self, target: Target, proxy: FaultProxy, credentials_file: Path, requests: int, code: str
    ) -> None:
        clock = FakeClock()
        proxy.inject(self.expired(credentials_file, "NEW", code), times=FOREVER)
        chain = AwsAccess(region="us-east-1", endpoint_urls=(("dynamodb", proxy.url),))

        async with opened(target, proxy.url, clock, requests_in_flight=8, credentials=chain) as table:
            await asyncio.gather(*(table.put_new(item_of(number)) for number in range(requests)))
        assert len(target.items()) == requests
        assert {call.access_key for call in proxy.calls} == {"OLD", "NEW"}
        assert clock.slept == []

    async def test_a_token_that_stays_expired_stops_the_run(
        self, target: Target, proxy: FaultProxy, credentials_file: Path
    ) -> None:
        proxy.inject(self.expired(credentials_file, "OLD"), times=FOREVER)
        chain = AwsAccess(region="us-east-1", endpoint_urls=(("dynamodb", proxy.url),))

        with pytest.raises(CredentialsUnavailable, match="log in again, and give the same command") as caught:
            async with opened(target, proxy.url, credentials=chain) as table:
                await table.put_new(item_of(1))
        assert caught.value.exit_code == 3
        assert len(proxy.calls) == 1, "the same credentials are not tried again"

    @pytest.mark.usefixtures("clean_environment")
    def test_no_credentials_are_a_fault_of_the_settings(self, target: Target) -> None:
        with pytest.raises(SettingsError, match="AWS_PROFILE"):
            DynamoDBClient(AwsAccess(region="us-east-1", endpoint_urls=(("dynamodb", target.url),)), 1)

    @pytest.mark.usefixtures("clean_environment")
    def test_no_region_is_a_fault_of_the_settings(self) -> None:
        with pytest.raises(SettingsError, match="AWS_REGION"):
            DynamoDBClient(AwsAccess(access_key_id="a", secret_access_key="s"), 1)

    def test_a_secret_is_not_in_the_text_of_the_access(self) -> None:
        assert "hush" not in repr(AwsAccess(secret_access_key="hush", session_token="hush"))


def test_the_client_is_used_inside_its_context_only(target: Target) -> None:
    client = DynamoDBClient(access(target.url), 1)

    with pytest.raises(RuntimeError, match="async with"):
        asyncio.run(client.call("PutItem", b"{}", partial(UNFENCED.let_out, is_read=False)))
