"""The self-test: migrates temporary rows, plants corruptions, and compares what verification finds with them."""

import random
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Final, TypeVar

from imgmig_dagster.errors import SandboxError
from imgmig_dagster.files import scratch_folder
from imgmig_dagster.mapping.declaration import PACKAGED, load
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.progress import Progress
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.scratch import ScratchTables
from imgmig_dagster.sandbox.seed import synthetic_rows
from imgmig_dagster.self_test.judgement import Judgement, judge
from imgmig_dagster.self_test.planting import MISSING, ORPHAN, OTHER_ENTITY, Name, Plant, draw_plants
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.counting import SAMPLE_SIZE
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork, Target, Work, WritingWork, open_work, work_on
from imgmig_dagster.stage.write_guard import allow_scratch_writes
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.steps.census import take_census
from imgmig_dagster.steps.migrate import migrate
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.target.open_target import TargetSettings
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import UNDATED_WINDOW, Window

Table = TypeVar("Table", bound=TargetTable)

# Enough that every kind finds suitable rows, and that many stay untouched.
_ROWS_PER_CORRUPTION: Final = 1.5
_CORRUPTIONS_PER_HARMLESS_CHANGE: Final = 4
_PAGE_SIZE: Final = 1_000
_ALL: Final = Window("all", datetime(2, 1, 1, tzinfo=timezone.utc), datetime(9999, 1, 1, tzinfo=timezone.utc))
_RUN_ID: Final = "self-test"


@dataclass(frozen=True)
class SelfTestResult:
    """What verification and census said about the planted corruptions.

    `fields` has how often each field was corrupted. `counts` has, by what is counted, what the census counted and what
    it had to count.
    """

    seed: int
    rows: int
    judgement: Judgement
    fields: Mapping[str, int]
    counts: dict[str, tuple[int, int]]
    duration_s: float

    @property
    def passed(self) -> bool:
        """Whether all corruptions were named and counted, and nothing else."""
        return self.judgement.clean and all(counted == planted for counted, planted in self.counts.values())


def run_self_test(sandbox: Sandbox, seed: int, corruptions: int, mapping: TableMapping | None = None) -> SelfTestResult:
    """Plant corruptions, and a quarter as many harmless changes, and verify as the product does.

    It uses temporary tables next to the sandbox's. The rows are images, or copies of a mapping's rows; if not enough
    rows can be made up for a mapping, fewer corruptions are planted.

    Raises:
        SandboxError, SourceError, TargetError: see there.
    """
    started = time.monotonic()
    wanted = int(_ROWS_PER_CORRUPTION * corruptions)
    with scratch_folder("imgmig-self-test-") as folder, sandbox.scratch_tables(mapping) as tables:
        if mapping is None:
            mapping, rows = load(PACKAGED / "images.yaml").mapping, wanted
            trial = _Trial(tables, mapping, folder)
            tables.insert(synthetic_rows(rows, seed))
        else:
            trial = _Trial(tables, mapping, folder)
            tables.copy_rows(mapping, wanted)
            trial.keep_what_an_item_can_hold()
            rows = tables.multiply_rows(mapping, wanted, random.Random(seed))  # noqa: S311
        target = TargetSettings(access=tables.access, table=tables.target, mapping=mapping)
        work_on(trial.open(allow_scratch_writes(target)), trial.migrate)
        items = tables.items()
        corruptions = min(corruptions, int(rows / _ROWS_PER_CORRUPTION))
        harmless = corruptions // _CORRUPTIONS_PER_HARMLESS_CHANGE
        plants = draw_plants(mapping, items, seed, corruptions, harmless, SAMPLE_SIZE)
        put = [item for plant in plants for item in plant.put]
        tables.write(put, [key for plant in plants for key in plant.delete])
        results, census = work_on(trial.open(target), trial.verify)
    touched = {row_id for plant in plants for row_id in plant.ids}
    untouched = sum(mapping.row_id(item) not in touched for item in items)
    return SelfTestResult(
        seed=seed,
        rows=rows,
        judgement=judge(plants, untouched, _names(results, census)),
        fields=_corrupted_fields(plants),
        counts=_counts(plants, rows, results, census),
        duration_s=round(time.monotonic() - started, 3),
    )


@dataclass(frozen=True)
class _Trial:
    """The tables of one self-test, and what the product does with them."""

    tables: ScratchTables
    mapping: TableMapping
    folder: Path

    @property
    def windows(self) -> list[Window]:
        """All of time, and the rows without a time."""
        return [_ALL, UNDATED_WINDOW] if self.mapping.order.has_undated else [_ALL]

    def keep_what_an_item_can_hold(self) -> None:
        """Delete the rows that a migration rejects.

        Raises:
            SandboxError: no other one is there.
        """
        transform, left, refused = transformer(self.mapping), 0, list[str]()
        with self._reader() as source:
            for page in source.all_rows(_PAGE_SIZE):
                rejected = [row.id for row in page if isinstance(transform(row), Rejection)]
                refused += rejected
                left += len(page) - len(rejected)
        self.tables.delete(self.mapping, refused)
        if not left:
            name = f"{self.mapping.schema}.{self.mapping.table}"
            raise SandboxError(f"the self-test has no row to work with: {name} holds none that can be migrated")

    @asynccontextmanager
    async def open(self, table: Target[Table]) -> AsyncIterator[Work[Table]]:
        """Work on the tables, with a separate state."""
        with self._reader() as source:
            async with open_work(
                source,
                table,
                LocalStateStore(self.folder),
                _RUN_ID,
                page_size=_PAGE_SIZE,
                # Nobody else writes to these tables: there is nothing to wait for.
                recheck_delay_s=0.0,
                listener=_silent,
            ) as work:
                yield work

    async def migrate(self, work: WritingWork) -> None:
        """A pass of every window."""
        for window in self.windows:
            await migrate(work, window, WriteMode.BATCH)

    async def verify(self, work: ReadingWork) -> tuple[Sequence[VerificationResult], CensusResult]:
        """A verification of every window, and a census."""
        results = [await verify(work, window) for window in self.windows]
        return results, await take_census(work, self.windows)

    def _reader(self) -> SourceReader:
        tables = self.tables
        return SourceReader(ReadOnlyConnections(tables.reader_url), tables.schema, tables.source, self.mapping)


def _corrupted_fields(plants: Sequence[Plant]) -> Mapping[str, int]:
    names = (name for plant in plants if plant.harmful for _row_id, name in plant.named)
    return Counter(name for name in names if name not in (MISSING, ORPHAN))


def _silent(_progress: Progress) -> None:
    """The self-test takes seconds."""


def _names(results: Sequence[VerificationResult], census: CensusResult) -> set[Name]:
    """Everything that verification and census say about any key."""
    verdicts = {
        (found.row_id, found.attribute or found.verdict.value) for result in results for found in result.mismatches
    }
    fields = {(row_id, field) for row_id, found in census.faults.items() for field in found}
    kinds = {MISSING: "missing", ORPHAN: "orphans", "unverified": "unverified"}
    keys = {(row_id, name) for name, kind in kinds.items() for row_id in census.samples.get(kind, ())}
    return verdicts | fields | keys


def _counts(
    plants: Sequence[Plant], rows: int, results: Sequence[VerificationResult], census: CensusResult
) -> dict[str, tuple[int, int]]:
    """The counted numbers and the expected ones: counts include what lists of names leave out."""
    named = {name for plant in plants for name in plant.named}
    missing = sum(attribute == MISSING for _row_id, attribute in named)
    orphans = sum(attribute == ORPHAN for _row_id, attribute in named)
    differing = len({row_id for row_id, attribute in named if attribute not in (MISSING, ORPHAN)})
    others = sum(plant.kind == OTHER_ENTITY for plant in plants)
    return {
        "rows verified": (sum(each.looked_at for each in results), rows),
        "rows that differ": (sum(each.mismatch for each in results), differing),
        "rows without an item": (sum(each.missing for each in results), missing),
        "rows that differ, by the census": (census.differing, differing),
        "rows without an item, by the census": (census.missing, missing),
        "orphans, by the census": (census.orphans, orphans),
        "other entities, by the census": (census.other_entities, others),
    }
