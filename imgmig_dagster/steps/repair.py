"""Repairs what a verification found, and deletes orphan items. A dry run unless it is to apply the changes.

`reconcile` writes by the rule; `repair_outcomes` says in words what happened.
"""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass
from enum import Enum
from typing import Annotated, Any, Final, TypeAlias

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.figures import Figure
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.rules.existing_item import is_of_another_entity
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import AuditLog, item_sha256
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.audited import AuditedTable
from imgmig_dagster.steps.departures import Departures
from imgmig_dagster.steps.migration_result import NOT_WRITTEN, Outcome
from imgmig_dagster.steps.page import PageMigrator
from imgmig_dagster.steps.reconcile import Reconciler
from imgmig_dagster.steps.rows_left import refuse_unexplained
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.dry_run_table import DryRunTable, Written
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.writer import WritableTable
from imgmig_dagster.verification.census_results import CensusResult, listed_orphans
from imgmig_dagster.verification.row_parts import ids_at_fault
from imgmig_dagster.verification.verification_result import Mismatch, VerificationResult
from imgmig_dagster.window import Window

_PAGE: Final = 500
_Work: TypeAlias = Coroutine[Any, Any, "OrphanOutcome | None"]


class OrphanOutcome(str, Enum):
    """What happened to an item that had no row."""

    DELETED = "deleted"
    HAS_A_ROW = "has_a_row"
    """A row has its id now."""
    CHANGED = "changed"
    """It is not the item that the census saw: somebody still writes it."""
    ANOTHER_ENTITY = "another_entity"
    """No row can have its id, or a constant of the mapping differs: it is left alone."""
    GONE = "gone"
    HELD_BACK = "held_back"
    """Too many deletes at once: somebody has to confirm their number."""
    FAILED = "failed"
    """It could not be read or deleted: try again."""


@dataclass(frozen=True)
class RepairResult:
    """What a repair did, or in a dry run would do; of a partition, or of orphan items if that is None.

    `outcomes` maps each row id to its `Outcome` value, or `OrphanOutcome` value. `unlisted` faults were counted by the
    verification, or orphan items by the census, beyond the end of their list: nothing was done about them. `audit`
    names the file of the changes.
    """

    partition: str | None
    run_id: str
    applied: Annotated[bool, Figure("whether anything was written", "")]
    outcomes: Mapping[str, str]
    unlisted: Annotated[int, Figure("faults beyond the end of their list, left alone", "keys", "beyond_the_list")]
    audit: str | None
    started_at: str
    finished_at: str

    @property
    def keys(self) -> Annotated[int, Figure(unit="keys")]:
        """How many row ids were worked on."""
        return len(self.outcomes)

    @property
    def counts(self) -> Annotated[Mapping[str, int], Figure(unit="keys", name="outcomes")]:
        """How many row ids ended in each outcome."""
        return dict(Counter(self.outcomes.values()))


def keys_at_fault(store: StateStore, partition: str) -> tuple[Sequence[str], int]:
    """Every row id of a partition in which its last verification found a fault, and how many faults it did not list.

    Only a verification of an earlier version left any out.

    Raises:
        StateError: what it found is gone or cannot be read.
    """
    evidence = load_record(store, names.evidence(partition), VerificationResult)
    if evidence is None:
        return [], 0
    if evidence.segments:
        return ids_at_fault(store, evidence), 0
    listed = load_lines(store, names.mismatches(partition), Mismatch)
    return list(dict.fromkeys(found.row_id for found in listed)), evidence.mismatches_found - len(listed)


async def repair(
    work: ReadingWork, partition: str, ids: Sequence[str], unlisted: int, source_wins: bool = False
) -> RepairResult:
    """Repair exactly these rows of a partition, by the one rule for existing items.

    An item whose row is gone is left alone: it is an orphan item, which the next census names. With `source_wins` an
    item that is newer than its row is overwritten too. If the work may not write, it is a dry run.

    Raises:
        PartitionBusy: another run works on this partition.
        SourceError, TargetError: see there. The audit record holds what was done until then.
    """
    async with work.owning(names.write_lock(partition)) as owned:
        run = _Repair(owned, partition)
        async with run.writing(partition, ids):
            return await run.repair(partition, ids, unlisted, source_wins)


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
        run = _Repair(owned, "orphans")
        async with run.writing(None, list(seen)):
            return await run.delete_orphans(seen, Brake(census.source_rows if census else 0, confirm_deletes))


class _Repair:
    def __init__(self, work: ReadingWork, of: str) -> None:
        self._work = work
        may_write = isinstance(work.target, WritableTable)
        masked = work.source.mapping.sensitive_attributes
        audit = AuditLog(work.state, work.run_id, of, work.keep_values, work.clock.now, masked)
        self._audit = audit if may_write else None

    @asynccontextmanager
    async def writing(self, partition: str | None, ids: Sequence[str]) -> AsyncIterator[None]:
        """Record that these rows may be written, if the work may write."""
        # If the target is away, the run ends, instead of leaving every item unread.
        await self._work.target_identity()
        if self._audit is None:
            yield
        else:
            async with self._work.writing(partition, "repair", ids):
                yield

    async def repair(self, partition: str, ids: Sequence[str], unlisted: int, source_wins: bool) -> RepairResult:
        """See the function of that name."""
        work, target = self._work, self._target()
        started_at, outcomes = self._work.clock.now(), dict[str, str]()
        meter = self._work.meter("Repaired", partition, len(ids))
        ledger = FailureLedger(work.state, partition)
        async with self._flushed():
            reconciler = Reconciler(work.source, target, work.recheck_delay_s, work.clock.sleep, source_wins)
            # Regardless of the setting: a repair never replaces an item that it has not seen.
            migrator = PageMigrator(
                work.source, target, WriteMode.CONDITIONAL, reconciler, meter.advance, work.keep_values
            )
            departures = Departures(
                work.source, target, migrator, work.recheck_delay_s, _PAGE, lambda _rows: None, sleep=work.clock.sleep
            )
            went: list[str] = []

            def record(done: Mapping[str, Outcome], failures: Sequence[Failure]) -> None:
                outcomes.update({row_id: outcome.value for row_id, outcome in done.items()})
                if self._audit is not None:
                    ledger.record(failures, [row_id for row_id, outcome in done.items() if outcome not in NOT_WRITTEN])

            for page in batched(ids, _PAGE):
                rows = await asyncio.to_thread(work.source.rows, page)
                result = await migrator.migrate(list(rows.values()), look_first=True)
                outcomes.update({row_id: Outcome.VANISHED.value for row_id in page if row_id not in rows})
                gone = {row_id for row_id, outcome in result.results.items() if outcome is Outcome.VANISHED}
                record({row_id: of for row_id, of in result.results.items() if row_id not in gone}, result.failures)
                went += gone
            # An item written for a row that was deleted during the write must be deleted too; all of them pass one
            # brake.
            departed = await departures.handle(went, Brake(len(ids)), held=())
            record(departed.outcomes, departed.failures)
        return self._result(partition, outcomes, unlisted, started_at)

    async def delete_orphans(self, seen: Mapping[str, str], brake: Brake) -> RepairResult:
        """See the function of that name."""
        target = self._target()
        started_at, outcomes = self._work.clock.now(), dict[str, str]()
        meter = self._work.meter("Repaired", "orphans", len(seen), noun="items")
        async with self._flushed():

            async def each(ids: Sequence[str], work: Callable[[str], _Work]) -> None:
                for page in batched(ids, _PAGE):
                    found = zip(page, await gather(work(row_id) for row_id in page), strict=True)
                    recorded = {row_id: outcome.value for row_id, outcome in found if outcome is not None}
                    outcomes.update(recorded)
                    meter.advance(len(recorded))

            # All are judged before the first one is deleted.
            await each(list(seen), lambda row_id: self._judge_orphan(target, row_id, seen[row_id]))
            doomed = [row_id for row_id in seen if row_id not in outcomes]
            if self._audit is not None and not brake.lets_pass(len(doomed)):
                outcomes.update(dict.fromkeys(doomed, OrphanOutcome.HELD_BACK.value))
            else:
                await self._work.clock.sleep(self._work.recheck_delay_s if doomed else 0)
                await each(doomed, lambda row_id: self._delete_orphan(target, row_id, seen[row_id]))
        return self._result(None, {row_id: outcomes[row_id] for row_id in seen}, 0, started_at)

    async def _judge_orphan(self, target: Written, row_id: str, seen_sha256: str) -> OrphanOutcome | None:
        """Why it must not be deleted; None if it may be."""
        try:
            found = await self._look_at_orphan(target, row_id, seen_sha256)
        except (RetriesUsedUpError, DynamoDBError):
            return OrphanOutcome.FAILED
        return found if isinstance(found, OrphanOutcome) else None

    async def _delete_orphan(self, target: Written, row_id: str, seen_sha256: str) -> OrphanOutcome:
        try:
            found = await self._look_at_orphan(target, row_id, seen_sha256)
            if isinstance(found, OrphanOutcome):
                return found
            # Refused although it is gone: our own delete, whose reply was lost.
            if await target.delete(row_id, found) or await target.get(row_id) is None:
                return OrphanOutcome.DELETED
        except (RetriesUsedUpError, DynamoDBError):
            return OrphanOutcome.FAILED
        return OrphanOutcome.CHANGED

    async def _look_at_orphan(self, target: Written, row_id: str, seen_sha256: str) -> Item | OrphanOutcome:
        item = await target.get(row_id)
        if item is None:
            return OrphanOutcome.GONE
        if not self._work.source.may_have(row_id) or is_of_another_entity(target.mapping, item):
            return OrphanOutcome.ANOTHER_ENTITY
        # The row last: if the application commits before it writes its item, the row of that item exists.
        if await asyncio.to_thread(self._work.source.rows, [row_id]):
            return OrphanOutcome.HAS_A_ROW
        return item if item_sha256(item) == seen_sha256 else OrphanOutcome.CHANGED

    def _target(self) -> Written:
        table = self._work.target
        if isinstance(table, WritableTable) and self._audit is not None:
            return AuditedTable(table, self._audit)
        return DryRunTable(table)

    def _flushed(self) -> AbstractAsyncContextManager[None]:
        return self._audit.flushed() if self._audit is not None else nullcontext()

    def _result(
        self,
        partition: str | None,
        outcomes: Mapping[str, str],
        unlisted: int,
        started_at: str,
    ) -> RepairResult:
        return RepairResult(
            partition=partition,
            run_id=self._work.run_id,
            applied=self._audit is not None,
            outcomes=outcomes,
            unlisted=unlisted,
            audit=self._audit.place if self._audit is not None else None,
            started_at=started_at,
            finished_at=self._work.clock.now(),
        )
