"""The self-test: a migration of rows of its own, corruptions planted into it, and what verification makes of them."""

import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeVar

from imgmig_dagster.files import scratch_folder
from imgmig_dagster.mapping.image import IMAGE
from imgmig_dagster.progress import Progress
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.scratch import ScratchTables
from imgmig_dagster.sandbox.seed import SYNTHETIC_END, SYNTHETIC_START, synthetic_rows
from imgmig_dagster.self_test.judgement import Judgement, judge
from imgmig_dagster.self_test.plan import MISSING, ORPHAN, OTHER_ENTITY, Name, Plant, draw_plants
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.counting import SAMPLE_SIZE
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.steps.census import take_census
from imgmig_dagster.steps.migrate import migrate
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.results import VerificationResult
from imgmig_dagster.window import Window
from imgmig_dagster.work import ReadingWork, Target, Work, open_work, work_on
from imgmig_dagster.write_guard import allow_scratch_writes

Table = TypeVar("Table", bound=TargetTable)

# Enough that every kind finds rows which lend themselves to it, and that many stay untouched.
_ROWS_PER_CORRUPTION: Final = 1.5
_CORRUPTIONS_PER_HARMLESS_CHANGE: Final = 4
_PAGE_SIZE: Final = 1_000
_START, _END = (datetime(day.year, day.month, day.day, tzinfo=timezone.utc) for day in (SYNTHETIC_START, SYNTHETIC_END))
_WINDOW: Final = Window("all", _START, _END)
_RUN_ID: Final = "self-test"


@dataclass(frozen=True)
class SelfTestResult:
    """What came of the plants. `counts` has, by what is counted, what the census counted and what it had to count."""

    seed: int
    rows: int
    judgement: Judgement
    counts: dict[str, tuple[int, int]]
    duration_s: float

    @property
    def passed(self) -> bool:
        """Whether all corruptions were named and counted, and nothing else."""
        return self.judgement.clean and all(counted == planted for counted, planted in self.counts.values())


def run_self_test(sandbox: Sandbox, seed: int, corruptions: int) -> SelfTestResult:
    """Plant corruptions, and a quarter as many harmless changes, and verify as the product does.

    All of it happens in tables of its own beside the sandbox's, which are gone afterwards.

    Raises:
        SandboxError, SourceError, TargetError: see there.
    """
    started = time.monotonic()
    rows = int(_ROWS_PER_CORRUPTION * corruptions)
    with scratch_folder("imgmig-self-test-") as folder, sandbox.scratch_tables() as tables:
        tables.insert(synthetic_rows(rows, seed))
        target = TargetSettings(access=tables.access, table=tables.target, mapping=IMAGE)
        written = _open(tables, folder, allow_scratch_writes(target))
        work_on(written, lambda work: migrate(work, _WINDOW, WriteMode.BATCH))
        items = tables.items()
        harmless = corruptions // _CORRUPTIONS_PER_HARMLESS_CHANGE
        plants = draw_plants(IMAGE, items, seed, corruptions, harmless, SAMPLE_SIZE)
        put = [item for plant in plants for item in plant.put]
        tables.write(put, [key for plant in plants for key in plant.delete])
        result, census = work_on(_open(tables, folder, target), _verify)
    touched = {row_id for plant in plants for row_id in plant.ids}
    untouched = sum(IMAGE.row_id(item) not in touched for item in items)
    return SelfTestResult(
        seed=seed,
        rows=rows,
        judgement=judge(plants, untouched, _names(result, census)),
        counts=_counts(plants, rows, result, census),
        duration_s=round(time.monotonic() - started, 3),
    )


@asynccontextmanager
async def _open(tables: ScratchTables, folder: Path, table: Target[Table]) -> AsyncIterator[Work[Table]]:
    with SourceReader(ReadOnlyConnections(tables.reader_url), tables.schema, tables.source, IMAGE) as source:
        async with open_work(
            source,
            table,
            LocalStateStore(folder),
            _RUN_ID,
            page_size=_PAGE_SIZE,
            # Nobody else writes to these tables: there is nothing to wait for.
            settle_seconds=0.0,
            listener=_silent,
        ) as work:
            yield work


async def _verify(work: ReadingWork) -> tuple[VerificationResult, CensusResult]:
    return await verify(work, _WINDOW), await take_census(work, [_WINDOW])


def _silent(_progress: Progress) -> None:
    """The self-test takes seconds."""


def _names(result: VerificationResult, census: CensusResult) -> set[Name]:
    """All that verification and census say of any key."""
    verdicts = {(found.row_id, found.attribute or found.verdict.value) for found in result.mismatches}
    fields = {(row_id, field) for row_id, found in census.faults.items() for field in found}
    kinds = {MISSING: "missing", ORPHAN: "orphans", "unverified": "unverified"}
    keys = {(row_id, name) for name, kind in kinds.items() for row_id in census.samples.get(kind, ())}
    return verdicts | fields | keys


def _counts(
    plants: Sequence[Plant], rows: int, result: VerificationResult, census: CensusResult
) -> dict[str, tuple[int, int]]:
    """What was counted, and what it has to be: counts go on where lists of names end."""
    named = {name for plant in plants for name in plant.named}
    missing = sum(attribute == MISSING for _row_id, attribute in named)
    orphans = sum(attribute == ORPHAN for _row_id, attribute in named)
    differing = len({row_id for row_id, attribute in named if attribute not in (MISSING, ORPHAN)})
    others = sum(plant.kind == OTHER_ENTITY for plant in plants)
    return {
        "rows verified": (result.looked_at, rows),
        "rows that differ": (result.mismatch, differing),
        "rows without an item": (result.missing, missing),
        "rows that differ, by the census": (census.differing, differing),
        "rows without an item, by the census": (census.missing, missing),
        "orphans, by the census": (census.orphans, orphans),
        "other entities, by the census": (census.other_entities, others),
    }
