"""One page of rows: transform, look up or write, judge existing items, and account for every row."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.compare import comparer
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.shown import value_of
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.rules.brake import may_take_back
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.steps.migration_result import Outcome
from imgmig_dagster.steps.outcomes import OutcomeRecord
from imgmig_dagster.steps.reconcile import Reconciler
from imgmig_dagster.target.client import DynamoDBError
from imgmig_dagster.target.dry_run_table import Written
from imgmig_dagster.target.inserts import MAX_BATCH_INSERT
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.writer import WriteFailure

_PERHAPS_WRITTEN_BY_US: Final = (Outcome.INSERTED, Outcome.IDENTICAL)


@dataclass(frozen=True)
class PageResult:
    """What happened to the rows of a page, or to some; `results` maps each row's id to its outcome."""

    results: Mapping[str, Outcome]
    failures: Sequence[Failure]
    tally: None = None

    def after(self, earlier: "PageResult") -> "PageResult":
        """See `walk.coverage.Findings`: if a second look finds all well, the first outcome stays."""
        again = {row_id: of for row_id, of in self.results.items() if of is not Outcome.IDENTICAL}
        return PageResult({**self.results, **earlier.results, **again}, self.failures)


class PageMigrator:
    """Brings the items of a page's rows into the target. `on_rows` gets the number of further rows that are done.

    `taken_back` collects the ids of items that were inserted
    while their rows were deleted, and deleted again; None leaves them to `Departures`.
    """

    def __init__(
        self,
        work: ReadingWork,
        target: Written,
        write_mode: WriteMode,
        on_rows: Callable[[int], None],
        source_wins: bool = False,
        taken_back: set[str] | None = None,
    ) -> None:
        self._work = work
        self._taken_back = taken_back
        self._target = target
        self._write_mode = write_mode
        self._reconciler = Reconciler(work, target, source_wins)
        self._on_rows = on_rows
        self._transform = transformer(target.mapping)
        self._compare = comparer(target.mapping)

    async def migrate(self, rows: Sequence[Row], look_first: bool) -> PageResult:
        """Write the rows' items.

        With `look_first` the target is read before anything is written, as in every pass after the first. An item that
        exists costs a read instead of a write, and a different one is judged. Batches are never written without a look:
        BatchWriteItem has no condition, and replaces any item.
        """
        page = OutcomeRecord()
        transformed = ((row, self._transform(row)) for row in rows)
        pending: list[tuple[Row, Item]] = []
        for row, item in transformed:
            if isinstance(item, Rejection):
                page.reject(item, self._value_at_fault(row, item.field))
            else:
                pending.append((row, item))
        self._on_rows(len(rows) - len(pending))
        in_batches = self._write_mode is WriteMode.BATCH
        if look_first or in_batches:
            pending = await self._look(pending, page)
        if in_batches:
            await self._write_batches(pending, page)
        else:
            await gather(self._put(batch, page) for batch in batched(pending, MAX_BATCH_INSERT))
            await self._look_again([row for row, _item in pending], page)
        return PageResult(page.outcomes, page.failures)

    async def _look(self, pending: list[tuple[Row, Item]], page: OutcomeRecord) -> list[tuple[Row, Item]]:
        """Record the rows whose items exist in the target, and return the others."""
        lookup = await self._target.get_many([row.id for row, _item in pending])
        absent: list[tuple[Row, Item]] = []
        differing: list[tuple[Row, Item]] = []
        for row, item in pending:
            row_id = row.id
            if row_id in lookup.unread:
                page.fail(row_id, "Unread", "the item could not be read; try again")
            elif (existing := lookup.items.get(row_id)) is None:
                absent.append((row, item))
            elif self._compare(row, existing).equal:
                page.outcomes[row_id] = Outcome.IDENTICAL
            else:
                differing.append((row, existing))
        await gather(self._reconcile(row, item, page) for row, item in differing)
        self._on_rows(len(pending) - len(absent))
        return absent

    async def _write_batches(self, pending: list[tuple[Row, Item]], page: OutcomeRecord) -> None:
        failures = await self._target.put_many([item for _row, item in pending], self._on_rows)
        for row, _item in pending:
            page.outcomes[row.id] = Outcome.WRITTEN
        for failure in failures:
            self._fail(failure, page)

    async def _put(self, pending: Sequence[tuple[Row, Item]], page: OutcomeRecord) -> None:
        found = await self._target.put_new_many([item for _row, item in pending])
        existing: list[tuple[Row, Item | None]] = []
        for (row, _item), each in zip(pending, found, strict=True):
            if each is None:
                page.outcomes[row.id] = Outcome.INSERTED
            elif isinstance(each, WriteFailure):
                self._fail(each, page)
            else:
                existing.append((row, each.item))
        await gather(self._reconcile(row, item, page) for row, item in existing)
        self._on_rows(len(pending))

    def _fail(self, failure: WriteFailure, page: OutcomeRecord) -> None:
        row_id = str(self._target.mapping.row_id(failure.item))
        if failure.permanent:
            page.reject(Rejection(row_id, None, failure.code, "DynamoDB rejected the item"))
        else:
            page.fail(row_id, failure.code, "retries used up")

    async def _look_again(self, rows: Sequence[Row], page: OutcomeRecord) -> None:
        """Read the written rows once more: judge again what changed since, and take back what is gone."""
        # An identical existing item may be our own, its reply lost. An updated item was looked at after its last write.
        written = {row.id: row for row in rows if page.outcomes.get(row.id) in _PERHAPS_WRITTEN_BY_US}
        now = await asyncio.to_thread(self._work.source.rows, list(written)) if written else {}
        await gather(self._reconcile(row, None, page) for row_id, row in written.items() if now.get(row_id) != row)
        gone = {row_id: row for row_id, row in written.items() if page.outcomes[row_id] is Outcome.VANISHED}
        if gone and self._taken_back is not None and may_take_back(len(gone), len(written)):
            await self._take_back(gone, self._taken_back)

    async def _take_back(self, gone: Mapping[str, Row], taken_back: set[str]) -> None:
        """Delete what was written for rows that went in between: nobody has seen it for longer than a page takes.

        An item that is not exactly what we wrote, or cannot be read or deleted now, is judged at the end of the pass.
        """
        items = (await self._target.get_many(list(gone))).items
        ours = {row_id: item for row_id, item in items.items() if item == self._transform(gone[row_id])}

        async def delete(row_id: str, item: Item) -> None:
            with suppress(RetriesUsedUpError, DynamoDBError):
                if await self._target.delete(row_id, item):
                    taken_back.add(row_id)

        await gather(delete(row_id, item) for row_id, item in ours.items())

    async def _reconcile(self, row: Row, existing: Item | None, page: OutcomeRecord) -> None:
        row_id = row.id
        with page.faults_of(row_id):
            outcome = await self._reconciler.reconcile(row_id, row, existing)
            if isinstance(outcome, Rejection):
                # From the current row, since its values were not kept.
                page.reject(outcome)
            elif outcome is not Outcome.IDENTICAL or row_id not in page.outcomes:
                # If the second look finds all well, the first outcome stays.
                page.outcomes[row_id] = outcome

    def _value_at_fault(self, row: Row, column: str | None) -> str | None:
        if not self._work.keep_values or column is None:
            return None
        return value_of(self._target.mapping.readings, row, column)
