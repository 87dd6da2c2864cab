"""A table for dry runs: it remembers what it would have written, and sends no write.

`writer` holds the table that writes.
"""

from collections.abc import Callable, Sequence
from typing import TypeAlias

from imgmig_dagster.mapping.rows import Assignments, Item, assigned
from imgmig_dagster.target.target_table import Lookup, TargetTable
from imgmig_dagster.target.writer import ExistingItem, WritableTable, WriteFailure


class DryRunTable(TargetTable):
    """Later reads find what would have been written. Its sender only reads."""

    def __init__(self, table: TargetTable) -> None:
        super().__init__(table.sender.read_only(), table.name, table.mapping)
        self._pretended: dict[str, Item | None] = {}

    async def put_new(self, item: Item) -> ExistingItem | None:
        """As if the item had been written, if none exists."""
        row_id = str(self.mapping.row_id(item))
        existing = await self.get(row_id)
        if existing is not None:
            return ExistingItem(existing)
        self._pretended[row_id] = item
        return None

    async def put_new_many(self, items: Sequence[Item]) -> list[ExistingItem | WriteFailure | None]:
        """As if the items had been written, each if none exists."""
        return [await self.put_new(item) for item in items]

    async def put_many(self, items: Sequence[Item], on_batch: Callable[[int], None]) -> list[WriteFailure]:
        """As if the items had been written."""
        self._pretended.update((str(self.mapping.row_id(item)), item) for item in items)
        on_batch(len(items))
        return []

    async def update(self, row_id: str, seen: Item, assignments: Assignments) -> bool:
        """As if the attributes had been set."""
        self._pretended[row_id] = assigned(seen, assignments)
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


Written: TypeAlias = WritableTable | DryRunTable
"""What a step writes to: the table, or its dry run. A table that is only read is neither."""
