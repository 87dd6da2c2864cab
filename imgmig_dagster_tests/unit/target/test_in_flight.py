"""How many requests may be in flight, tested with services of known latency."""

from collections import deque
from dataclasses import dataclass
from statistics import median

import pytest

from imgmig_dagster.target.in_flight import InFlightLimit

CEILING = 64
PUT, GET = "PutItem", "BatchGetItem"


@dataclass
class Service:
    """Answers each request after `latency_s`, and works on `room` of them at a time: the others wait their turn."""

    latency_s: float
    room: int
    demand: int = 1_000
    operation: str = PUT
    now: float = 0.0

    def run(self, limit: InFlightLimit, answers: int = 4_000) -> list[int]:
        """The limit after each answer, while as many requests are under way as it allows."""
        under_way: deque[float] = deque()
        limits = []
        for _ in range(answers):
            while len(under_way) < max(1, min(limit.limit, self.demand)):
                under_way.append(self.now)
            sent_at = under_way.popleft()
            # They are answered evenly, as many in a latency as there is room for.
            at_once = min(len(under_way) + 1, self.room)
            self.now = max(self.now + self.latency_s / at_once, sent_at + self.latency_s)
            limit.answered(self.operation, sent_at, self.now)
            limits.append(limit.limit)
        return limits


def steady_limit(service: Service, limit: InFlightLimit | None = None) -> float:
    """Where the limit stays."""
    return median(service.run(limit or InFlightLimit(CEILING), 20_000)[-4_000:])


@pytest.mark.parametrize(
    ("room", "lowest", "highest"),
    [
        (1, 1, 17),
        (5, 5, 20),
        (20, 20, 36),
        (80, 80, 136),
        (1_000, 190, 200),
    ],
)
@pytest.mark.parametrize("latency_s", [0.0005, 0.005, 0.2])
def test_as_many_are_in_flight_as_the_service_has_room_for(
    room: int, lowest: int, highest: int, latency_s: float
) -> None:
    assert lowest <= steady_limit(Service(latency_s, room), InFlightLimit(200)) <= highest


@pytest.mark.parametrize(("ceiling", "first"), [(1, 1), (3, 3), (10, 10), (200, 10)])
def test_the_ceiling_holds_from_the_first_request_on(ceiling: int, first: int) -> None:
    limit = InFlightLimit(ceiling)
    assert limit.limit == first
    assert max(Service(0.005, 1_000).run(limit, 20_000)) == ceiling


def test_nothing_grows_that_nobody_uses() -> None:
    assert steady_limit(Service(0.005, 1_000, demand=4)) == 10


def test_latency_that_grows_brings_fewer_and_latency_that_falls_brings_more() -> None:
    limit, service = InFlightLimit(CEILING), Service(0.005, 1_000)
    before = steady_limit(service, limit)
    service.room = 12
    while_it_is_slow = steady_limit(service, limit)
    service.room = 1_000
    assert 12 <= while_it_is_slow <= 24 < before - 30
    assert steady_limit(service, limit) == pytest.approx(before, abs=2)


def test_a_latency_that_is_longer_for_good_is_got_used_to() -> None:
    limit, service = InFlightLimit(CEILING), Service(0.005, 1_000)
    before = steady_limit(service, limit)
    service.latency_s = 0.05
    assert min(service.run(limit, 2_000)) < before - 30
    service.run(limit, 20_000)
    assert steady_limit(service, limit) == pytest.approx(before, abs=2)


def test_a_throttled_request_halves_it_once_for_all_that_were_in_flight() -> None:
    limit, service = InFlightLimit(CEILING), Service(0.005, 1_000)
    service.run(limit)
    before = limit.limit
    for _ in range(20):
        limit.throttled()
    assert limit.limit == before // 2
    service.run(limit, before)
    limit.throttled()
    assert limit.limit <= before // 2


def test_a_table_that_throttles_for_ever_leaves_one() -> None:
    limit, service = InFlightLimit(CEILING), Service(0.005, 1_000)
    for _ in range(20):
        service.run(limit, 5)
        limit.throttled()
    assert limit.limit <= 2
    assert steady_limit(service, limit) > 50


def test_operations_are_measured_each_by_itself() -> None:
    """A read that takes ten times as long as a write is no congestion."""
    limit = InFlightLimit(CEILING)
    now = 0.0
    for number in range(8_000):
        latency_s = 0.05 if number % 2 else 0.005
        now += 0.0275 / limit.limit
        limit.answered(GET if number % 2 else PUT, now - latency_s, now)
    assert limit.limit >= 55


def test_a_few_requests_that_are_answered_sooner_are_no_measure_of_the_others() -> None:
    limit, now = InFlightLimit(CEILING), 0.0
    for number in range(8_000):
        latency_s = 0.0005 if number % 50 == 0 else 0.005
        now += 0.005 / limit.limit
        limit.answered(GET, now - latency_s, now)
    assert limit.limit >= 55


def test_services_differ() -> None:
    """The bench itself: a service with room for five answers no more than five in a latency."""
    service, limit = Service(0.005, 5), InFlightLimit(5)
    service.run(limit, 1_000)
    assert service.now == pytest.approx(1_000 * 0.005 / 5, rel=0.05)
