"""Gives rows their verdicts: differences are looked at again, on both sides, until row and item stop changing.

`rules.differences` decides. `verify`, `census` and `follow` use it; `without_row` does the same for items without a
row.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.compare import comparer, undeclared_attributes
from imgmig_dagster.mapping.digests import item_digester
from imgmig_dagster.mapping.rows import DigestedRow, Item
from imgmig_dagster.rules.differences import MAX_LOOKS, Look, RowVerdict, judge_difference, may_equal
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.examined import Examined
from imgmig_dagster.target.requests import MAX_BATCH_GET
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.row_parts import EqualRow
from imgmig_dagster.verification.verification_result import Mismatch

_ON_THE_WAY_SECONDS: Final = 0.25


class Examiner:
    """Compares rows with their items. One look at a difference proves nothing."""

    def __init__(self, work: ReadingWork, target: TargetTable) -> None:
        self._work = work
        self._target = target
        self._compare = comparer(target.mapping)
        self._digest = item_digester(target.mapping)

    async def examine(self, rows: Sequence[DigestedRow]) -> Examined:
        """Give each of these rows its verdict. A row that is deleted between two looks gets none."""
        examined, suspects = await self._look_at_all(rows)
        for look in range(1, MAX_LOOKS + 1):
            if not suspects:
                return examined
            await self._work.clock.sleep(self._work.recheck_delay_s)
            suspects = await self._look_again(suspects, examined, is_last=look == MAX_LOOKS)
        examined.leave_unverified(suspects)
        return examined

    async def look_briefly(self, rows: Sequence[DigestedRow]) -> Examined:
        """Give each of these rows a verdict without waiting: equal, or not verified yet.

        A row that does not match is looked at once more, when an item that was on its way has arrived.
        """
        examined, suspects = await self._look_at_all(rows)
        if suspects:
            await self._work.clock.sleep(min(_ON_THE_WAY_SECONDS, self._work.recheck_delay_s))
            again = await asyncio.to_thread(self._work.source.rows, list(suspects))
            arrived, suspects = await self._look_at_all(list(again.values()))
            examined.add(arrived)
        examined.leave_unverified(suspects)
        return examined

    async def _look_at_all(self, rows: Sequence[DigestedRow]) -> tuple[Examined, dict[str, Look]]:
        examined = Examined()
        looks = await gather(self._look(chunk, examined) for chunk in batched(rows, MAX_BATCH_GET))
        return examined, {row_id: look for found in looks for row_id, look in found.items()}

    async def _look(self, rows: Sequence[DigestedRow], examined: Examined) -> dict[str, Look]:
        """Compare the rows of one request as soon as it is answered, while other requests run.

        Returns what does not match.
        """
        ids = [row.id for row in rows]
        lookup = await self._target.get_many(ids)
        others: dict[str, Look] = {}
        for row_id, row in zip(ids, rows, strict=True):
            item = lookup.items.get(row_id)
            if item is None or not self._matches(row_id, row, item, examined):
                others[row_id] = Look(row, item, row_id in lookup.unread)
        return others

    async def _look_again(self, suspects: Mapping[str, Look], examined: Examined, is_last: bool) -> dict[str, Look]:
        """Judge what did not change since the last look; return what changed."""
        rows = await asyncio.to_thread(self._work.source.rows, list(suspects))
        lookup = await self._target.get_many(list(rows))
        moved: dict[str, Look] = {}
        for row_id, row in rows.items():
            before, now = suspects[row_id], Look(row, lookup.items.get(row_id), row_id in lookup.unread)
            if any(self._matches(row_id, row, item, examined) for item in may_equal(before, now, is_last)):
                examined.agreed_on_recheck += 1
            elif verdict := judge_difference(before, now):
                self._fault(row_id, verdict, row, now.item, examined)
            else:
                moved[row_id] = now
        return moved

    def _matches(self, row_id: str, row: DigestedRow, item: Item, examined: Examined) -> bool:
        comparison = self._compare(row, item)
        if comparison.differences:
            return False
        examined.results[row_id] = RowVerdict.MATCH
        # The item was found by the id that its key says.
        seen = EqualRow(row.digest, self._digest(item, row_id), len(comparison.inexact))
        examined.rows.equal[row_id] = seen
        self._count_undeclared(item, examined)
        return True

    def _fault(self, row_id: str, verdict: RowVerdict, row: DigestedRow, item: Item | None, examined: Examined) -> None:
        examined.results[row_id] = verdict
        if verdict is not RowVerdict.UNVERIFIED:  # an unknown result is looked at again
            examined.rows.at_fault[row_id] = row.digest
        if item is None or verdict is not RowVerdict.MISMATCH:
            examined.rows.faults.append(Mismatch(row_id, verdict))
            return
        self._count_undeclared(item, examined)
        examined.rows.faults += (
            Mismatch(row_id, verdict, found.attribute, found.expected, found.found)
            for found in self._compare(row, item).differences
        )

    def _count_undeclared(self, item: Item, examined: Examined) -> None:
        if undeclared := undeclared_attributes(self._target.mapping, item):
            examined.undeclared.update(undeclared)
