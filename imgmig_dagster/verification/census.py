"""The whole target against the whole source: missing, orphan and differing keys, in bounded memory.

Both sides are written as (id, digest) into a database file on disk, which is joined; only the keys on which the
sides differ are looked at again, by the rules of the field comparison.
"""

import asyncio
import sqlite3
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Final

from imgmig_dagster.concurrency import gather
from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.files import in_scratch, scratch_folder
from imgmig_dagster.mapping.compare import item_digest, row_digest
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.source.reader import SAMPLE_SIZE
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import item_sha256
from imgmig_dagster.state.records import save_lines
from imgmig_dagster.target.sender import RetriesUsedUpError
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.verification.examiner import Examiner
from imgmig_dagster.verification.results import LISTED_MISMATCHES, CensusFinding, CensusResult, Verdict
from imgmig_dagster.verification.verifier import VerificationRun
from imgmig_dagster.window import now

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
CREATE TABLE source (id TEXT PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID;
CREATE TABLE target (id TEXT PRIMARY KEY, digest BLOB NOT NULL) WITHOUT ROWID;
"""
_DIFFERENCES: Final = """
SELECT id FROM source LEFT JOIN target USING (id) WHERE target.digest IS NOT source.digest
UNION ALL SELECT id FROM target LEFT JOIN source USING (id) WHERE source.id IS NULL
"""


def take_census(run: VerificationRun, partitions_from: datetime, partitions_to: datetime) -> CensusResult:
    """Compare everything.

    `partitions_from` and `partitions_to` bound the partitions: rows outside are counted and sampled.

    Raises:
        SourceError, TargetError: see there. A census that could not read everything gives no result.
    """
    return asyncio.run(_census(run, partitions_from, partitions_to))


async def _census(run: VerificationRun, partitions_from: datetime, partitions_to: datetime) -> CensusResult:
    started, started_at = time.monotonic(), now()
    identity = run.identity()
    outside = await asyncio.to_thread(run.source.rows_outside, partitions_from, partitions_to)
    with scratch_folder("imgmig-census-") as folder:
        sides = _Sides(folder / "census.sqlite")
        async with run.target.open() as target:
            # Both sides are read; the target's rows are about the source's.
            expected = 2 * await asyncio.to_thread(run.source.count_all)
            meter = ProgressMeter("Counted", "census", expected, run.listener)
            await gather(
                [_read_source(run, sides, meter), *(_read_segment(target, sides, n, meter) for n in range(SEGMENTS))]
            )
            second_look = _SecondLook(run, target)
            for ids in sides.differences():
                await second_look.judge(ids)
        source_rows, target_items = sides.counts()
        sides.close()
    # Before the census itself, which counts them.
    await asyncio.to_thread(save_lines, run.state, names.CENSUS_FINDINGS, second_look.findings)
    return CensusResult(
        run_id=run.run_id,
        source_rows=source_rows,
        target_items=target_items,
        other_entities=sides.other_entities,
        missing=second_look.counts["missing"],
        orphans=second_look.counts["orphans"],
        differing=second_look.counts["differing"],
        unverified=second_look.counts["unverified"],
        settled=second_look.counts["settled"],
        samples={kind: ids for kind, ids in second_look.samples.items() if ids},
        rows_outside=outside.rows,
        rows_outside_sample=outside.sample_ids,
        partitions_from=partitions_from.isoformat(),
        partitions_to=partitions_to.isoformat(),
        identity=identity,
        started_at=started_at,
        finished_at=now(),
        duration_s=round(time.monotonic() - started, 3),
        faults=second_look.faults,
    )


async def _read_source(run: VerificationRun, sides: "_Sides", meter: ProgressMeter) -> None:
    async for page in ahead(run.source.all_rows(run.page_size)):
        sides.add("source", [(str(row[0]), row_digest(run.source.mapping, row)) for row in page])
        meter.advance(len(page))


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

    def add(self, side: str, rows: Sequence[tuple[str, bytes]]) -> None:
        # REPLACE: an item or row that moved while it was being read may be met twice.
        with in_scratch(self._path):
            self._database.executemany(f"INSERT OR REPLACE INTO {side} VALUES (?, ?)", rows)  # noqa: S608

    def differences(self) -> Iterator[list[str]]:
        with in_scratch(self._path):
            found = self._database.execute(_DIFFERENCES)
            rows = found.fetchmany(_CHUNK)
        while rows:
            yield [row_id for (row_id,) in rows]
            with in_scratch(self._path):
                rows = found.fetchmany(_CHUNK)

    def counts(self) -> tuple[int, int]:
        counts: tuple[int, int] = self._database.execute(
            "SELECT (SELECT count(*) FROM source), (SELECT count(*) FROM target)"
        ).fetchone()
        return counts

    def close(self) -> None:
        self._database.close()


class _SecondLook:
    """Judges the keys on which the sides differed as a verification would: what counts has held still."""

    def __init__(self, run: VerificationRun, target: TargetTable) -> None:
        self.counts: Counter[str] = Counter()
        self.samples: defaultdict[str, list[str]] = defaultdict(list)
        self.findings: list[CensusFinding] = []
        self.faults: dict[str, list[str]] = {}
        self._run = run
        self._target = target
        self._examiner = Examiner(run.source, target, run.settle_seconds)

    async def judge(self, ids: Sequence[str]) -> None:
        rows = await asyncio.to_thread(self._run.source.rows, ids)
        examined = await self._examiner.examine(list(rows.values()))
        for row_id, verdict in examined.verdicts.items():
            self._count(_KINDS[verdict], row_id)
        for found in examined.tally.mismatches:
            if found.attribute is not None and found.row_id in self.samples["differing"]:
                self.faults.setdefault(found.row_id, []).append(found.attribute)
        await self._judge_without_row([row_id for row_id in ids if row_id not in examined.verdicts])

    async def _judge_without_row(self, ids: Sequence[str]) -> None:
        """An item is an orphan if it stands there twice, a settle time apart, and its row never."""
        if not ids:
            return
        before = await self._target.get_many(ids)
        await asyncio.sleep(self._run.settle_seconds)
        rows = await asyncio.to_thread(self._run.source.rows, ids)
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
