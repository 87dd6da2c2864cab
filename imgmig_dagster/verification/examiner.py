"""Gives rows their verdicts: what differs is looked at again, on both sides, until it has held still."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from imgmig_dagster.mapping.compare import comparer, undeclared_attributes
from imgmig_dagster.mapping.spec import Item, Row
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.verification.results import Mismatch, Tally, Verdict

_MAX_LOOKS: Final = 5


@dataclass(frozen=True)
class Examined:
    """The verdicts of some rows by id, and what they come to."""

    verdicts: dict[str, Verdict] = field(default_factory=dict)
    tally: Tally = field(default_factory=Tally)

    def record(self, row_id: str, verdict: Verdict) -> None:
        """Give a row its verdict."""
        self.verdicts[row_id] = verdict
        self.tally.verdicts[verdict.value] += 1


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
        lookup = await self._target.get_many([str(row[0]) for row in rows])
        sights = {str(row[0]): _Sight(row, lookup.items.get(str(row[0])), str(row[0]) in lookup.unread) for row in rows}
        suspects = {row_id: sight for row_id, sight in sights.items() if not self._matches(row_id, sight, examined)}
        for _look in range(_MAX_LOOKS):
            if not suspects:
                return examined
            await self._sleep(self._settle_seconds)
            suspects = await self._look_again(suspects, examined)
        for row_id in suspects:
            self._list(row_id, Verdict.UNVERIFIED, examined)
        return examined

    async def _look_again(self, suspects: Mapping[str, _Sight], examined: Examined) -> dict[str, _Sight]:
        """Judge what held still since the last look; return what moved."""
        rows = await asyncio.to_thread(self._source.rows, list(suspects))
        lookup = await self._target.get_many(list(rows))
        moved: dict[str, _Sight] = {}
        for row_id, row in rows.items():
            sight = _Sight(row, lookup.items.get(row_id), row_id in lookup.unread)
            if self._matches(row_id, sight, examined):
                examined.tally.settled += 1
            elif sight == suspects[row_id]:
                self._judge(row_id, sight, examined)
            else:
                moved[row_id] = sight
        return moved

    def _matches(self, row_id: str, sight: _Sight, examined: Examined) -> bool:
        if sight.item is None:
            return False
        comparison = self._compare(sight.row, sight.item)
        if not comparison.equal:
            return False
        examined.record(row_id, Verdict.MATCH)
        if comparison.inexact:
            examined.tally.inexact_timestamps += len(comparison.inexact)
        self._count_undeclared(sight.item, examined)
        return True

    def _judge(self, row_id: str, sight: _Sight, examined: Examined) -> None:
        if sight.unread:
            self._list(row_id, Verdict.UNVERIFIED, examined)
        elif sight.item is None:
            self._list(row_id, Verdict.MISSING, examined)
        else:
            examined.record(row_id, Verdict.MISMATCH)
            self._count_undeclared(sight.item, examined)
            for found in self._compare(sight.row, sight.item).differences:
                examined.tally.by_attribute[found.attribute] += 1
                examined.tally.list(Mismatch(row_id, Verdict.MISMATCH, found.attribute, found.expected, found.found))

    def _list(self, row_id: str, verdict: Verdict, examined: Examined) -> None:
        examined.record(row_id, verdict)
        examined.tally.list(Mismatch(row_id, verdict))

    def _count_undeclared(self, item: Item, examined: Examined) -> None:
        if undeclared := undeclared_attributes(self._target.mapping, item):
            examined.tally.undeclared.update(undeclared)
