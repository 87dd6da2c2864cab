"""Looks at the existing item of a row, and writes by the rule for existing items (`rules.existing_item`)."""

import asyncio

from imgmig_dagster.mapping.compare import comparer
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.rules.existing_item import Action, Decision, ExistingItemRule
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.steps.migration_result import Outcome
from imgmig_dagster.steps.outcomes import KeepsChangingError
from imgmig_dagster.target.dry_run_table import Written

# A key that changes more often than this within the recheck delay is left to the next pass.
_MAX_LOOKS = 5


class Reconciler:
    """Brings items up to date by the rule. Each write has the condition that the item has not changed.

    Nothing is deleted here: rows that are gone are judged together (`departures`).
    """

    def __init__(self, work: ReadingWork, target: Written, source_wins: bool) -> None:
        self._work = work
        self._target = target
        self._transform = transformer(target.mapping)
        self._compare = comparer(target.mapping)
        self._rule = ExistingItemRule(target.mapping, source_wins)

    async def reconcile(self, row_id: str, row: Row, item: Item | None) -> Outcome | Rejection:
        """Bring the item of a row up to date by the rule, from a first look at both.

        Raises:
            KeepsChangingError: the key was written between all looks.
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
            decision = self._rule.decide(current, item, expected)
            if decision.action is Action.NONE:
                return reached
            if item is None:
                if await self._target.put_new(expected) is None:
                    # Look once more: the row may have been deleted between our look and our write.
                    reached = Outcome.INSERTED
                continue
            outcome = await self._carry_out(decision, row_id, current, item)
            if outcome is Outcome.COMPLETED:
                # Judged again at the next look: the item that was read may also be stale.
                reached = outcome
            elif outcome is not None:
                return outcome
        raise KeepsChangingError

    async def _carry_out(self, decision: Decision, row_id: str, row: Row, item: Item) -> Outcome | None:
        """The outcome for an item that differs; None if row or item changed, or somebody else wrote."""
        if decision.has_to_hold_still:
            await self._work.clock.sleep(self._work.recheck_delay_s)
            if await self._look(row_id) != (row, item):
                return None
        if decision.action is Action.LEAVE:
            return Outcome.NEWER_IN_TARGET
        if not await self._target.update(row_id, item, decision.assignments):
            return None
        return Outcome.COMPLETED if decision.action is Action.COMPLETE else Outcome.UPDATED

    async def _look(self, row_id: str) -> tuple[Row | None, Item | None]:
        # The row first: if the application commits and then writes the item, the item cannot look stale.
        rows = await asyncio.to_thread(self._work.source.rows, [row_id])
        return rows.get(row_id), await self._target.get(row_id)
