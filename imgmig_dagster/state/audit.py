"""The audit record: each change of a repair and each delete of a pass, noted before it is sent and when it is done."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Callable, Collection
from contextlib import asynccontextmanager
from typing import Any

import orjson

from imgmig_dagster.mapping.canonical import canonical_item
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.shown import MASK
from imgmig_dagster.state import names
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.window import now as system_now


class AuditLog:
    """One run's lines of JSON about one partition, or about orphan items.

    The file is ``audit/<time>-<run id>-<partition>.jsonl``.

    `place` is where a person finds them: in a bucket, the URL of a folder.

    The file exists only once a change made it `is_begun`. Items are noted as the SHA-256 of their canonical JSON. With
    `keep_values` they are noted in full, except `masked` attributes.
    """

    def __init__(
        self,
        store: StateStore,
        run_id: str,
        of: str,
        keep_values: bool,
        now: Callable[[], str] = system_now,
        masked: Collection[str] = (),
    ) -> None:
        self._now = now
        self._masked = masked
        self._appender = store.appender(names.audit(now(), run_id, of))
        self.place = self._appender.place
        self._keep_values = keep_values
        self._held: list[bytes] = []
        self.is_begun = False
        self._appending = asyncio.Lock()

    async def intend(self, row_id: str, action: str, before: Item | None, after: Item | None) -> None:
        """Note a change that is about to be sent. Returns when the line is in the file."""
        self._hold(row_id, action, "intent", before=self._shown(before), after=self._shown(after))
        await self.flush()

    def conclude(self, row_id: str, action: str, result: str) -> None:
        """Note the result. The line may wait for the next flush: the intent is in the file."""
        self._hold(row_id, action, "result", result=result)

    async def flush(self) -> None:
        """Write the lines that are held, those of all concurrent callers in one append."""
        async with self._appending:
            if lines := list(self._held):
                await asyncio.to_thread(self._appender.append, b"".join(lines))
                del self._held[: len(lines)]

    @asynccontextmanager
    async def flushed(self) -> AsyncIterator[None]:
        """Write all lines when the context ends, also after an error."""
        try:
            yield
        finally:
            await self.flush()

    def _hold(self, row_id: str, action: str, phase: str, **facts: Any) -> None:
        line = {"time": self._now(), "key": row_id, "action": action, "phase": phase, **facts}
        self.is_begun = True
        self._held.append(orjson.dumps(line) + b"\n")

    def _shown(self, item: Item | None) -> Item | str | None:
        if item is None or not self._keep_values:
            return item and item_sha256(item)
        return {name: {"S": MASK} if name in self._masked else value for name, value in item.items()}


def item_sha256(item: Item) -> str:
    """The SHA-256 of an item's canonical JSON: it can be compared, but not read back."""
    return hashlib.sha256(canonical_item(item)).hexdigest()
