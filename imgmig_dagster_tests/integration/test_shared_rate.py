"""Runs that share one rate through a state store, in a time that passes only as the test says.

Judged at each moment is what the runs may use, not what they happen to: nobody can use more than that.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgmig_dagster.errors import StateChanged
from imgmig_dagster.fair_rate import Usage
from imgmig_dagster.state.rate_shares import Held, Member, Plan, read_rate_shares
from imgmig_dagster.state.s3 import S3StateStore
from imgmig_dagster.state.store import LocalStateStore, StateStore
from imgmig_dagster_tests.arrange import access
from imgmig_dagster_tests.conftest import Services

CEILING = 1_000.0
TICK_S = 0.25
BUSY: float | None = None


@pytest.fixture(params=["local", "s3"])
def state(request: pytest.FixtureRequest, tmp_path: Path) -> StateStore:
    if request.param == "local":
        return LocalStateStore(tmp_path)
    services: Services = request.getfixturevalue("services")
    client = access(services.environment["AWS_ENDPOINT_URL_S3"]).client("s3")
    bucket = f"rate-{uuid.uuid4().hex}"
    client.create_bucket(Bucket=bucket)
    return S3StateStore(client, bucket, "state")


@dataclass
class Run:
    """A run that would use `demand` units per second, on a host whose clock is `clock_ahead` of the others'.

    `ceiling` is what its settings say, None for what the others' say.
    """

    state: StateStore
    world: "World"
    demand: float | None = BUSY
    clock_ahead: float = 0.0
    ceiling: float | None = None
    held: Held = field(default_factory=Held)
    throttled: bool = False
    plan: Plan | None = None
    renew_at: float = float("-inf")

    def __post_init__(self) -> None:
        self.member = Member(self.state, f"run-{self.clock_ahead:g}", self.clock)

    def clock(self) -> float:
        return self.world.now + self.clock_ahead

    @property
    def rate(self) -> float:
        """What it may use now, at most; infinite where nothing is held back."""
        if self.clock() >= self.held.until:
            return 0.0
        return float("inf") if self.held.rate is None else self.held.rate

    def look(self, ceiling: float | None) -> None:
        used = self.rate if self.demand is None else min(self.demand, self.rate)
        usage = Usage(0.0 if used == float("inf") else used, self.demand, self.throttled)
        self.plan = self.member.plan(usage, ceiling)
        self.held = self.plan.until_written

    def take(self) -> None:
        """What was planned by the last look, which may be some time ago."""
        if self.plan is not None:
            plan, self.plan = self.plan, None
            try:
                self.held = self.member.commit(plan)
            except StateChanged:
                return
            self.throttled = False
            self.renew_at = plan.began + plan.then.renew_after_s

    def renew(self, ceiling: float | None) -> None:
        if self.clock() >= self.renew_at:
            self.look(ceiling)
            self.take()


class World:
    """The time, and what all runs together might use in each quarter of a second of it."""

    def __init__(self, ceiling: float | None = CEILING) -> None:
        self.now = 0.0
        self.ceiling = ceiling
        self.runs: list[Run] = []
        self.rates: list[float] = []

    def begins(self, state: StateStore, **of_the_run: float | None) -> Run:
        run = Run(state, self, **of_the_run)  # type: ignore[arg-type]
        self.runs.append(run)
        return run

    def passes(self, seconds: float, also: Callable[[], None] = lambda: None) -> None:
        for _ in range(round(seconds / TICK_S)):
            for run in self.runs:
                run.renew(run.ceiling or self.ceiling)
                self.note()
            also()
            self.now += TICK_S

    def note(self) -> None:
        self.rates.append(sum(run.rate for run in self.runs))

    def average(self, seconds: float) -> float:
        """Of the last seconds."""
        last = self.rates[-round(seconds / TICK_S) * len(self.runs) :]
        return sum(last) / len(last)


def test_a_run_alone_has_the_whole_rate_from_its_first_look(state: StateStore) -> None:
    world = World()
    run = world.begins(state)

    run.renew(CEILING)

    assert run.rate == CEILING


def test_without_a_ceiling_nothing_is_held_back(state: StateStore) -> None:
    world = World(ceiling=None)
    runs = [world.begins(state), world.begins(state)]

    world.passes(30)

    assert [run.rate for run in runs] == [float("inf")] * 2


@pytest.mark.parametrize(
    ("demands", "shares"),
    [
        ((BUSY, BUSY, BUSY), (1000 / 3, 1000 / 3, 1000 / 3)),
        ((BUSY, 0.0, BUSY), (500, 0, 500)),
        ((BUSY, 100.0, 0.0), (900, 100, 0)),
        ((100.0, 200.0, 100.0), (300, 400, 300)),
    ],
    ids=str,
)
def test_runs_share_the_ceiling_by_what_each_needs(
    state: StateStore, demands: tuple[float | None, ...], shares: tuple[float, ...]
) -> None:
    world = World()
    for number, demand in enumerate(demands):
        world.begins(state, demand=demand, clock_ahead=number * 10_000.0)

    world.passes(10)

    assert [run.rate for run in world.runs] == pytest.approx(shares)
    assert max(world.rates) <= CEILING + 1e-6


def test_one_of_three_dies_and_the_sum_stays_between_nine_tenths_and_the_ceiling(state: StateStore) -> None:
    world = World()
    for number in range(3):
        world.begins(state, clock_ahead=-number * 5_000.0)
    world.passes(20)

    dead = world.runs.pop()
    world.passes(30)

    assert dead.rate == 0  # it would not go on if it woke up
    assert max(world.rates) <= CEILING + 1e-6
    assert world.average(30) >= 0.9 * CEILING  # a third of it was lost for as long as the lease lasts
    assert [run.rate for run in world.runs] == pytest.approx([CEILING / 2] * 2)


def test_a_run_that_was_suspended_uses_nothing_of_the_share_that_others_took_over(state: StateStore) -> None:
    world = World()
    sleeper, other = world.begins(state), world.begins(state)
    world.passes(10)
    sleeper.look(CEILING)  # about to renew, when it is suspended
    world.runs.remove(sleeper)
    world.passes(60)
    assert other.rate == CEILING

    assert sleeper.rate == 0
    sleeper.take()
    assert sleeper.rate == 0
    world.runs.append(sleeper)
    world.passes(10)

    assert [run.rate for run in world.runs] == pytest.approx([CEILING / 2] * 2)
    assert max(world.rates) <= CEILING + 1e-6


def test_a_run_that_ends_gives_its_share_back_at_once(state: StateStore) -> None:
    world = World()
    ending, staying = world.begins(state), world.begins(state)
    world.passes(10)

    ending.member.leave()
    world.runs.remove(ending)
    staying.renew_at = 0
    staying.renew(CEILING)

    assert staying.rate == CEILING
    staying.member.leave()
    assert read_rate_shares(state).runs == {}


def test_runs_whose_writes_collide_never_take_more_than_there_is(state: StateStore) -> None:
    world = World()
    runs = [world.begins(state) for _ in range(4)]
    for turn in range(40):
        for run in runs:
            run.look(CEILING)
            world.note()
        for run in runs[turn % 4 :] + runs[: turn % 4]:  # one of them succeeds
            run.take()
            world.note()
        world.now += 0.5

    assert max(world.rates) <= CEILING + 1e-6
    assert [run.rate for run in runs] == pytest.approx([CEILING / 4] * 4)


def test_a_ceiling_that_is_lowered_is_kept_by_all_together(state: StateStore) -> None:
    world = World()
    for _ in range(3):
        world.begins(state)
    world.passes(10)

    world.ceiling = 100.0
    world.passes(4)
    lowered = sum(run.rate for run in world.runs)
    world.ceiling = None
    world.passes(4)

    assert lowered == pytest.approx(100)
    assert sum(run.rate for run in world.runs) == float("inf")


@pytest.mark.parametrize("ceiling", [CEILING, None])
def test_one_runs_throttle_lowers_what_all_may_take_and_they_climb_together(
    state: StateStore, ceiling: float | None
) -> None:
    world = World(ceiling)
    first, second = world.begins(state, demand=400.0), world.begins(state, demand=600.0)
    world.passes(10)
    if ceiling is None:
        first.held = second.held = Held(500.0, float("inf"))  # what they reach

    first.throttled = True
    world.passes(4)
    lowered = sum(run.rate for run in world.runs)
    world.passes(10)
    climbed = sum(run.rate for run in world.runs)

    assert lowered == pytest.approx(500, abs=110)  # half, and what was added since
    assert climbed - lowered == pytest.approx(10 * 25, abs=60)
    if ceiling is not None:
        world.passes(20)
        assert sum(run.rate for run in world.runs) == pytest.approx(ceiling)
        assert read_rate_shares(state).discovered is None


def test_all_that_are_throttled_together_halve_the_rate_once(state: StateStore) -> None:
    world = World()
    runs = [world.begins(state) for _ in range(5)]
    world.passes(10)

    for run in runs:
        run.throttled = True
    world.passes(3)

    assert read_rate_shares(state).cuts == 1
    assert sum(run.rate for run in runs) == pytest.approx(500, abs=80)


def test_a_service_that_goes_on_throttling_lowers_the_rate_further(state: StateStore) -> None:
    world = World()
    runs = [world.begins(state) for _ in range(3)]
    world.passes(10)

    def throttle() -> None:
        runs[0].throttled = True

    world.passes(60, also=throttle)

    assert sum(run.rate for run in runs) < CEILING / 4


@pytest.mark.parametrize("ceiling", [None, 2 * CEILING])
def test_of_runs_with_different_ceilings_the_lowest_one_is_everybodys(state: StateStore, ceiling: float | None) -> None:
    """As after a change of the settings, while a run of the day before goes on."""
    world = World(ceiling)
    earlier, later = world.begins(state), world.begins(state, ceiling=CEILING)
    world.passes(10)
    shared = earlier.rate, later.rate
    later.member.leave()
    world.runs.remove(later)
    world.passes(4)

    assert shared == pytest.approx((CEILING / 2, CEILING / 2))
    assert earlier.rate == (ceiling or float("inf"))


def test_what_throttled_runs_discovered_is_forgotten_when_they_have_ended(state: StateStore) -> None:
    world = World()
    run = world.begins(state)
    world.passes(4)
    run.throttled = True
    world.passes(4)
    assert run.rate < 700
    run.member.leave()

    later = world.begins(state)
    later.renew(CEILING)

    assert later.rate == CEILING
