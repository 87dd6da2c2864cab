"""Gives rows their verdicts: differences are looked at again, on both sides, until row and item stop changing.

`verify`, `census` and `follow` use it; `without_row` does the same for items without a row.
"""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.compare import comparer, undeclared_attributes
from imgmig_dagster.mapping.digests import item_digester
from imgmig_dagster.mapping.rows import DigestedRow, Item
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.records import renamed
from imgmig_dagster.target.requests import MAX_BATCH_GET
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.row_parts import EqualRow, PackedRows, SeenRows
from imgmig_dagster.verification.verification_result import Mismatch, RowVerdict

MAX_LOOKS: Final = 5
"""How often a row that keeps changing is looked at again, before it stays unverified."""
_ON_THE_WAY_SECONDS: Final = 0.25


@dataclass(frozen=True)
class LoggedRows:
    """What a pass keeps of examined rows until it ends; see `Examined`."""

    rows: PackedRows
    faults: Sequence[Mismatch]
    undeclared: Mapping[str, int]
    agreed_on_recheck: Annotated[int, renamed("agreed_on_recheck", "settled")]


@dataclass
class Examined:
    """The verdicts of some rows by id, and what was seen of them.

    `undeclared` counts attributes that the mapping does not know, `agreed_on_recheck` rows that differed at first and
    agreed on recheck.
    """

    results: dict[str, RowVerdict] = field(default_factory=dict)
    rows: SeenRows = field(default_factory=SeenRows)
    undeclared: Counter[str] = field(default_factory=Counter)
    agreed_on_recheck: int = 0

    @property
    def tally(self) -> LoggedRows:
        """See `walk.coverage.Findings`."""
        return LoggedRows(PackedRows.of(self.rows), self.rows.faults, self.undeclared, self.agreed_on_recheck)

    def after(self, earlier: "Examined") -> "Examined":
        """See `walk.coverage.Findings`: what was last seen of a row counts."""
        if again := earlier.results.keys() & self.results.keys():
            earlier.rows.forget(again)
        earlier.add(self)
        return earlier

    def add(self, other: "Examined") -> None:
        """Add the counts of other rows."""
        self.results.update(other.results)
        self.rows.add(other.rows)
        self.undeclared.update(other.undeclared)
        self.agreed_on_recheck += other.agreed_on_recheck


@dataclass(frozen=True)
class _RowAndItem:
    """A row and its item as one look found them; `unread` if the item could not be read."""

    row: DigestedRow
    item: Item | None
    unread: bool


class Examiner:
    """Compares rows with their items. One look at a difference proves nothing."""

    def __init__(
        self,
        source: SourceReader,
        target: TargetTable,
        recheck_delay_s: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._target = target
        self._recheck_delay_s = recheck_delay_s
        self._sleep = sleep
        self._compare = comparer(target.mapping)
        self._digest = item_digester(target.mapping)

    async def examine(self, rows: Sequence[DigestedRow]) -> Examined:
        """Give each of these rows its verdict. A row that is deleted between two looks gets none."""
        examined, suspects = await self._look_at_all(rows)
        for look in range(1, MAX_LOOKS + 1):
            if not suspects:
                return examined
            await self._sleep(self._recheck_delay_s)
            suspects = await self._look_again(suspects, examined, is_last=look == MAX_LOOKS)
        for row_id, sight in suspects.items():
            self._fault(row_id, RowVerdict.UNVERIFIED, sight, examined)
        return examined

    async def look_briefly(self, rows: Sequence[DigestedRow]) -> Examined:
        """Give each of these rows a verdict without waiting: equal, or not verified yet.

        A row that does not match is looked at once more, when an item that was on its way has arrived.
        """
        examined, suspects = await self._look_at_all(rows)
        if suspects:
            await self._sleep(min(_ON_THE_WAY_SECONDS, self._recheck_delay_s))
            again = await asyncio.to_thread(self._source.rows, list(suspects))
            arrived, suspects = await self._look_at_all(list(again.values()))
            examined.add(arrived)
        for row_id, sight in suspects.items():
            self._fault(row_id, RowVerdict.UNVERIFIED, sight, examined)
        return examined

    async def _look_at_all(self, rows: Sequence[DigestedRow]) -> tuple[Examined, dict[str, _RowAndItem]]:
        examined = Examined()
        looks = await gather(self._look(chunk, examined) for chunk in batched(rows, MAX_BATCH_GET))
        return examined, {row_id: sight for found in looks for row_id, sight in found.items()}

    async def _look(self, rows: Sequence[DigestedRow], examined: Examined) -> dict[str, _RowAndItem]:
        """Compare the rows of one request as soon as it is answered, while other requests run.

        Returns what does not match.
        """
        ids = [row.id for row in rows]
        lookup = await self._target.get_many(ids)
        others: dict[str, _RowAndItem] = {}
        for row_id, row in zip(ids, rows, strict=True):
            item = lookup.items.get(row_id)
            if item is None or not self._matches(row_id, row, item, examined):
                others[row_id] = _RowAndItem(row, item, row_id in lookup.unread)
        return others

    async def _look_again(
        self, suspects: Mapping[str, _RowAndItem], examined: Examined, is_last: bool
    ) -> dict[str, _RowAndItem]:
        """Judge what did not change since the last look; return what changed."""
        rows = await asyncio.to_thread(self._source.rows, list(suspects))
        lookup = await self._target.get_many(list(rows))
        moved: dict[str, _RowAndItem] = {}
        for row_id, row in rows.items():
            sight, before = _RowAndItem(row, lookup.items.get(row_id), row_id in lookup.unread), suspects[row_id].item
            # A row may change at every look, so that its item always shows the row of the look before. They were equal
            # then, since the row is written first.
            items = [item for item in (sight.item, before if is_last else None) if item is not None]
            if any(self._matches(row_id, row, item, examined) for item in items):
                examined.agreed_on_recheck += 1
            elif sight == suspects[row_id]:
                self._judge(row_id, sight, examined)
            else:
                moved[row_id] = sight
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

    def _judge(self, row_id: str, sight: _RowAndItem, examined: Examined) -> None:
        if sight.unread:
            self._fault(row_id, RowVerdict.UNVERIFIED, sight, examined)
        elif sight.item is None:
            self._fault(row_id, RowVerdict.MISSING, sight, examined)
        else:
            differences = self._compare(sight.row, sight.item).differences
            self._count_undeclared(sight.item, examined)
            examined.results[row_id] = RowVerdict.MISMATCH
            examined.rows.at_fault[row_id] = sight.row.digest
            examined.rows.faults += (
                Mismatch(row_id, RowVerdict.MISMATCH, found.attribute, found.expected, found.found)
                for found in differences
            )

    def _fault(self, row_id: str, verdict: RowVerdict, sight: _RowAndItem, examined: Examined) -> None:
        examined.results[row_id] = verdict
        examined.rows.faults.append(Mismatch(row_id, verdict))
        if verdict is not RowVerdict.UNVERIFIED:  # an unknown result is looked at again
            examined.rows.at_fault[row_id] = sight.row.digest

    def _count_undeclared(self, item: Item, examined: Examined) -> None:
        if undeclared := undeclared_attributes(self._target.mapping, item):
            examined.undeclared.update(undeclared)
