"""Judges the keys on which the sides of a census differed as a verification does: only what stays unchanged counts."""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from imgmig_dagster.batches import batched
from imgmig_dagster.mapping.rows import DigestedRow
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.source.counting import SAMPLE_SIZE
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state.audit import item_sha256
from imgmig_dagster.state.long_lists import LongList
from imgmig_dagster.steps.census_sides import Sides
from imgmig_dagster.steps.second_look import Examiner
from imgmig_dagster.steps.without_row import look_without_rows
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.census_results import CensusFinding

_ASKED_AT_ONCE: Final = 1_000
# A key may get a row, or lose it, between any two looks; if the application writes this often, it ends in the first.
_MAX_ROUNDS: Final = 5

_KIND_OF: Final = {
    RowVerdict.MATCH: "agreed_on_recheck",
    RowVerdict.MISMATCH: "differing",
    RowVerdict.MISSING: "missing",
    RowVerdict.UNVERIFIED: "unverified",
}
KINDS: Final = (*_KIND_OF.values(), "orphans")


class CensusJudge:
    """Counts what was found, and writes each finding to a list. `samples` has the first ids of each kind."""

    def __init__(self, work: ReadingWork, target: TargetTable, sides: Sides, findings: LongList) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: defaultdict[str, list[str]] = defaultdict(list)
        self.faults: dict[str, list[str]] = {}
        self.partitions: dict[str, str] = {}
        self._work = work
        self._target = target
        self._sides = sides
        self._findings = findings
        self._examiner = Examiner(work, target)

    async def judge(self, differing: Sequence[str]) -> None:
        """Record the truth about each of these keys."""
        for ids in batched(differing, _ASKED_AT_ONCE):
            await self._judge(ids)

    async def _judge(self, ids: Sequence[str]) -> None:
        """Unverified is a key whose row comes and goes at every round."""
        for _round in range(_MAX_ROUNDS):
            rows = await asyncio.to_thread(self._work.source.rows, ids)
            examined = await self._judge_rows(rows)
            ids = await self._judge_without_rows([row_id for row_id in ids if row_id not in examined])
            if not ids:
                return
        await self._record("unverified", dict.fromkeys(ids))

    async def _judge_rows(self, rows: Mapping[str, DigestedRow]) -> Mapping[str, RowVerdict]:
        self._sides.add_later(rows.values())
        examined = await self._examiner.examine(list(rows.values()))
        for verdict, kind in _KIND_OF.items():
            found = [row_id for row_id, given in examined.results.items() if given is verdict]
            await self._record(kind, dict.fromkeys(found))
            self._place(rows[row_id] for row_id in found if row_id in self.samples[kind])
        for mismatch in examined.rows.faults:
            if mismatch.attribute is not None and mismatch.row_id in self.samples["differing"]:
                self.faults.setdefault(mismatch.row_id, []).append(mismatch.attribute)
        return examined.results

    def _place(self, rows: Iterable[DigestedRow]) -> None:
        self.partitions |= {row.id: partition for row in rows if (partition := self._sides.partition(row))}

    async def _judge_without_rows(self, ids: Sequence[str]) -> list[str]:
        """Judge items without a row; return the ids that have a row now."""
        found = await look_without_rows(self._work, self._target, ids)
        await self._record("agreed_on_recheck", dict.fromkeys(found.gone))
        await self._record("unverified", dict.fromkeys(found.unverified))
        await self._record("orphans", {row_id: item_sha256(item) for row_id, item in found.orphans.items()})
        return found.have_rows

    async def _record(self, kind: str, found: Mapping[str, str | None]) -> None:
        self.counts[kind] += len(found)
        if kind != "agreed_on_recheck":
            self.samples[kind].extend(list(found)[: SAMPLE_SIZE - len(self.samples[kind])])
            entries = [CensusFinding(kind, row_id, sha256) for row_id, sha256 in found.items()]
            await asyncio.to_thread(self._findings.add, entries)
