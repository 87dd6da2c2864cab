"""The target as a pass and as a repair see it: deletes, or all writes, in the audit record; or nothing sent at all."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from imgmig_dagster.mapping.spec import Item
from imgmig_dagster.state.audit import AuditLog
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.table import Lookup, Standing, TargetTable

Reply = TypeVar("Reply")


class AuditedDeletes(TargetTable):
    """A table whose deletes are noted before they are sent, and when they are done."""

    def __init__(self, table: TargetTable, audit: AuditLog) -> None:
        super().__init__(table.sender, table.name, table.mapping)
        self._audit = audit

    async def delete(self, row_id: str, seen: Item) -> bool:
        """See `TargetTable.delete`."""
        delete = super().delete
        return await self._noted(row_id, "delete", seen, None, lambda: delete(row_id, seen), bool)

    async def _noted(
        self,
        row_id: str,
        action: str,
        before: Item | None,
        after: Item | None,
        send: Callable[[], Awaitable[Reply]],
        is_done: Callable[[Reply], bool],
    ) -> Reply:
        await self._audit.intend(row_id, action, before, after)
        try:
            reply = await send()
        except RetriesUsedUpError as error:
            self._audit.conclude(row_id, action, f"unknown: {error.code}")
            raise
        except DynamoDBError as error:
            self._audit.conclude(row_id, action, f"refused: {error.code}")
            raise
        self._audit.conclude(row_id, action, "done" if is_done(reply) else "refused: the item is another one by now")
        return reply


class AuditedTable(AuditedDeletes):
    """A table whose single writes are all noted."""

    async def put_new(self, item: Item) -> Standing | None:
        """See `TargetTable.put_new`."""
        row_id = str(self.mapping.row_id(item))
        put = super().put_new
        return await self._noted(row_id, "put", None, item, lambda: put(item), lambda standing: standing is None)

    async def update(self, row_id: str, seen: Item, assignments: Item) -> bool:
        """See `TargetTable.update`."""
        update = super().update
        return await self._noted(
            row_id, "update", seen, {**seen, **assignments}, lambda: update(row_id, seen, assignments), bool
        )


class RehearsedTable(TargetTable):
    """A table that is read and never written: later reads find what would have been written."""

    def __init__(self, table: TargetTable) -> None:
        super().__init__(table.sender, table.name, table.mapping)
        self._pretended: dict[str, Item | None] = {}

    async def put_new(self, item: Item) -> Standing | None:
        """As if the item had been written, if none stands there."""
        row_id = str(self.mapping.row_id(item))
        standing = await self.get(row_id)
        if standing is not None:
            return Standing(standing)
        self._pretended[row_id] = item
        return None

    async def update(self, row_id: str, seen: Item, assignments: Item) -> bool:
        """As if the attributes had been set."""
        self._pretended[row_id] = {**seen, **assignments}
        return True

    async def delete(self, row_id: str, seen: Item) -> bool:  # noqa: ARG002  # the table's signature
        """As if the item had been deleted."""
        self._pretended[row_id] = None
        return True

    async def get_many(self, ids: Sequence[str]) -> Lookup:
        """See `TargetTable.get_many`."""
        lookup = await super().get_many([row_id for row_id in ids if row_id not in self._pretended])
        pretended = {row_id: item for row_id in ids if (item := self._pretended.get(row_id)) is not None}
        return Lookup({**lookup.items, **pretended}, lookup.unread)
