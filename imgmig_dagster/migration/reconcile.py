"""The one rule for an item that is already there, for migration, retry and repair alike."""

import asyncio
from collections.abc import Awaitable, Callable

from imgmig_dagster.mapping.compare import comparer, item_timestamp
from imgmig_dagster.mapping.spec import Item, Row, TableMapping
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.migration.recording import NeverSettledError
from imgmig_dagster.migration.results import Outcome
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.target.rehearsed import Written

_NEWER_US = 1_000_000
# A key that is written more often than this, a settle time apart, is left to the next pass.
_MAX_LOOKS = 5


class Reconciler:
    """Judges an item that stands in the way of a row, and writes only on the condition that it is still that item.

    PostgreSQL wins over an item that is older, or as old; an item newer by a second or more is left alone, unless
    `source_wins`. Nothing is deleted here: rows that are gone are judged together (`departures`).
    """

    def __init__(
        self,
        source: SourceReader,
        target: Written,
        settle_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        source_wins: bool = False,
    ) -> None:
        self._source = source
        self._target = target
        self._mapping: TableMapping = target.mapping
        self._transform = transformer(self._mapping)
        self._compare = comparer(self._mapping)
        self._settle_seconds = settle_seconds
        self._sleep = sleep
        self._source_wins = source_wins

    async def reconcile(self, row_id: str, row: Row, item: Item | None) -> Outcome | Rejection:
        """Bring the item of a row up to date by the rule, from a first look at both.

        Raises:
            NeverSettledError: the key was written between all looks.
            RetriesUsedUpError, DynamoDBError: the item could not be read or written.
        """
        if item is not None and self._compare(row, item).equal:
            return Outcome.IDENTICAL
        reached = Outcome.IDENTICAL
        for _look in range(_MAX_LOOKS):
            current, item = await self._look(row_id)
            if current is None:
                return Outcome.VANISHED
            expected = self._transform(current)
            if isinstance(expected, Rejection):
                return expected
            if item is None:
                if await self._target.put_new(expected) is None:
                    # Not done yet: only a row that is seen after the write cannot have been deleted before it.
                    reached = Outcome.INSERTED
                continue
            if self._compare(current, item).equal:
                return reached
            outcome = await self._bring_up_to_date(row_id, current, item, expected)
            if outcome is Outcome.COMPLETED:
                # Judged again at the next look: what stood there may be stale besides.
                reached = outcome
            elif outcome is not None:
                return outcome
        raise NeverSettledError

    async def _bring_up_to_date(self, row_id: str, row: Row, item: Item, expected: Item) -> Outcome | None:
        """What became of an item that differs; None where row or item moved, or somebody else wrote."""
        if absent := self._compare(row, item).absent:
            completed = await self._complete(row_id, item, {name: expected[name] for name in absent})
            return Outcome.COMPLETED if completed else None
        await self._sleep(self._settle_seconds)
        if await self._look(row_id) != (row, item):
            return None
        if not self._source_wins and self._is_newer(item, row):
            return Outcome.NEWER_IN_TARGET
        values = {field.attribute: expected[field.attribute] for field in self._mapping.fields}
        updated = await self._target.update(row_id, item, values | self._next_version(item))
        return Outcome.UPDATED if updated else None

    async def _complete(self, row_id: str, item: Item, missing: Item) -> bool:
        name = self._mapping.version_attribute
        version: Item = {} if name in item else {name: {"N": str(self._mapping.initial_version)}}
        return await self._target.update(row_id, item, missing | version)

    async def _look(self, row_id: str) -> tuple[Row | None, Item | None]:
        # The row first: an application that commits and then writes the item cannot make the item look stale.
        rows = await asyncio.to_thread(self._source.rows, [row_id])
        return rows.get(row_id), await self._target.get(row_id)

    def _is_newer(self, item: Item, row: Row) -> bool:
        item_us = item_timestamp(item, self._mapping.modified_attribute)
        row_us = row[self._mapping.modified_index]
        return item_us is not None and isinstance(row_us, int) and item_us - row_us >= _NEWER_US

    def _next_version(self, item: Item) -> Item:
        name = self._mapping.version_attribute
        digits = item.get(name, {}).get("N", "")
        version = int(digits) + 1 if digits.isdigit() else self._mapping.initial_version
        return {name: {"N": str(version)}}
