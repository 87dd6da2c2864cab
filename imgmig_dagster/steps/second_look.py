"""Gives rows their verdicts: what differs is looked at again, on both sides, until it has held still."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.mapping.compare import comparer, undeclared_attributes
from imgmig_dagster.mapping.spec import Item, Row
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.target.requests import MAX_BATCH_GET
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.verification.results import Mismatch, Tally, Verdict

_MAX_LOOKS: Final = 5


@dataclass(frozen=True)
class Examined:
    """The verdicts of some rows by id, and what they come to."""

    results: dict[str, Verdict] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def record(self, verdict: Verdict, ids: Collection[str]) -> None:
        """Give rows without one their verdict."""
        self.results.update(dict.fromkeys(ids, verdict))
        self.tally.verdicts[verdict.value] += len(ids)

    def after(self, earlier: "Examined") -> "Examined":
        """See `walk.coverage.Findings`: what was seen of a row last counts."""
        again = earlier.results.keys() & self.results.keys()
        earlier.tally.forget(again, Counter(earlier.results[row_id].value for row_id in again))
        earlier.results.update(self.results)
        earlier.tally.add(self.tally)
        return earlier


@dataclass(frozen=True)
class _Sight:
    """A row and its item as one look found them; `unread` where the item could not be read."""

    row: Row
    item: Item | None
    unread: bool


class Examiner:
    """Compares rows with their items. Nothing is concluded from one look at a difference."""

    def __init__(
        self,
        source: SourceReader,
        target: TargetTable,
        settle_seconds: float,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._source = source
        self._target = target
        self._settle_seconds = settle_seconds
        self._sleep = sleep
        self._compare = comparer(target.mapping)

    async def examine(self, rows: Sequence[Row]) -> Examined:
        """Give each of these rows its verdict; one that is deleted between two looks gets none."""
        examined = Examined()
        looks = await gather(self._look(chunk, examined) for chunk in batched(rows, MAX_BATCH_GET))
        suspects = {row_id: sight for found in looks for row_id, sight in found.items()}
        for _look in range(_MAX_LOOKS):
            if not suspects:
                return examined
            await self._sleep(self._settle_seconds)
            suspects = await self._look_again(suspects, examined)
        for row_id in suspects:
            self._list(row_id, Verdict.UNVERIFIED, examined)
        return examined

    async def _look(self, rows: Sequence[Row], examined: Examined) -> dict[str, _Sight]:
        """Compare the rows of one request as soon as it is answered, while others are on their way.

        Returns what does not match.
        """
        ids = [row.id for row in rows]
        lookup = await self._target.get_many(ids)
        matching: list[str] = []
        others: dict[str, _Sight] = {}
        for row_id, row in zip(ids, rows, strict=True):
            item = lookup.items.get(row_id)
            if item is not None and self._matches(row, item, examined.tally):
                matching.append(row_id)
            else:
                others[row_id] = _Sight(row, item, row_id in lookup.unread)
        examined.record(Verdict.MATCH, matching)
        return others

    async def _look_again(self, suspects: Mapping[str, _Sight], examined: Examined) -> dict[str, _Sight]:
        """Judge what held still since the last look; return what moved."""
        rows = await asyncio.to_thread(self._source.rows, list(suspects))
        lookup = await self._target.get_many(list(rows))
        moved: dict[str, _Sight] = {}
        for row_id, row in rows.items():
            sight = _Sight(row, lookup.items.get(row_id), row_id in lookup.unread)
            if sight.item is not None and self._matches(row, sight.item, examined.tally):
                examined.record(Verdict.MATCH, [row_id])
                examined.tally.settled += 1
            elif sight == suspects[row_id]:
                self._judge(row_id, sight, examined)
            else:
                moved[row_id] = sight
        return moved

    def _matches(self, row: Row, item: Item, tally: Tally) -> bool:
        comparison = self._compare(row, item)
        if comparison.differences:
            return False
        tally.inexact_timestamps += len(comparison.inexact)
        self._count_undeclared(item, tally)
        return True

    def _judge(self, row_id: str, sight: _Sight, examined: Examined) -> None:
        if sight.unread:
            self._list(row_id, Verdict.UNVERIFIED, examined)
        elif sight.item is None:
            self._list(row_id, Verdict.MISSING, examined)
        else:
            examined.record(Verdict.MISMATCH, [row_id])
            self._count_undeclared(sight.item, examined.tally)
            for found in self._compare(sight.row, sight.item).differences:
                examined.tally.by_attribute[found.attribute] += 1
                examined.tally.list(Mismatch(row_id, Verdict.MISMATCH, found.attribute, found.expected, found.found))

    def _list(self, row_id: str, verdict: Verdict, examined: Examined) -> None:
        examined.record(verdict, [row_id])
        examined.tally.list(Mismatch(row_id, verdict))

    def _count_undeclared(self, item: Item, tally: Tally) -> None:
        if undeclared := undeclared_attributes(self._target.mapping, item):
            tally.undeclared.update(undeclared)
