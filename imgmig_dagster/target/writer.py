"""The target table as it is written: single items, each on a condition, and many without one.

Only `connection.WritableTarget` opens one, and only `write_guard` makes that.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.rows import Assignments, Item
from imgmig_dagster.mapping.sizes import write_units
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.faults import Fault
from imgmig_dagster.target.requests import (
    MAX_BATCH_WRITE,
    BatchWriteItem,
    DeleteItem,
    PutNewItem,
    Seen,
    UpdateItem,
)
from imgmig_dagster.target.sender import Backoff, RetriesUsedUpError
from imgmig_dagster.target.table import TargetTable


@dataclass(frozen=True)
class Standing:
    """Something stands where a new item was to be written; `item` is None where the server does not hand it back."""

    item: Item | None


@dataclass(frozen=True)
class WriteFailure:
    """An item that does not stand. `permanent`: the service rejected it; otherwise its retries were used up."""

    item: Item
    code: str
    permanent: bool


class WritableTable(TargetTable):
    """Reads and writes. Batches are all sent at once; the sender bounds how many are in flight."""

    async def put_new(self, item: Item) -> Standing | None:
        """Write an item if none stands there; what stands there otherwise, our own after a lost reply included.

        Raises:
            DynamoDBError: the item is rejected.
        """
        try:
            await self.sender.send(PutNewItem(self.name, item, self.mapping.key_attributes[0]))
        except DynamoDBError as error:
            if error.fault is Fault.CONDITION:
                self._pay_for_refusal(item, error.standing or item)
                return Standing(error.standing)
            raise
        return None

    async def update(self, row_id: str, seen: Item, assignments: Assignments) -> bool:
        """Set attributes of an item as it was `seen`, or take them away; False if anybody wrote it since."""
        key = self.mapping.key(row_id)
        request = UpdateItem(self.name, key, assignments, self._seen(seen), self.mapping.key_attributes[0])
        return await self._conditional(request, seen)

    async def delete(self, row_id: str, seen: Item) -> bool:
        """Delete an item as it was `seen`; False if anybody wrote it since."""
        return await self._conditional(DeleteItem(self.name, self.mapping.key(row_id), self._seen(seen)), seen)

    async def put_many(self, items: Sequence[Item], on_batch: Callable[[int], None]) -> list[WriteFailure]:
        """Write items of distinct keys in batches, whatever stands there.

        Returns when the service has confirmed or refused each of them. `on_batch` is told the number of items behind
        which a batch was just finished.
        """
        failures = await gather(self._write_and_tell(batch, on_batch) for batch in batched(items, MAX_BATCH_WRITE))
        return [failure for batch in failures for failure in batch]

    async def _write_and_tell(self, batch: Sequence[Item], on_batch: Callable[[int], None]) -> list[WriteFailure]:
        failures = await self._write_batch(batch)
        on_batch(len(batch))
        return failures

    async def _write_batch(self, batch: Sequence[Item]) -> list[WriteFailure]:
        backoff = Backoff(self.sender)
        left = list(batch)
        while left:
            request = BatchWriteItem(self.name, left)
            try:
                reply = await self.sender.send(request, backoff)
            except RetriesUsedUpError as error:
                return [WriteFailure(item, error.code, permanent=False) for item in left]
            except DynamoDBError as error:
                return await self._write_halves(left, error.code)
            unprocessed = request.unprocessed(reply)
            if unprocessed:
                if len(unprocessed) < len(left):
                    backoff.progressed()
                await backoff.throttled("UnprocessedItems")
            left = unprocessed
        return []

    async def _write_halves(self, rejected: Sequence[Item], code: str) -> list[WriteFailure]:
        """One bad item rejects its whole batch: halve it until the bad one is alone, and write the others."""
        if len(rejected) == 1:
            return [WriteFailure(rejected[0], code, permanent=True)]
        middle = len(rejected) // 2
        return [*await self._write_batch(rejected[:middle]), *await self._write_batch(rejected[middle:])]

    def _seen(self, item: Item) -> Seen:
        version, modified = self.mapping.version, self.mapping.modified_field
        attributes = [each.attribute for each in (version, modified) if each is not None]
        return Seen({attribute: item.get(attribute) for attribute in attributes or self.mapping.declared_attributes})

    async def _conditional(self, request: Any, seen: Item) -> bool:
        try:
            await self.sender.send(request)
        except DynamoDBError as error:
            if error.fault is Fault.CONDITION:
                self._pay_for_refusal(seen)
                return False
            raise
        return True

    def _pay_for_refusal(self, *items: Item) -> None:
        """A refused write costs the units of the larger item, the new or the standing one; its reply does not say so.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
        """
        self.sender.pay(max(map(write_units, items)))
