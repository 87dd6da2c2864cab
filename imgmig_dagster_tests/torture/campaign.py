"""Pass after pass that dies at every point, until there were enough deaths."""

import itertools
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster_tests.torture.events import death_before_the_event
from imgmig_dagster_tests.torture.ground import Ground
from imgmig_dagster_tests.torture.passes import WAYS, Findings, Pass, Way
from imgmig_dagster_tests.torture.points import AT_THE_TARGET, IN_THE_PROCESS, Point
from imgmig_dagster_tests.torture.rivals import (
    STOPPING_POINTS,
    orphan_does_no_harm,
    second_is_refused,
    sleeper_sends_nothing,
)

_KILLS_OF_A_PASS = (2, 5)


@dataclass
class Campaign:
    """What all passes found."""

    seed: int
    findings: list[Findings] = field(default_factory=list)

    @property
    def kills(self) -> int:
        return sum(sum(found.kills.values()) for found in self.findings)

    def kills_at(self, point: Point, way: Way) -> int:
        return sum(found.kills[point] for found in self.findings if found.way == way)

    @property
    def violations(self) -> list[str]:
        return [violation for found in self.findings for violation in found.violations]


def deaths(chance: random.Random) -> Iterator[Point]:
    """All points in an order of chance, again and again; a third of the deaths are at random instants."""
    named = [*AT_THE_TARGET, *IN_THE_PROCESS]
    while True:
        points = [*named, *[Point.RANDOM] * (len(named) // 2)]
        chance.shuffle(points)
        yield from points


def run(
    ground: Ground, kills: int, seed: int, ways: Sequence[Way] = WAYS, tell: Callable[[Campaign], None] = lambda _: None
) -> Campaign:
    """Let passes die, each two to five times, in every way in turn."""
    campaign, chance = Campaign(seed), random.Random(seed)
    points = {way: deaths(chance) for way in ways}
    for way in itertools.cycle(ways):
        if campaign.kills >= kills:
            return campaign
        with Pass(ground, way) as work:
            campaign.findings.append(work.findings)
            deaths_of_pass = itertools.islice(points[way], chance.randint(*_KILLS_OF_A_PASS))
            # The takeover writes the checkpoint too: the first time is at once.
            if all(work.kill(point, 1 if point in _ONCE else chance.randint(1, 3), chance) for point in deaths_of_pass):
                work.finish()
        tell(campaign)
    raise AssertionError("unreachable: ways go on for ever")


def every_point(ground: Ground, way: Way, seed: int) -> Findings:
    """One pass that dies once at every named point, in the order in which a pass comes by them."""
    chance = random.Random(seed)
    with Pass(ground, way) as work:
        if all(work.kill(point, 1, chance) for point in (*AT_THE_TARGET, *IN_THE_PROCESS)):
            work.finish()
        return work.findings


def rivals_and_events(ground: Ground, campaign: Campaign, tell: Callable[[Campaign], None]) -> None:
    """What concerns two runs at once, and a death that Dagster has not heard of."""
    two_ways = (Way(on_s3=False, write_mode=WriteMode.CONDITIONAL), Way(on_s3=True, write_mode=WriteMode.BATCH))
    orphans = itertools.product(STOPPING_POINTS, (True, False), WriteMode)
    checks = [
        *(partial(second_is_refused, ground, way) for way in two_ways),
        *(partial(death_before_the_event, ground, way) for way in two_ways),
        *(partial(sleeper_sends_nothing, ground, Way(on_s3=True, write_mode=mode)) for mode in WriteMode),
        *(
            partial(orphan_does_no_harm, ground, Way(on_s3=True, write_mode=mode), point, ends_first)
            for point, ends_first, mode in orphans
        ),
    ]
    for check in checks:
        campaign.findings.append(check())
        tell(campaign)


_ONCE = (Point.BEFORE_RECORD, Point.AFTER_RECORD)
