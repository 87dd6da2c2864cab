"""Checks, where each request leaves, that the run still owns its work, and records what left too late.

A lock of the state yields a `Fence` (`state.store`, `state.lease`). Each attempt of a partition's requests asks it when
it goes to the socket (`target.sender`, `target.client`), and its state before each write (`state.fenced`).
`state.writes` leaves a mark of what went out and may have been carried out after the lock was lost.
"""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final, Protocol

from imgmig_dagster.errors import ImgmigError


class Lock(Protocol):
    """A lock, as its holder sees it."""

    def is_certain(self) -> bool:
        """Whether the lock is certainly still held now; asks no service."""

    def confirm(self) -> None:
        """Find out whether the lock is still held, and hold it for longer.

        Raises:
            StateChanged: it is lost.
            StateUnavailable: the state store cannot say.
        """


class Fence:
    """A run passes it with each request. Safe for threads."""

    def __init__(self, lock: Lock) -> None:
        self._lock = lock
        self._counting = threading.Lock()
        self._open = 0
        self._clock_was_wrong = False
        self._is_lost = False
        self._mark: Callable[[], None] = _nothing

    def check(self) -> None:
        """Return while the lock is held.

        Raises:
            StateChanged: it is lost.
            StateUnavailable: the state store cannot say whether it is.
        """
        if not self._lock.is_certain():
            self._lock.confirm()

    async def let_out(self, is_read: bool) -> None:
        """Let one request out, after everything that it waits for; raises as `check` does.

        A write stays open until it is `answered`. It is counted before it leaves: the code that finds the lock lost has
        to know.
        """
        writes = 0 if is_read else 1
        while True:
            self._count(writes)
            if self._lock.is_certain():
                return
            self._count(-writes)  # it has not left
            await asyncio.to_thread(self._lock.confirm)

    async def answered(self, is_read: bool) -> None:
        """A request was answered: a write is closed if the lock was held until now; raises as `check` does.

        What is never answered stays open. It may be carried out later than anybody waits.
        """
        if not self._lock.is_certain():
            await asyncio.to_thread(self._lock.confirm)
        self._count(0 if is_read else -1)

    def lost(self) -> None:
        """Note that the lock is lost."""
        # By its own clock it is not lost: then the clock stopped, as on a machine that was paused.
        self._clock_was_wrong = self._lock.is_certain()
        self._is_lost = True
        if self._may_have_written_late:
            # At once, since the process may be about to die; and again when all requests have ended.
            with suppress(ImgmigError):
                self._mark()

    @contextmanager
    def marking(self, mark: Callable[[], None]) -> Iterator[None]:
        """Call `mark` if a write of the context may have been carried out after the lock was lost."""
        self._mark = mark
        try:
            yield
        finally:
            if self._open:
                with suppress(ImgmigError):
                    self.check()
            self._mark = _nothing
            if self._may_have_written_late:
                mark()

    @property
    def _may_have_written_late(self) -> bool:
        return self._is_lost and (self._open > 0 or self._clock_was_wrong)

    def _count(self, change: int) -> None:
        with self._counting:
            self._open += change


class _Held:
    """The lock for work that needs none: it only reads, or no other run can know of it."""

    def is_certain(self) -> bool:
        return True

    def confirm(self) -> None:
        pass


def _nothing() -> None:
    pass


UNFENCED: Final = Fence(_Held())
"""Lets every request out: for work that holds no lock."""
