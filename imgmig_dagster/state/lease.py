"""A lock for a store without locks: a file that its holder rewrites. If it stays unchanged, another run takes over."""

import contextlib
import secrets
import threading
import time
from collections.abc import Callable
from typing import Final

import orjson

from imgmig_dagster.clock import awake_or_not
from imgmig_dagster.errors import ImgmigError, PartitionBusy, StateChanged
from imgmig_dagster.fence import Fence
from imgmig_dagster.state.lock_holder import busy, this_process
from imgmig_dagster.state.store import ABSENT, StateStore, Versioned

LEASE_SECONDS: Final = 30.0
"""A holder that has not written its lease for this long counts as dead."""
# How often the lease is rewritten, also after a failure, and for how long its holder relies on it.
_BEAT: Final = 1 / 3
_BEAT_AFTER_FAILURE: Final = 1 / 30
_RELIED_ON: Final = 2 / 3


class Lease:
    """Holds a name in a store for as long as its thread renews it, even if the process is busy.

    A holder that stood still may go on if nobody took over: it first renews the lease, by a write that succeeds only on
    its own last one.
    """

    def __init__(
        self,
        store: StateStore,
        name: str,
        seconds: float = LEASE_SECONDS,
        clock: Callable[[], float] = awake_or_not,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.fence = Fence(self)
        self._store = store
        self._name = name
        self._seconds = seconds
        self._clock = clock
        self._sleep = sleep
        self._owner = secrets.token_hex(8)
        self._holder = this_process()
        self._beats = 0
        self._version = ABSENT
        self._renewed_at = 0.0
        self._is_lost = False
        self._renewing = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"lease of {name}", daemon=True)

    def acquire(self) -> None:
        """Take the lease; that of a dead holder after its time.

        Raises:
            PartitionBusy: another run holds it.
        """
        found = self._store.read(self._name)
        if found is not None and found.content:
            self._wait_out(found)
        self._version = found.version if found else ABSENT
        try:
            self._write()
        except StateChanged:
            current = self._store.read(self._name)
            raise self._busy(current.content if current else b"") from None
        self._thread.start()

    def release(self) -> None:
        """Give it back. The file stays, empty, so that its version goes on changing."""
        self._ended.set()
        self._thread.join()
        with contextlib.suppress(ImgmigError), self._renewing:
            if not self._is_lost:
                self._replace(b"")

    def is_certain(self) -> bool:
        """See `fence.Lock`: whether the lease was renewed so recently that nobody can have taken over."""
        return not self._is_lost and self._clock() - self._renewed_at < self._seconds * _RELIED_ON

    def confirm(self) -> None:
        """See `fence.Lock`: renew the lease, unless it was lost."""
        with self._renewing:
            if not self.is_certain():
                self._renew()

    def _beat(self) -> None:
        pause = self._seconds * _BEAT
        while not self._ended.wait(pause):
            try:
                with self._renewing:
                    self._renew()
                pause = self._seconds * _BEAT
            except StateChanged:
                return
            except ImgmigError:
                pause = self._seconds * _BEAT_AFTER_FAILURE

    def _renew(self) -> None:
        if not self._is_lost:
            try:
                self._write()
                return
            except StateChanged:
                self.fence.lost()
                self._is_lost = True
        raise StateChanged(
            f"another run has taken over {self._store.locate(self._name)} while this one stood still for longer than "
            f"{self._seconds:g} s: this run sends nothing more. See by imgmig status how far the other one is; if it "
            "has ended, give the same command again"
        )

    def _write(self) -> None:
        # Before the request: it cannot have been carried out earlier.
        began = self._clock()
        self._beats += 1
        self._replace(orjson.dumps({"owner": self._owner, "beat": self._beats, **self._holder}))
        self._renewed_at = began

    def _replace(self, content: bytes) -> None:
        try:
            self._version = self._store.write(self._name, content, self._version)
        except StateChanged:
            # Our own write, whose reply was lost, may be there; or another holder's.
            found = self._store.read(self._name)
            if found is None or f'"{self._owner}"'.encode() not in found.content:
                raise
            self._version = self._store.write(self._name, content, found.version)

    def _wait_out(self, found: Versioned) -> None:
        """Return when the holder has not renewed for the length of a lease, by this machine's clock."""
        began = self._clock()
        while (left := began + self._seconds - self._clock()) > 0:
            self._sleep(min(left, 1.0))
            current = self._store.read(self._name)
            if current is None or current.version != found.version:
                raise self._busy((current or found).content)

    def _busy(self, held: bytes) -> PartitionBusy:
        return busy(self._store.locate(self._name), held)
