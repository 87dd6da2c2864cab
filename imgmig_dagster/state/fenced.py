"""The state as the holder of a lock sees it: after the lock is lost, its writes are refused."""

from imgmig_dagster.fence import Fence
from imgmig_dagster.state.forwarding import ForwardingStateStore
from imgmig_dagster.state.store import StateStore


class FencedStateStore(ForwardingStateStore):
    """A `StateStore` behind a fence. A stale run must not replace what its successor has written.

    Appending is allowed: it replaces nothing, and reports what happened.
    """

    def __init__(self, store: StateStore, fence: Fence) -> None:
        super().__init__(store)
        self._fence = fence

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        """See `StateStore.write`; `StateChanged` too if the lock is lost."""
        self._fence.check()
        return super().write(name, content, replacing)

    def delete(self, name: str, replacing: str | None = None) -> None:
        """See `StateStore.delete`; `StateChanged` too if the lock is lost."""
        self._fence.check()
        super().delete(name, replacing)
