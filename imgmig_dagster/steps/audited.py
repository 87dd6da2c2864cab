"""Tables that note writes in the audit record: deletes for a pass, all writes for a repair. `state.audit` keeps it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import TypeVar

from imgmig_dagster.mapping.rows import Assignments, Item, assigned
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state.audit import AuditLog
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.dry_run_table import DryRunTable, Written
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.writer import ExistingItem, WritableTable, WriteFailure

Reply = TypeVar("Reply")


def audit_of(work: ReadingWork, of: str) -> AuditLog:
    """The audit record of a run's changes to a partition, or to orphan items."""
    masked = work.source.mapping.sensitive_attributes
    return AuditLog(work.state, work.run_id, of, work.keep_values, work.clock.now, masked)


@asynccontextmanager
async def repairing(
    work: ReadingWork, partition: str | None, of: str, ids: Sequence[str]
) -> AsyncIterator[tuple[Written, AuditLog | None]]:
    """What a repair of these rows writes to, and its audit record; without one it is a dry run."""
    # If the target is away, the run ends, instead of leaving every item unread.
    await work.target_identity()
    table = work.target
    if isinstance(table, WritableTable):
        audit = audit_of(work, of)
        async with work.writing(partition, "repair", ids), audit.flushed():
            yield AuditedTable(table, audit), audit
    else:
        yield DryRunTable(table), None


class AuditedDeletes(WritableTable):
    """A table whose deletes are noted before they are sent, and when they are done."""

    def __init__(self, table: WritableTable, audit: AuditLog) -> None:
        super().__init__(table.sender, table.name, table.mapping, table.batch_inserts)
        self._audit = audit

    async def delete(self, row_id: str, seen: Item) -> bool:
        """See `WritableTable.delete`."""
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
        self._audit.conclude(row_id, action, "done" if is_done(reply) else "refused: the item has changed")
        return reply


class AuditedTable(AuditedDeletes):
    """A table whose writes are all noted, each by itself."""

    async def put_new_many(self, items: Sequence[Item]) -> list[ExistingItem | WriteFailure | None]:
        """See `WritableTable.put_new_many`."""
        return await self.put_alone(items)

    async def put_new(self, item: Item) -> ExistingItem | None:
        """See `WritableTable.put_new`."""
        row_id = str(self.mapping.row_id(item))
        put = super().put_new
        return await self._noted(row_id, "put", None, item, lambda: put(item), lambda existing: existing is None)

    async def update(self, row_id: str, seen: Item, assignments: Assignments) -> bool:
        """See `WritableTable.update`."""
        update = super().update
        return await self._noted(
            row_id, "update", seen, assigned(seen, assignments), lambda: update(row_id, seen, assignments), bool
        )
