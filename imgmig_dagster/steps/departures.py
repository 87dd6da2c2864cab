"""Rows that were not seen, or are not where they were seen: all are judged first, and deletes are sent afterwards.

An item is deleted if its row is gone, nobody wrote it since the migration did, both still hold after the recheck delay,
and the brake lets that many pass. Other deletes are held back: they wait in the ledger until a person confirms the
number, over any number of retries and passes.
"""

from collections.abc import AsyncIterator, Callable, Collection, Sequence
from dataclasses import dataclass

from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.rules.existing_item import is_as_migrated
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state.audit import item_sha256
from imgmig_dagster.state.failures import HELD_BACK
from imgmig_dagster.steps.migration_result import Outcome
from imgmig_dagster.steps.outcomes import OutcomeRecord
from imgmig_dagster.steps.page import PageMigrator
from imgmig_dagster.target.dry_run_table import Written
from imgmig_dagster.walk.walk import rows_of


class Departed(OutcomeRecord):
    """What happened to the rows; of the items whose rows are gone, how many were deleted, and how many left alone."""

    def __init__(self) -> None:
        super().__init__()
        self.items_deleted = 0
        self.items_left = 0


@dataclass(frozen=True)
class Departures:
    """Takes rows by their ids: migrates those that exist, and judges all that are gone together.

    `begun` holds the ids whose items an interrupted run of the same pass began to delete: they count against the brake
    once more. `begin` gets all ids that will be deleted, before the first delete.
    """

    work: ReadingWork
    target: Written
    migrator: PageMigrator
    on_rows: Callable[[int], None]
    begun: Collection[str] = ()
    begin: Callable[[Collection[str]], None] = lambda _ids: None

    async def handle(self, ids: Sequence[str], brake: Brake, held: Collection[str]) -> Departed:
        """Give each of these rows an outcome; `held` ones were held back earlier, and wait for the brake's number.

        Raises:
            SourceError, TargetError: see there. The next run judges the rest again.
        """
        found = Departed()
        doomed = await self._judge(ids, found)
        chosen: set[str] = set()
        if doomed and not brake.lets_pass(len(doomed.keys() | set(self.begun))):
            # The application, which deletes the row first, may be about to delete these items.
            await self.work.clock.sleep(self.work.recheck_delay_s)
            doomed = await self._judge(list(doomed), found)
        if brake.lets_pass(len(doomed.keys() | set(self.begun))):
            chosen = doomed.keys() - (held if brake.confirmed is None else ())
        if chosen:
            self.begin(chosen)
            await self.work.clock.sleep(self.work.recheck_delay_s)
            await self._delete({row_id: doomed[row_id] for row_id in chosen}, found)
        # Nobody let pass what could not be looked at, or deleted.
        failed = {row_id for row_id in held if found.outcomes.get(row_id) is Outcome.FAILED}
        for row_id in (doomed.keys() - chosen) | failed:
            found.fail(
                row_id,
                HELD_BACK,
                "its row is gone; its item is deleted once the number of deletes is confirmed",
                Outcome.HELD_BACK,
            )
        return found

    async def _judge(self, ids: Sequence[str], found: Departed) -> dict[str, str]:
        """The SHA-256, by id, of the items to delete; all other rows get their outcome."""
        doomed: dict[str, str] = {}
        async for gone in self._migrate(ids, found):
            self.on_rows(len([row_id for row_id in gone if row_id not in found.outcomes]))
            for row_id, item in (await self._items(gone, found)).items():
                found.outcomes[row_id] = Outcome.VANISHED
                if item is None:
                    found.items_deleted += row_id in self.begun
                elif is_as_migrated(self.target.mapping, item):
                    doomed[row_id] = item_sha256(item)
                else:
                    found.items_left += 1
        return doomed

    async def _delete(self, doomed: dict[str, str], found: Departed) -> None:
        async for gone in self._migrate(list(doomed), found):
            items = await self._items(gone, found)
            await gather(self._delete_one(row_id, item, doomed[row_id], found) for row_id, item in items.items())

    async def _delete_one(self, row_id: str, item: Item | None, sha256: str, found: Departed) -> None:
        with found.faults_of(row_id):
            if item is None:
                return
            as_judged = item_sha256(item) == sha256
            # Refused although it is gone: our own delete, whose reply was lost.
            if as_judged and (await self.target.delete(row_id, item) or await self.target.get(row_id) is None):
                found.items_deleted += 1
            else:
                found.items_left += 1

    async def _migrate(self, ids: Sequence[str], found: Departed) -> AsyncIterator[list[str]]:
        """Migrate those that have a row, as it is now. Yields the others, and those whose row went in between."""
        async for some, rows in rows_of(self.work, ids):
            result = await self.migrator.migrate(list(rows.values()), look_first=True)
            found.take(result.results, result.failures)
            went = [row_id for row_id, outcome in result.results.items() if outcome is Outcome.VANISHED]
            yield [*went, *(row_id for row_id in some if row_id not in rows)]

    async def _items(self, ids: Sequence[str], found: Departed) -> dict[str, Item | None]:
        """The items of these ids, read after their rows. Those that could not be read have failed."""
        lookup = await self.target.get_many(ids)
        for row_id in lookup.unread:
            found.fail(row_id, "Unread", "the item could not be read; try again")
        return {row_id: lookup.items.get(row_id) for row_id in ids if row_id not in lookup.unread}
