"""Writes many items with BatchWriteItem, and says of each whether it stands."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.spec import Item
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.requests import MAX_BATCH_WRITE, BatchWriteItem
from imgmig_dagster.target.sender import Backoff, RetriesUsedUpError, Sender


@dataclass(frozen=True)
class WriteFailure:
    """An item that does not stand. `permanent`: the service rejected it; otherwise its retries were used up."""

    item: Item
    code: str
    permanent: bool


class BatchWriter:
    """Cuts items into batches and sends them all at once; the sender bounds how many are in flight."""

    def __init__(self, sender: Sender, table: str) -> None:
        self._sender = sender
        self._table = table

    async def write(self, items: Sequence[Item], on_batch: Callable[[int], None]) -> list[WriteFailure]:
        """Write items of distinct keys; returns when the service has confirmed or refused each of them.

        `on_batch` is told the number of items behind which a batch was just finished.
        """
        failures = await gather(self._write_and_tell(batch, on_batch) for batch in batched(items, MAX_BATCH_WRITE))
        return [failure for batch in failures for failure in batch]

    async def _write_and_tell(self, batch: Sequence[Item], on_batch: Callable[[int], None]) -> list[WriteFailure]:
        failures = await self._write_batch(batch)
        on_batch(len(batch))
        return failures

    async def _write_batch(self, batch: Sequence[Item]) -> list[WriteFailure]:
        backoff = Backoff(self._sender)
        left = list(batch)
        while left:
            request = BatchWriteItem(self._table, left)
            try:
                reply = await self._sender.send(request, backoff)
            except RetriesUsedUpError as error:
                return [WriteFailure(item, error.code, permanent=False) for item in left]
            except DynamoDBError as error:
                return await self._split(left, error.code)
            unprocessed = request.unprocessed(reply)
            if unprocessed:
                if len(unprocessed) < len(left):
                    backoff.progressed()
                await backoff.throttled("UnprocessedItems")
            left = unprocessed
        return []

    async def _split(self, rejected: Sequence[Item], code: str) -> list[WriteFailure]:
        """One bad item rejects its whole batch: halve it until the bad one is alone, and write the others."""
        if len(rejected) == 1:
            return [WriteFailure(rejected[0], code, permanent=True)]
        middle = len(rejected) // 2
        return [*await self._write_batch(rejected[:middle]), *await self._write_batch(rejected[middle:])]
