"""Deletes the orphan items that a census named. A dry run unless the work may write.

`repair` writes items of rows, `repair_result` says what happened.
"""

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeAlias

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.rules.existing_item import is_of_another_entity
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import item_sha256
from imgmig_dagster.steps.audited import repairing
from imgmig_dagster.steps.repair_result import OrphanOutcome, RepairResult
from imgmig_dagster.steps.rows_left import refuse_unexplained
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.dry_run_table import Written
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.verification.census_results import CensusResult, listed_orphans
from imgmig_dagster.window import Window

_Look: TypeAlias = Coroutine[Any, Any, "OrphanOutcome | None"]


async def delete_orphans(
    work: ReadingWork,
    census: CensusResult | None,
    windows: Sequence[Window],
    confirm_deletes: int | None = None,
) -> RepairResult:
    """Delete orphan items that have not changed since they were seen; a dry run unless the work may write.

    Args:
        work: what it works on.
        census: the last one, which named them; the brake lets a share of its rows pass. Without one there is nothing.
        windows: the current partitions.
        confirm_deletes: how many items to delete; without it no more than the brake lets pass.

    Raises:
        CensusRefused: the census does not explain which rows the source no longer has.
        PartitionBusy: another run deletes orphan items.
        SourceError, TargetError: see there.
    """
    async with work.owning(names.ORPHANS_LOCK) as owned:
        seen: dict[str, str] = {}
        if census is not None:
            seen = await asyncio.to_thread(listed_orphans, work.state, census)
        if census is not None and seen:
            await refuse_unexplained(owned, census, windows, seen)
        started_at, brake = owned.clock.now(), Brake(census.source_rows if census else 0, confirm_deletes)
        async with repairing(owned, None, "orphans", list(seen)) as (target, audit):
            outcomes = await _Deletion(owned, target, seen).delete(brake if audit is not None else None)
        return RepairResult(
            partition=None,
            run_id=work.run_id,
            applied=audit is not None,
            outcomes={row_id: outcomes[row_id].value for row_id in seen},
            unlisted=0,
            audit=audit.place if audit is not None else None,
            started_at=started_at,
            finished_at=work.clock.now(),
        )


class _Deletion:
    """`seen` has the SHA-256 of each orphan item, by its id, as the census saw it."""

    def __init__(self, work: ReadingWork, target: Written, seen: Mapping[str, str]) -> None:
        self._work = work
        self._target = target
        self._seen = seen
        self._meter = work.meter("Repaired", "orphans", len(seen), noun="items")
        self._outcomes: dict[str, OrphanOutcome] = {}

    async def delete(self, brake: Brake | None) -> Mapping[str, OrphanOutcome]:
        """Judge all before the first one is deleted."""
        await self._each(list(self._seen), self._judge)
        doomed = [row_id for row_id in self._seen if row_id not in self._outcomes]
        if brake is not None and not brake.lets_pass(len(doomed)):
            return {**self._outcomes, **dict.fromkeys(doomed, OrphanOutcome.HELD_BACK)}
        await self._work.clock.sleep(self._work.recheck_delay_s if doomed else 0)
        await self._each(doomed, self._delete)
        return self._outcomes

    async def _each(self, ids: Sequence[str], look: Callable[[str], _Look]) -> None:
        for page in batched(ids, self._work.page_size):
            found = zip(page, await gather(look(row_id) for row_id in page), strict=True)
            done = {row_id: outcome for row_id, outcome in found if outcome is not None}
            self._outcomes.update(done)
            self._meter.advance(len(done))

    async def _judge(self, row_id: str) -> OrphanOutcome | None:
        """Why it must not be deleted; None if it may be."""
        try:
            found = await self._look_at(row_id)
        except (RetriesUsedUpError, DynamoDBError):
            return OrphanOutcome.FAILED
        return found if isinstance(found, OrphanOutcome) else None

    async def _delete(self, row_id: str) -> OrphanOutcome:
        try:
            found = await self._look_at(row_id)
            if isinstance(found, OrphanOutcome):
                return found
            # Refused although it is gone: our own delete, whose reply was lost.
            if await self._target.delete(row_id, found) or await self._target.get(row_id) is None:
                return OrphanOutcome.DELETED
        except (RetriesUsedUpError, DynamoDBError):
            return OrphanOutcome.FAILED
        return OrphanOutcome.CHANGED

    async def _look_at(self, row_id: str) -> Item | OrphanOutcome:
        item = await self._target.get(row_id)
        if item is None:
            return OrphanOutcome.GONE
        if not self._work.source.may_have(row_id) or is_of_another_entity(self._target.mapping, item):
            return OrphanOutcome.ANOTHER_ENTITY
        # The row last: if the application commits before it writes its item, the row of that item exists.
        if await asyncio.to_thread(self._work.source.rows, [row_id]):
            return OrphanOutcome.HAS_A_ROW
        return item if item_sha256(item) == self._seen[row_id] else OrphanOutcome.CHANGED
