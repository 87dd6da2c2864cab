"""Writes to the target table: items with a condition each, one by one or in batches, and batches without condition.

Only `open_target.WritableTarget` opens one, and only `stage.write_guard` makes that.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.mapping.rows import Assignments, Item
from imgmig_dagster.mapping.sizes import write_units
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.faults import TargetFault
from imgmig_dagster.target.inserts import MAX_BATCH_INSERT, Answered, BatchInsert, BatchInserts, Insert
from imgmig_dagster.target.requests import (
    MAX_BATCH_WRITE,
    BatchWriteItem,
    DeleteItem,
    PutNewItem,
    SeenVersion,
    UpdateItem,
)
from imgmig_dagster.target.sender import Backoff, RetriesUsedUpError, Sender
from imgmig_dagster.target.target_table import TargetTable


@dataclass(frozen=True)
class ExistingItem:
    """An item already exists where a new one was to be written; `item` is None if the server does not return it."""

    item: Item | None


@dataclass(frozen=True)
class WriteFailure:
    """An item that was not written. `permanent`: the service rejected it; otherwise its retries were used up."""

    item: Item
    code: str
    permanent: bool


class WritableTable(TargetTable):
    """Reads and writes. All batches are sent at once; the sender bounds how many are in flight."""

    def __init__(
        self, sender: Sender, name: str, mapping: TableMapping, batch_inserts: BatchInserts | None = None
    ) -> None:
        super().__init__(sender, name, mapping)
        self.batch_inserts = batch_inserts or BatchInserts()

    async def put_new(self, item: Item) -> ExistingItem | None:
        """Write an item if none exists. Otherwise the existing item, which may be our own after a lost reply.

        Raises:
            DynamoDBError: the item is rejected.
        """
        try:
            await self.sender.send(PutNewItem(self.name, item, self.mapping.key_attributes[0]))
        except DynamoDBError as error:
            if error.fault is TargetFault.CONDITION:
                existing = self._of_its_key(error.existing, item)
                self._pay_for_refusals([(item, existing or item)])
                return ExistingItem(existing)
            raise
        return None

    async def put_new_many(self, items: Sequence[Item]) -> list[ExistingItem | WriteFailure | None]:
        """Write items of distinct keys, each if none exists; see `put_new`. One result for each, in their order.

        In batches of PartiQL if the service accepts them. What it refuses there, except for an existing item, goes
        through `put_new`: a row's outcome does not depend on which of the two wrote its item.
        """
        batches = await gather(self._put_new_batch(batch) for batch in batched(items, MAX_BATCH_INSERT))
        return [found for batch in batches for found in batch]

    async def _put_new_batch(self, items: Sequence[Item]) -> list[ExistingItem | WriteFailure | None]:
        answered = Answered()
        if len(items) > 1 and self.batch_inserts.refusal is None:
            inserts = {place: Insert(self.name, item) for place, item in enumerate(items)}
            await self._insert({place: insert for place, insert in inserts.items() if insert.fits}, answered)
            await self._look_at(items, answered)
        found: list[ExistingItem | WriteFailure | None] = [None] * len(items)
        for place, item in answered.existing.items():
            found[place] = ExistingItem(item)
        alone = sorted(set(range(len(items))) - answered.written - answered.existing.keys())
        for place, outcome in zip(alone, await self.put_alone([items[place] for place in alone]), strict=True):
            found[place] = outcome
        return found

    async def put_alone(self, items: Sequence[Item]) -> list[ExistingItem | WriteFailure | None]:
        """See `put_new_many`, each by a request of its own."""
        return await gather(self._put_alone(item) for item in items)

    async def _insert(self, left: dict[int, Insert], answered: Answered) -> None:
        """Send inserts until each has a final answer, or the service accepts no more."""
        backoff = Backoff(self.sender)
        try:
            while left:
                request = BatchInsert(self.name, list(left.values()))
                reply = await self.sender.send(request, backoff)
                if (answers := request.answers(reply)) is None:
                    await backoff.retry("TruncatedReply")
                    continue
                self.batch_inserts.answered()
                again, codes = answered.take(left, answers, is_counted=bool(reply.get("ConsumedCapacity")))
                if TargetFault.STOP in codes:
                    self.batch_inserts.forbid(codes[TargetFault.STOP])
                if len(again) < len(left):
                    backoff.progressed()
                left = {place: left[place] for place in again}
                if TargetFault.BACK_PRESSURE in codes:
                    await backoff.throttled(codes[TargetFault.BACK_PRESSURE])
                elif again:
                    await backoff.retry(codes[TargetFault.TRANSIENT])
        except (DynamoDBError, RetriesUsedUpError, TargetRefused) as error:
            self.batch_inserts.failed(error)
        if self.batch_inserts.refusal is not None:
            self.sender.refuse(BatchInsert.operation, self.batch_inserts.refusal)  # for the batches that wait

    async def _look_at(self, items: Sequence[Item], answered: Answered) -> None:
        """Read the existing items that were not returned, and pay for the refusals that no reply counted."""
        existing = {place: self._of_its_key(found, items[place]) for place, found in answered.existing.items()}
        places = {str(self.mapping.row_id(items[place])): place for place, item in existing.items() if item is None}
        lookup = await self.get_many(list(places))
        existing.update((places[row_id], item) for row_id, item in lookup.items.items())
        answered.existing = existing
        refused = [(items[place], existing[place] or items[place]) for place in answered.unpaid]
        if refused:
            self._pay_for_refusals(refused)

    def _of_its_key(self, existing: Item | None, item: Item) -> Item | None:
        """The returned item, if it can be the one that exists: a reply to another request has another key."""
        row_id = self.mapping.row_id
        return existing if existing is not None and row_id(existing) == row_id(item) else None

    async def _put_alone(self, item: Item) -> ExistingItem | WriteFailure | None:
        try:
            return await self.put_new(item)
        except RetriesUsedUpError as error:
            return WriteFailure(item, error.code, permanent=False)
        except DynamoDBError as error:
            return WriteFailure(item, error.code, permanent=True)

    async def update(self, row_id: str, seen: Item, assignments: Assignments) -> bool:
        """Set or remove attributes of an item as it was `seen`; False if anybody wrote it since."""
        key = self.mapping.key(row_id)
        request = UpdateItem(self.name, key, assignments, self._seen(seen), self.mapping.key_attributes[0])
        return await self._conditional(request, seen)

    async def delete(self, row_id: str, seen: Item) -> bool:
        """Delete an item as it was `seen`; False if anybody wrote it since."""
        return await self._conditional(DeleteItem(self.name, self.mapping.key(row_id), self._seen(seen)), seen)

    async def put_many(self, items: Sequence[Item], on_batch: Callable[[int], None]) -> list[WriteFailure]:
        """Write items of distinct keys in batches, over any existing items.

        Returns when the service has confirmed or refused each of them. After each batch, `on_batch` gets the number of
        its items.
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
                again = {self.mapping.row_id(item) for item in request.unprocessed(reply)}
                unprocessed = [item for item in left if self.mapping.row_id(item) in again] if again else []
                if len(unprocessed) < len(again):
                    await backoff.retry("StrayReply")
                    continue
            except RetriesUsedUpError as error:
                return [WriteFailure(item, error.code, permanent=False) for item in left]
            except DynamoDBError as error:
                return await self._write_halves(left, error.code)
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

    def _seen(self, item: Item) -> SeenVersion:
        version, modified = self.mapping.version, self.mapping.modified_field
        attributes = [each.attribute for each in (version, modified) if each is not None]
        return SeenVersion(
            {attribute: item.get(attribute) for attribute in attributes or self.mapping.declared_attributes}
        )

    async def _conditional(self, request: Any, seen: Item) -> bool:
        try:
            await self.sender.send(request)
        except DynamoDBError as error:
            if error.fault is TargetFault.CONDITION:
                self._pay_for_refusals([(seen,)])
                return False
            raise
        return True

    def _pay_for_refusals(self, refused: Iterable[Sequence[Item]]) -> None:
        """Pay for the refused writes of one request: each costs its larger item's units, which the reply does not say.

        The items of a write are the new and the existing one, as far as they are known.

        https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/read-write-operations.html
        """
        self.sender.pay(sum(max(map(write_units, items)) for items in refused))
