"""The whole target against the whole source: missing, orphan and differing keys, in bounded memory.

Both sides are written as (id, digest) into a database file on disk, which is joined; only the keys on which the
sides differ are looked at again, by the rules of the field comparison. The rows are counted besides: not all that is
said of them may hang on one way of reading.
"""

import asyncio
import sqlite3
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.files import in_scratch, scratch_folder
from imgmig_dagster.mapping.compare import item_digest, row_digest
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.counting import SAMPLE_SIZE, RowCounts
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import item_sha256
from imgmig_dagster.state.records import save_lines
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import writes_so_far
from imgmig_dagster.steps.second_look import Examiner
from imgmig_dagster.steps.verify import identity_now
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.verification.census_results import ORPHANS, CensusFinding, CensusResult
from imgmig_dagster.verification.results import LISTED_MISMATCHES, Verdict
from imgmig_dagster.window import Window
from imgmig_dagster.work import ReadingWork

SEGMENTS: Final = 4
_CHUNK: Final = 1_000

_KINDS: Final = {
    Verdict.MATCH: "settled",
    Verdict.MISMATCH: "differing",
    Verdict.MISSING: "missing",
    Verdict.UNVERIFIED: "unverified",
}

_SCHEMA: Final = """
PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF;
CREATE TABLE source (id TEXT PRIMARY KEY, digest INTEGER NOT NULL, rows INTEGER NOT NULL DEFAULT 1) WITHOUT ROWID;
CREATE TABLE target (id TEXT PRIMARY KEY, digest INTEGER NOT NULL) WITHOUT ROWID;
CREATE TABLE recount (id TEXT PRIMARY KEY) WITHOUT ROWID;
"""
_ADD: Final = {
    # By keyset on the id, one that is met twice is of two rows.
    "source": "INSERT INTO source (id, digest) VALUES (?, ?) ON CONFLICT (id) DO UPDATE SET rows = rows + 1",
    # An item that is written while it is being read may be met twice.
    "target": "INSERT OR REPLACE INTO target VALUES (?, ?)",
}
_REPEATED: Final = "SELECT id FROM source WHERE rows > 1"
_DIFFERENCES: Final = """
SELECT id FROM source LEFT JOIN target USING (id) WHERE target.digest IS NOT source.digest AND source.rows = 1
UNION ALL SELECT id FROM target LEFT JOIN source USING (id) WHERE source.id IS NULL
"""


async def take_census(work: ReadingWork, windows: Sequence[Window]) -> CensusResult:
    """Compare everything.

    `windows` are the partitions, each of which begins where the one before it ends: rows outside are counted and
    sampled.

    Raises:
        SourceError, TargetError: see there. A census that could not read everything gives no result.
    """
    clock, target = work.clock, work.target.for_partition()
    started, started_at = clock.monotonic(), clock.now()
    # Before anything is looked at: what is written from here on voids the census.
    writes = await asyncio.to_thread(_writes, work.state, windows)
    identity = await identity_now(work)
    with scratch_folder("imgmig-census-") as folder:
        sides = _Sides(folder / "census.sqlite")
        # Both sides are read; the target's rows are about the source's.
        expected = 2 * await asyncio.to_thread(work.source.count_all)
        meter = ProgressMeter("Counted", "census", expected, work.listener)
        await gather(
            [_read_source(work, sides, meter), *(_read_segment(target, sides, n, meter) for n in range(SEGMENTS))]
        )
        rows, counts = await _count(work, windows, sides)
        repeated, repeated_ids = sides.repeated()
        if rows != counts.everything and not repeated:
            # The second row of an id may lie at a page's edge, behind which the next one began.
            found = await asyncio.to_thread(work.source.repeated_ids)
            repeated, repeated_ids = found.ids, found.sample_ids
        second_look = _SecondLook(work, target)
        for ids in sides.differences():
            await second_look.judge(ids)
        target_items = sides.count("target")
        sides.close()
    # Before the census itself, which counts them.
    await asyncio.to_thread(save_lines, work.state, names.CENSUS_FINDINGS, second_look.findings)
    return CensusResult(
        run_id=work.run_id,
        source_rows=rows,
        rows_counted=counts.everything,
        rows_in_partitions=sum(counts.table.rows_per_window.values()),
        target_items=target_items,
        other_entities=sides.other_entities,
        missing=second_look.counts["missing"],
        orphans=second_look.counts["orphans"],
        differing=second_look.counts["differing"],
        unverified=second_look.counts["unverified"],
        settled=second_look.counts["settled"],
        repeated=repeated,
        samples={kind: ids for kind, ids in (*second_look.samples.items(), ("repeated", repeated_ids)) if ids},
        rows_outside=counts.table.outside.rows,
        rows_outside_sample=counts.table.outside.sample_ids,
        partitions_from=windows[0].start.isoformat(),
        partitions_to=windows[-1].end.isoformat(),
        identity=identity,
        started_at=started_at,
        finished_at=clock.now(),
        duration_s=round(clock.monotonic() - started, 3),
        faults=second_look.faults,
        writes=writes,
    )


def _writes(state: StateStore, windows: Sequence[Window]) -> dict[str, int | None]:
    return {each.partition: writes_so_far(state, each.partition) for each in windows} | {
        ORPHANS: writes_so_far(state, None)
    }


async def _read_source(work: ReadingWork, sides: "_Sides", meter: ProgressMeter) -> None:
    async for page in ahead(work.source.all_rows(work.page_size)):
        sides.add("source", [(row.id, row_digest(work.source.mapping, row)) for row in page])
        meter.advance(len(page))


async def _count(work: ReadingWork, windows: Sequence[Window], sides: "_Sides") -> tuple[int, RowCounts]:
    """How many rows were read, one by one, and how many the source counts.

    Rows that came or went while the others were read are no disagreement: where the numbers differ, the ids are read
    once more on the snapshot of the counts. Rows that nobody saw before are then compared too.
    """
    counts = await asyncio.to_thread(work.source.counts, windows)
    if sides.count("source") == counts.everything:
        return counts.everything, counts
    async for recounted, ids in ahead(work.source.recount(windows, work.page_size)):
        counts = recounted
        sides.recount(ids)
    for unseen in sides.unseen():
        rows = await asyncio.to_thread(work.source.rows, unseen)
        sides.add("source", [(row_id, row_digest(work.source.mapping, row)) for row_id, row in rows.items()])
    sides.forget_gone()
    return sides.count("recount"), counts


async def _read_segment(target: TargetTable, sides: "_Sides", segment: int, meter: ProgressMeter) -> None:
    try:
        async for items in target.scan(segment, SEGMENTS):
            ours = [
                (row_id, item_digest(target.mapping, item))
                for item in items
                if (row_id := target.mapping.row_id(item)) is not None
            ]
            sides.other_entities += len(items) - len(ours)
            sides.add("target", ours)
            meter.advance(len(ours))
    except RetriesUsedUpError as error:
        raise TargetUnavailable(
            f"the scan of {target.name} could not be finished: {error.code}. Run the census again"
        ) from None


class _Sides:
    """The ids and digests of both sides, on disk."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with in_scratch(path):
            self._database = sqlite3.connect(path)
            self._database.executescript(_SCHEMA)
        self.other_entities = 0

    def add(self, side: str, rows: Sequence[tuple[str, int]]) -> None:
        self._change(_ADD[side], rows)

    def recount(self, ids: Sequence[str]) -> None:
        """Note ids that are in the source by now."""
        self._change("INSERT OR IGNORE INTO recount VALUES (?)", [(row_id,) for row_id in ids])

    def unseen(self) -> Iterator[Sequence[str]]:
        """The ids of the recount that were not read before."""
        # All at once: what is found of them is added meanwhile.
        found = self._ask("SELECT id FROM recount EXCEPT SELECT id FROM source")
        ids = [row_id for (row_id,) in found]
        return batched(ids, _CHUNK)

    def forget_gone(self) -> None:
        """Take back what was read of rows that the recount did not find."""
        self._change("DELETE FROM source WHERE id NOT IN (SELECT id FROM recount)", [()])

    def repeated(self) -> tuple[int, Sequence[str]]:
        """How many ids stand in the source more than once, and some of them."""
        ((count,),) = self._ask(f"SELECT count(*) FROM ({_REPEATED})")  # noqa: S608
        return count, [row_id for (row_id,) in self._ask(f"{_REPEATED} ORDER BY id LIMIT {SAMPLE_SIZE}")]

    def differences(self) -> Iterator[list[str]]:
        with in_scratch(self._path):
            found = self._database.execute(_DIFFERENCES)
            rows = found.fetchmany(_CHUNK)
        while rows:
            yield [row_id for (row_id,) in rows]
            with in_scratch(self._path):
                rows = found.fetchmany(_CHUNK)

    def count(self, side: str) -> int:
        found: int = self._ask(f"SELECT count(*) FROM {side}")[0][0]  # noqa: S608
        return found

    def close(self) -> None:
        self._database.close()

    def _change(self, statement: str, rows: Iterable[tuple[Any, ...]]) -> None:
        with in_scratch(self._path):
            self._database.executemany(statement, rows)

    def _ask(self, question: str) -> list[Any]:
        with in_scratch(self._path):
            return self._database.execute(question).fetchall()


class _SecondLook:
    """Judges the keys on which the sides differed as a verification would: what counts has held still."""

    def __init__(self, work: ReadingWork, target: TargetTable) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: defaultdict[str, list[str]] = defaultdict(list)
        self.findings: list[CensusFinding] = []
        self.faults: dict[str, list[str]] = {}
        self._work = work
        self._target = target
        self._examiner = Examiner(work.source, target, work.settle_seconds, work.clock.sleep)

    async def judge(self, ids: Sequence[str]) -> None:
        rows = await asyncio.to_thread(self._work.source.rows, ids)
        examined = await self._examiner.examine(list(rows.values()))
        for row_id, verdict in examined.results.items():
            self._count(_KINDS[verdict], row_id)
        for found in examined.tally.mismatches:
            if found.attribute is not None and found.row_id in self.samples["differing"]:
                self.faults.setdefault(found.row_id, []).append(found.attribute)
        await self._judge_without_row([row_id for row_id in ids if row_id not in examined.results])

    async def _judge_without_row(self, ids: Sequence[str]) -> None:
        """An item is an orphan if it stands there twice, a settle time apart, and its row never."""
        if not ids:
            return
        before = await self._target.get_many(ids)
        await self._work.clock.sleep(self._work.settle_seconds)
        rows = await asyncio.to_thread(self._work.source.rows, ids)
        after = await self._target.get_many(ids)
        for row_id in ids:
            item = after.items.get(row_id)
            if row_id in rows or row_id in after.unread or item != before.items.get(row_id):
                self._count("unverified", row_id)
            elif item is None:
                self._count("settled", row_id)
            else:
                self._count("orphans", row_id, item_sha256(item))

    def _count(self, kind: str, row_id: str, sha256: str | None = None) -> None:
        self.counts[kind] += 1
        if kind == "settled":
            return
        if len(self.samples[kind]) < SAMPLE_SIZE:
            self.samples[kind].append(row_id)
        if self.counts[kind] <= LISTED_MISMATCHES:
            self.findings.append(CensusFinding(kind, row_id, sha256))
