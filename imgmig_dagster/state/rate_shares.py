"""Shares the stage's rate between its runs: one file, which each run reads and writes by its version.

A run changes only its own entry. It raises its share only by what the others' shares leave of the rate. So the shares
never add up to more than the rate, however late a run is: the others lower theirs when they next look, and the rest is
free from then on. An entry that has not changed for the length of its lease, by the reader's clock, belongs to a dead
run, and is removed. Its run relies on it for less than that, by its own clock. Clocks are never compared.

`fair_rate` decides who gets how much, `obeying` makes a run's limiter follow.
"""

import contextlib
import math
import secrets
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import reduce
from typing import Final

from imgmig_dagster.clock import awake_or_not
from imgmig_dagster.errors import StateChanged
from imgmig_dagster.fair_rate import Usage, fair_shares, lower
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_versioned, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.window import now

# How often a run renews its share. With many runs less often: all write one file, and few writes may collide.
_BEAT_S: Final = 2.0
_BEAT_S_PER_RUN: Final = 0.2
# A lease is four beats; its run relies on three of them.
_BEATS_OF_A_LEASE: Final = 4
_RELIED_ON: Final = 0.75
# After a throttle the whole rate climbs by this many units per second, every second.
_INCREASE_PER_SECOND: Final = 25.0
_LOWEST_RATE: Final = 5.0
_TRIES_TO_LEAVE: Final = 5


@dataclass(frozen=True)
class Share:
    """What a run holds of the rate, in units per second; `rate` None: no limit.

    `used` and `demand` are those of `Usage`. `ceiling` is of all runs together, as given to this one. `beat` changes
    whenever the run renews its lease of `lease_s` seconds. `since` and `renewed` are its host's time, for people.
    """

    run: str
    host: str
    since: str
    renewed: str
    beat: int
    lease_s: float
    used: float
    demand: float | None
    rate: float | None
    ceiling: float | None = None


@dataclass(frozen=True)
class RateShares:
    """The runs' shares by run id, and what the service's throttling left of the rate.

    `discovered` is that rate, None if nothing pushed back lately; `cuts` counts how often it was halved.
    """

    discovered: float | None = None
    cuts: int = 0
    runs: Mapping[str, Share] = field(default_factory=dict)


@dataclass(frozen=True)
class Held:
    """What a run may use: `rate` units per second (None: no limit) until then, by its own clock.

    It should renew after `renew_after_s` seconds.
    """

    rate: float | None = 0.0
    until: float = -math.inf
    renew_after_s: float = 0.0


UNSHARED: Final = Held(None, math.inf)


@dataclass(frozen=True)
class Plan:
    """A share that a run plans to take, and what it may use until that is written: never more than either allows."""

    account: RateShares
    version: str
    began: float
    until_written: Held
    then: Held


def read_rate_shares(store: StateStore) -> RateShares:
    """Who holds which share now; runs that died lately are still among them.

    Raises:
        StateError: the file cannot be read.
    """
    return load_versioned(store, names.RATE_SHARES, RateShares)[0] or RateShares()


class Member:
    """One run among those that share the rate of a stage. `clock` must go on while the machine is suspended."""

    def __init__(self, store: StateStore, run_id: str, clock: Callable[[], float] = awake_or_not) -> None:
        self.clock = clock
        self._store = store
        self._id = secrets.token_hex(8)
        self._run = run_id
        self._since = now()
        self._beat = 0
        self._until = -math.inf
        self._renewed_at: float | None = None
        self._others: dict[str, tuple[int, float]] = {}
        self._cuts: int | None = None
        self._deaf_until = -math.inf

    def plan(self, usage: Usage, ceiling: float | None) -> Plan:
        """Read the account, and plan what of a ceiling in units per second this run could take.

        Raises:
            StateError, StateUnavailable: the account cannot be read.
        """
        found, version = load_versioned(self._store, names.RATE_SHARES, RateShares)
        at = self.clock()
        seen = found or RateShares()
        others = self._alive(seen.runs, at)
        mine = seen.runs.get(self._id)
        count = len(others) + 1
        beat_s = max(_BEAT_S, count * _BEAT_S_PER_RUN)
        lease_s = beat_s * _BEATS_OF_A_LEASE
        if not others and mine is None:
            seen = RateShares(cuts=seen.cuts)  # what throttled runs that have ended says nothing about now

        # A write whose reply is lost may have been carried out: its beat is used up.
        self._beat += 1
        # If runs were given different ceilings, the lowest counts: otherwise the others would leave them nothing.
        own, ceiling = ceiling, reduce(lower, (share.ceiling for share in others.values()), ceiling)
        rate, cuts = self._adapted(seen, others, usage, ceiling, at, beat_s)
        share, fair = self._share(others, mine, usage.demand, lower(ceiling, rate))
        entry = Share(
            run=self._run,
            host=socket.gethostname(),
            since=self._since,
            renewed=now(),
            beat=self._beat,
            lease_s=lease_s,
            used=usage.used,
            demand=usage.demand,
            rate=share,
            ceiling=own,
        )
        until = math.inf if share is None else at + lease_s * _RELIED_ON
        is_short = share is not None and fair is not None and share < 0.98 * fair
        return Plan(
            account=RateShares(rate, cuts, {**others, self._id: entry}),
            version=version,
            began=at,
            # A removed entry holds nothing; where nothing is shared, no share is needed.
            until_written=Held(lower(mine.rate, share), self._until)
            if mine
            else Held()
            if share is not None
            else UNSHARED,
            then=Held(share, until, beat_s / 2 if is_short else beat_s),
        )

    def commit(self, plan: Plan) -> Held:
        """Take the share that was planned.

        Raises:
            StateChanged: another run wrote since; nothing is taken: plan again.
            StateUnavailable: the account cannot be written.
        """
        save_record(self._store, names.RATE_SHARES, plan.account, plan.version)
        self._renewed_at, self._until = plan.began, plan.then.until
        if plan.account.cuts != self._cuts:
            self._heed(plan.account.cuts, plan.began, plan.then.renew_after_s)
        return plan.then

    def leave(self) -> None:
        """Give the share back. If that fails, the others take it over as that of a dead run."""
        for _ in range(_TRIES_TO_LEAVE):
            found, version = load_versioned(self._store, names.RATE_SHARES, RateShares)
            if found is None or self._id not in found.runs:
                return
            left = {name: share for name, share in found.runs.items() if name != self._id}
            with contextlib.suppress(StateChanged):
                save_record(self._store, names.RATE_SHARES, replace(found, runs=left), version)
                return

    def _alive(self, runs: Mapping[str, Share], at: float) -> dict[str, Share]:
        """The other runs, without those that have not renewed for the length of their lease."""
        before = self._others
        self._others = {
            name: before[name] if name in before and before[name][0] == share.beat else (share.beat, at)
            for name, share in runs.items()
            if name != self._id
        }
        return {name: runs[name] for name, (_beat, since) in self._others.items() if at - since < runs[name].lease_s}

    def _adapted(
        self,
        seen: RateShares,
        others: Mapping[str, Share],
        usage: Usage,
        ceiling: float | None,
        at: float,
        beat_s: float,
    ) -> tuple[float | None, int]:
        """What throttling leaves of the rate (half after a throttle, more with time), and the number of cuts."""
        if self._cuts is None:
            self._cuts = seen.cuts
        elif seen.cuts != self._cuts:
            self._heed(seen.cuts, at, beat_s)
        if usage.throttled and at >= self._deaf_until:
            used = usage.used + sum(share.used for share in others.values())
            before = lower(ceiling, seen.discovered)
            return max(_LOWEST_RATE, (used if before is None else before) / 2), seen.cuts + 1
        if seen.discovered is None or self._renewed_at is None:
            return seen.discovered, seen.cuts
        # Each run adds its part, by its own clock. A run that stood still adds no more than one lease's part.
        elapsed = min(at - self._renewed_at, beat_s * _BEATS_OF_A_LEASE)
        raised = seen.discovered + _INCREASE_PER_SECOND * elapsed / (len(others) + 1)
        return None if ceiling is not None and raised >= ceiling else raised, seen.cuts

    def _heed(self, cuts: int, at: float, beat_s: float) -> None:
        """The rate was cut: throttles until everybody has obeyed are answers to the rate before."""
        self._cuts = cuts
        self._deaf_until = at + 2 * beat_s

    def _share(
        self, others: Mapping[str, Share], mine: Share | None, demand: float | None, rate: float | None
    ) -> tuple[float | None, float | None]:
        """The share to take of a rate, and the share that would be fair."""
        if rate is None:
            return None, None
        fair = fair_shares({**{name: share.demand for name, share in others.items()}, self._id: demand}, rate)[self._id]
        held = 0.0 if mine is None else _or_any(mine.rate)
        free = rate - sum(_or_any(share.rate) for share in others.values())
        return min(fair, max(held, free, 0.0)), fair


def _or_any(rate: float | None) -> float:
    return math.inf if rate is None else rate
