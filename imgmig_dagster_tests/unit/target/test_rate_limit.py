"""The rate limiter on a fake clock."""

import asyncio

import pytest

from imgmig_dagster.errors import StateUnavailable
from imgmig_dagster.fair_rate import Usage
from imgmig_dagster.target.rate_limit import RateLimiter
from imgmig_dagster_tests.arrange import FakeClock


def limiter(clock: FakeClock, ceiling: float | None = None) -> RateLimiter:
    return RateLimiter(ceiling, clock, clock.sleep)


async def write(paced: RateLimiter, requests: int, units: float) -> None:
    for _ in range(requests):
        paced.spent(units, await paced.wait())


async def test_without_a_ceiling_nothing_waits_until_the_service_throttles() -> None:
    clock = FakeClock()

    await write(limiter(clock), requests=1_000, units=25)

    assert clock.slept == []


@pytest.mark.parametrize(("ceiling", "units"), [(100.0, 25.0), (1_000.0, 25.0), (5.0, 1.0), (1.0, 400.0)])
async def test_a_ceiling_is_kept_over_time(ceiling: float, units: float) -> None:
    clock = FakeClock()
    started = clock.now

    await write(limiter(clock, ceiling), requests=40, units=units)

    # What the last request costs is paid by the one after it.
    assert (clock.now - started) == pytest.approx(39 * units / ceiling, rel=0.01)


async def test_idle_time_is_not_saved_up_for_a_burst() -> None:
    clock = FakeClock()
    paced = limiter(clock, 100.0)
    await write(paced, requests=1, units=1)
    clock.now += 3_600
    started = clock.now

    await write(paced, requests=10, units=25)

    assert clock.now - started >= (9 * 25 - 100 / 10) / 100 - 0.001


async def test_a_throttle_halves_the_rate_that_was_really_reached() -> None:
    clock = FakeClock()
    paced = limiter(clock)
    await write(paced, requests=40, units=25)
    clock.now += 2.0

    paced.throttled()

    assert paced.rate == pytest.approx(250.0)


def test_throttles_of_requests_that_were_in_flight_together_are_one_signal() -> None:
    clock = FakeClock()
    paced = limiter(clock, 1_000.0)

    for _ in range(10):
        paced.throttled()
        clock.now += 0.01

    assert paced.rate == pytest.approx(500.0)


def test_throttles_that_go_on_halve_it_again_down_to_a_floor() -> None:
    clock = FakeClock()
    paced = limiter(clock, 1_000.0)

    rates = []
    for _ in range(60):
        paced.throttled()
        rates.append(paced.rate)
        clock.now += 0.26

    assert rates[1] is not None
    assert 250 <= rates[1] <= 260
    assert rates[-1] is not None
    assert 5.0 <= rates[-1] <= 15.0


async def test_the_rate_climbs_by_a_constant_step_a_second_up_to_the_ceiling() -> None:
    clock = FakeClock()
    paced = limiter(clock, 400.0)
    paced.throttled()

    rates = []
    for _ in range(12):
        clock.now += 1.0
        await write(paced, requests=1, units=0)
        rates.append(paced.rate)

    assert rates[:3] == pytest.approx([225.0, 250.0, 275.0])
    assert rates[-1] == 400.0


async def test_after_a_throttle_requests_wait_although_there_is_no_ceiling() -> None:
    clock = FakeClock()
    paced = limiter(clock)
    await write(paced, requests=4, units=25)
    clock.now += 1.0
    paced.throttled()
    started = clock.now

    await write(paced, requests=20, units=25)

    assert 3.0 < clock.now - started < 10.0


async def test_a_ceiling_that_is_lowered_in_between_is_kept_from_then_on() -> None:
    clock = FakeClock()
    paced = limiter(clock)
    await write(paced, requests=100, units=25)
    paced.limit(100.0)
    started = clock.now

    await write(paced, requests=41, units=25)

    assert clock.now - started == pytest.approx(10.0, rel=0.05)


async def test_a_ceiling_that_is_lifted_ends_the_wait_of_who_waits_already() -> None:
    clock = FakeClock()
    paced = limiter(clock, ceiling=1.0)

    await paced.wait()
    paced.spent(400)  # at one unit a second, more than six minutes
    waiting = asyncio.create_task(paced.wait())
    await asyncio.sleep(0)
    paced.limit(None)
    await waiting

    assert clock.slept == [pytest.approx(0.5)]


async def test_a_pause_lets_nothing_out_until_it_ends() -> None:
    clock = FakeClock()
    paced = limiter(clock)
    paced.limit(None, paused=True)

    waiting = asyncio.create_task(paced.wait())
    for _ in range(5):
        await asyncio.sleep(0)
    during = waiting.done()
    paced.limit(None)
    await waiting
    assert [during, waiting.done()] == [False, True]


@pytest.mark.parametrize("share", [0.5, 2.5, 5.0, 7.0])
def test_a_throttle_never_raises_the_rate_however_small_a_runs_share(share: float) -> None:
    clock = FakeClock()
    paced = limiter(clock, share)

    for _ in range(5):
        before = paced.rate
        clock.now += 0.26
        paced.throttled()
        assert paced.rate is not None
        assert before is not None
        assert paced.rate <= before
        assert paced.rate <= share


def test_lifting_the_ceiling_does_not_forget_that_the_service_pushed_back() -> None:
    clock = FakeClock()
    paced = limiter(clock, ceiling=100.0)
    clock.now += 1
    paced.throttled()

    paced.limit(1_000.0)

    assert paced.rate is not None
    assert paced.rate < 100


async def test_nothing_goes_out_after_the_end_of_a_share_until_there_is_another() -> None:
    clock = FakeClock()
    paced = limiter(clock)
    paced.limit(100.0, until=clock.now + 6)

    await paced.wait()
    clock.now += 3_600  # suspended, and awake again
    waiting = asyncio.create_task(paced.wait())
    for _ in range(5):
        await asyncio.sleep(0)
    during = waiting.done()
    paced.limit(100.0, until=clock.now + 6)
    await waiting
    assert [during, waiting.done()] == [False, True]


async def test_a_share_of_nothing_lets_nothing_more_out_and_the_next_share_is_used_at_once() -> None:
    clock = FakeClock()
    paced = limiter(clock, 100.0)
    await write(paced, requests=2, units=25)
    paced.limit(0.0)

    waiting = asyncio.create_task(paced.wait())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not waiting.done()
    paced.limit(100.0)
    await waiting


async def test_who_waits_is_told_why_nothing_goes_out_any_more() -> None:
    clock = FakeClock()
    paced = limiter(clock)
    paced.limit(100.0, until=clock.now)
    paced.give_up(StateUnavailable("away"))

    with pytest.raises(StateUnavailable, match="away"):
        await paced.wait()
    paced.limit(100.0)
    await paced.wait()


async def test_after_the_rate_has_climbed_to_its_ceiling_it_follows_the_ceiling_again() -> None:
    clock = FakeClock()
    paced = limiter(clock, 100.0)
    paced.throttled()
    clock.now += 60
    await paced.wait()

    paced.limit(1_000.0)

    assert paced.rate == 1_000.0


async def test_the_demand_is_what_would_be_used_if_nothing_were_held_back() -> None:
    clock = FakeClock()
    paced = limiter(clock, 100.0)
    paced.usage()

    async def one_request_a_second(units: float) -> Usage:
        for _ in range(10):
            paced.spent(units, await paced.wait())
            clock.now += 0.5
        return paced.usage()

    idle = await one_request_a_second(0)
    easy = await one_request_a_second(10)
    held_back = await one_request_a_second(100)
    clock.now += 1_000
    paced.spent(0, await paced.wait())
    paced.usage()
    await write(paced, requests=100, units=25)
    busy = paced.usage()

    assert (idle.used, idle.demand) == (0, 0)
    assert [easy.used, easy.demand] == pytest.approx([20, 20])
    assert held_back.used == pytest.approx(100, rel=0.1)
    assert held_back.demand == pytest.approx(200, rel=0.1)
    assert busy.demand is None
    assert busy.used == pytest.approx(100, rel=0.02)


def test_a_throttle_is_told_once() -> None:
    clock = FakeClock()
    paced = limiter(clock)
    paced.throttled()

    assert [paced.usage().throttled, paced.usage().throttled] == [True, False]


async def test_many_requests_in_flight_do_not_go_out_on_a_balance_of_nothing() -> None:
    """Two hundred of them would cost fifty seconds' worth at once."""
    clock = FakeClock()
    paced = limiter(clock, 100.0)
    started, went_out = clock.now, []

    async def request() -> None:
        await paced.wait()
        went_out.append(clock.now - started)
        if len(went_out) == 120:
            enough.set()
        await unanswered.wait()

    enough, unanswered = asyncio.Event(), asyncio.Event()
    requests = [asyncio.create_task(request()) for _ in range(200)]
    await enough.wait()
    for each in requests:
        each.cancel()

    for second in range(30):
        assert sum(25 for at in went_out if second <= at < second + 5) <= 5 * 100 * 1.05


async def test_what_was_paid_in_advance_for_a_request_counts_once_it_is_answered() -> None:
    clock = FakeClock()
    paced = limiter(clock, 100.0)
    await write(paced, requests=1, units=25)
    started = clock.now

    for _ in range(40):
        paced.spent(5, await paced.wait())
        paced.spent(20)  # a second part of the same request, as of a refused write

    assert clock.now - started == pytest.approx(40 * 25 / 100, rel=0.05)


async def test_what_waits_and_is_no_request_slows_nobody_down() -> None:
    clock = FakeClock()
    paced = limiter(clock, 100.0)
    await write(paced, requests=1, units=25)
    started = clock.now

    for _ in range(40):
        paced.spent(0, await paced.wait())
        paced.spent(25, await paced.wait())

    assert clock.now - started == pytest.approx(40 * 25 / 100, rel=0.05)
