"""Requests that wait: for the end of a pause, and behind others that are refused for all of them."""

import asyncio

import pytest

from imgmig_dagster.errors import ProxyRefused, TargetRefused
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster_tests.arrange import FakeClock, Target, item_of
from imgmig_dagster_tests.fault_proxy import Action, Call, FaultProxy, Forward, Reply, error, reply
from imgmig_dagster_tests.unit.target.opened import opened

FOREVER = 10_000


@pytest.mark.parametrize("waits", ["paused", "without a share of the rate"])
async def test_the_time_in_which_a_run_may_send_nothing_says_nothing_of_the_service(
    target: Target, proxy: FaultProxy, waits: str
) -> None:
    clock = FakeClock()

    async with opened(target, proxy.url, clock, RetryPolicy(random=lambda: 0.0, deadline=60.0)) as table:
        limiter = table.sender.limiter

        async def stand_still_before_throttling(call: Call, forward: Forward) -> Reply:
            limiter.limit(None, paused=waits == "paused", until=clock.now)
            clock.now += 3_600
            limiter.limit(None)
            refused = await error("ThrottlingException")(call, forward)
            assert isinstance(refused, Reply)
            return refused

        proxy.inject(error("ThrottlingException"))
        proxy.inject(stand_still_before_throttling, times=3)
        assert await table.put_new(item_of(1)) is None
    assert target.item(1) == item_of(1)


@pytest.mark.parametrize(
    ("answer", "ended"), [(error("AccessDeniedException"), TargetRefused), (reply(407, b""), ProxyRefused)]
)
async def test_what_waits_while_another_request_is_refused_for_all_is_not_sent(
    target: Target, proxy: FaultProxy, answer: Action, ended: type[Exception]
) -> None:
    proxy.inject(answer, times=FOREVER)

    async with opened(target, proxy.url, requests_in_flight=1) as table:
        partitions = (table.for_partition().put_new(item_of(number)) for number in range(20))
        assert {type(found) for found in (await asyncio.gather(*partitions, return_exceptions=True))} == {ended}
    assert len(proxy.calls) == 1
