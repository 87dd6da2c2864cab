"""Obeys `imgmig throttle`, and keeps to a share of the stage's rate, while a run talks to the target.

Every run that opens the table does it in here. `rate_shares` holds the shares, `throttle` what an operator asked for.
"""

import asyncio
import random
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import Final, Protocol, TypeVar

from imgmig_dagster.errors import ImgmigError, StateChanged, StateUnavailable
from imgmig_dagster.fair_rate import Usage, lower
from imgmig_dagster.state.rate_shares import Held, Member
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.throttle import Throttle, read_throttle

Found = TypeVar("Found")

# Within 2 s a run obeys: this, and the half second that a waiting request may sleep.
_POLL_S: Final = 1.0
# Runs that write the account at the same time try again at different times.
_TRIES: Final = 5
_APART_S: Final = 0.3
# A run whose share has ended waits this long before it says that the state store is away.
_PATIENCE_S: Final = 60.0


class Limiter(Protocol):
    """What paces a run's requests: see `target.rate_limit`."""

    def limit(self, ceiling: float | None, paused: bool = False, until: float = ...) -> None:
        """Change the ceiling, or let nothing out at all; nothing after `until`, by the clock of a `Member`."""

    def usage(self) -> Usage:
        """What was used since the last call."""

    def give_up(self, cause: Exception) -> None:
        """Raise this where requests wait."""


@asynccontextmanager
async def obeying_throttle(
    state: StateStore,
    limiter: Limiter,
    settings_rate: float | None,
    run_id: str = "unnamed",
    tell: Callable[[Throttle], None] = lambda _asked: None,
) -> AsyncIterator[None]:
    """Obey what `imgmig throttle` asks for, and share the rate with the other runs, while the context lasts.

    `tell` gets what is asked for whenever a pause begins or ends.

    Raises:
        StateError, StateUnavailable: what is asked for, or the account of the rate, cannot be read or written.
    """
    # A thread of its own: a lease cannot wait until statements of minutes have left one free.
    with ThreadPoolExecutor(1, "rate") as thread:
        follower = Follower(state, limiter, settings_rate, Member(state, run_id), thread, tell)
        try:
            await follower.look()
            following = asyncio.create_task(follower.follow())
            try:
                yield
            finally:
                following.cancel()
                await asyncio.wait([following])
        finally:
            await follower.leave()
        if not following.cancelled():
            following.result()  # raises what ended it: from then on nothing was obeyed


class Follower:
    """Makes a limiter follow what the state store says; the member's clock is the limiter's."""

    def __init__(
        self,
        state: StateStore,
        limiter: Limiter,
        settings_rate: float | None,
        member: Member,
        thread: ThreadPoolExecutor,
        tell: Callable[[Throttle], None] = lambda _asked: None,
    ) -> None:
        self._state = state
        self._limiter = limiter
        self._settings_rate = settings_rate
        self._member = member
        self._thread = thread
        self._tell = tell
        self._asked = Throttle()
        self._held = Held()
        self._has_joined = False
        self._renew_at = self._looked_at = 0.0

    async def follow(self) -> None:
        """Look again and again."""
        while True:
            await asyncio.sleep(_POLL_S * random.uniform(0.8, 1.2))  # noqa: S311 - it keeps the runs apart
            await self.look_again()

    async def look(self) -> None:
        """Read what is asked for, and renew the share where it is due; see `obeying_throttle` for what it raises."""
        asked = await self._in_thread(lambda: read_throttle(self._state))
        changed, paused_before, self._asked = asked != self._asked, self._asked.paused, asked
        if asked.paused != paused_before:
            self._tell(asked)
        self._let(self._held)
        if changed or self._member.clock() >= self._renew_at:
            # Nothing is known yet of a run that begins: it wants what there is.
            await self._renew(self._limiter.usage() if self._has_joined else Usage())
        self._looked_at = self._member.clock()

    async def look_again(self) -> None:
        """The same, of a store that may be away: what was asked for last stays in force, and the share to its end."""
        try:
            await self.look()
        except (ImgmigError, OSError) as error:
            if self._member.clock() > max(self._held.until, self._looked_at + _PATIENCE_S):
                self._limiter.give_up(error)
        except Exception as error:
            # Nobody looks again: a request that waits for a share that ends would wait for ever.
            self._limiter.give_up(error)
            raise

    async def leave(self) -> None:
        """Give the share back."""
        with suppress(ImgmigError, OSError):
            await self._in_thread(self._member.leave)

    async def _renew(self, usage: Usage) -> None:
        for _ in range(_TRIES):
            plan = await self._in_thread(lambda: self._member.plan(usage, self._ceiling))
            # What the run gives up, it no longer uses before others can know; what it takes, it uses once written.
            self._let(plan.until_written)
            try:
                self._let(await self._in_thread(lambda: self._member.commit(plan)))  # noqa: B023 - awaited here
            except StateChanged:
                await asyncio.sleep(random.uniform(0, _APART_S))  # noqa: S311 - it keeps the runs apart
            except StateUnavailable:
                if plan.then.rate is not None:
                    raise
                return  # nothing is shared out: no share is needed
            else:
                self._has_joined = True
                self._renew_at = plan.began + plan.then.renew_after_s
                return

    def _let(self, held: Held) -> None:
        self._held = held
        self._limiter.limit(lower(held.rate, self._ceiling), self._asked.paused, held.until)

    @property
    def _ceiling(self) -> float | None:
        """Of all runs together."""
        return self._settings_rate if self._asked.rate is None else self._asked.rate

    async def _in_thread(self, call: Callable[[], Found]) -> Found:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)
