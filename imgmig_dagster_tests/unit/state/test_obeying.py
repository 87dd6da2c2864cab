"""A run's limiter follows the account of the rate, also while the state store is away; time is the test's own."""

import asyncio
import math
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest

from imgmig_dagster.errors import StateUnavailable
from imgmig_dagster.fair_rate import Usage
from imgmig_dagster.state import names
from imgmig_dagster.state.obeying import Follower
from imgmig_dagster.state.rate_shares import Member, RateShares, read_rate_shares
from imgmig_dagster.state.records import save_record
from imgmig_dagster.state.store import LocalStateStore, Versioned
from imgmig_dagster.state.throttle import change_throttle
from imgmig_dagster.target.rate_limit import RateLimiter

CEILING = 100.0
LEASE_S = 8.0


class Store(LocalStateStore):
    """A store that can be away, for readers and writers or for writers alone."""

    is_away = is_full = is_broken = False

    def read(self, name: str) -> Versioned | None:
        if self.is_broken:
            raise ValueError("a fault of the store's code")
        if self.is_away:
            raise StateUnavailable("away")
        return super().read(name)

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        if self.is_away or self.is_full:
            raise StateUnavailable("full")
        return super().write(name, content, replacing)


class TimeIsUpError(Exception):
    """The story goes on, and nothing more is sent in this part of it."""


class Sending:
    """A run that sends as fast as it may, a unit a request, and looks every second: `sent` has the times."""

    def __init__(self, store: Store, rate: float | None, thread: ThreadPoolExecutor) -> None:
        self.now = 1_000.0
        self.store = store
        self.sent: list[float] = []
        self.limiter = RateLimiter(rate, self.clock, self.sleep)
        self.follower = Follower(store, self.limiter, rate, Member(store, "run-1", self.clock), thread)
        self._until = math.inf
        self._look_at = self.now

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        """Time passes in steps of at most 10 ms, while the run waits and at no other time."""
        end = self.now + max(seconds, 0.001)
        while self.now < end:
            if self.now >= self._until:
                raise TimeIsUpError
            self.now += min(0.01, end - self.now)
            if self.now >= self._look_at:
                self._look_at += 1
                await self.follower.look_again()

    async def for_s(self, seconds: float) -> None:
        self._until = self.now + seconds
        with suppress(TimeIsUpError):
            while True:
                self.limiter.spent(1, await self.limiter.wait())
                self.sent.append(self.now)

    def between(self, since: float, until: float) -> int:
        return sum(since < at <= until for at in self.sent)


def sending(store: Store, story: Callable[[Sending], Awaitable[None]], rate: float | None = CEILING) -> Sending:
    async def send() -> Sending:
        with ThreadPoolExecutor(1) as thread:
            run = Sending(store, rate, thread)
            await run.follower.look()
            await story(run)
            await run.follower.leave()
            return run

    return asyncio.run(send())


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


def test_a_run_alone_uses_the_whole_ceiling_and_leaves_nothing_behind(store: Store) -> None:
    run = sending(store, lambda run: run.for_s(20))

    assert len(run.sent) == pytest.approx(20 * CEILING, rel=0.05)
    assert read_rate_shares(store).runs == {}


def test_while_the_store_is_away_a_run_keeps_its_share_to_the_leases_end_and_then_waits(store: Store) -> None:
    async def story(run: Sending) -> None:
        await run.for_s(10)
        store.is_away = True
        went_away.append(run.now)
        await run.for_s(40)
        store.is_away = False
        went_away.append(run.now)
        await run.for_s(10)

    went_away: list[float] = []
    run = sending(store, story)

    away, back = went_away
    assert run.between(away, away + 2) == pytest.approx(2 * CEILING, rel=0.1)
    assert run.between(away + LEASE_S, back) == 0
    assert run.between(back, back + 10) >= 7 * CEILING


def test_a_store_that_stays_away_ends_the_run_and_does_not_leave_it_waiting(store: Store) -> None:
    async def story(run: Sending) -> None:
        await run.for_s(5)
        store.is_away = True
        await run.for_s(200)

    with pytest.raises(StateUnavailable, match="away"):
        sending(store, story)


def test_a_fault_that_nobody_foresaw_ends_the_requests_that_wait_for_a_share(store: Store) -> None:
    async def story(run: Sending) -> None:
        await run.for_s(5)
        store.is_broken = True
        with pytest.raises(ValueError, match="a fault"):
            await run.follower.look_again()
        run.now += LEASE_S
        with pytest.raises(ValueError, match="a fault"):
            await run.limiter.wait()
        store.is_broken = False

    sending(store, story)


@pytest.mark.parametrize("fault", ["is_away", "is_full"])
def test_without_a_ceiling_nothing_is_held_back_by_a_store_that_is_away(store: Store, fault: str) -> None:
    async def story(run: Sending) -> None:
        setattr(store, fault, True)
        for _ in range(200):
            await run.sleep(1)
            await run.limiter.wait()

    sending(store, story, rate=None)


def test_a_store_that_takes_no_writes_refuses_a_run_with_a_ceiling_at_its_beginning(store: Store) -> None:
    store.is_full = True

    with pytest.raises(StateUnavailable, match="full"):
        sending(store, lambda run: run.for_s(1))


def test_the_rate_that_an_operator_sets_is_of_all_runs_together(store: Store) -> None:
    async def story(run: Sending) -> None:
        other = Member(store, "run-2", run.clock)
        other.commit(other.plan(Usage(), CEILING))
        change_throttle(store, rate=20.0)
        await run.for_s(3)
        assert other.commit(other.plan(Usage(), 20.0)).rate == pytest.approx(10)
        assert run.limiter.rate == pytest.approx(10)

    sending(store, story)


def test_a_discovered_rate_of_an_earlier_stage_is_kept_while_its_runs_live(store: Store) -> None:
    other = Member(store, "run-2", lambda: 0.0)
    other.commit(other.plan(Usage(), None))
    save_record(store, names.RATE_SHARES, RateShares(40.0, 1, read_rate_shares(store).runs))

    async def story(run: Sending) -> None:
        other.commit(other.plan(Usage(), None))
        await run.for_s(3)
        assert run.limiter.rate is not None
        assert run.limiter.rate < 100

    sending(store, story, rate=None)
