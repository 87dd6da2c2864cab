"""The whole target against the whole source: missing, orphan and differing keys, in bounded memory.

Both sides are written as (id, digest) to files on disk, and joined (`census_sides`). Only keys with a difference are
looked at again, by the rules of the field comparison (`second_look`, `without_row`). The rows are also counted, so that
the result does not depend on one way of reading. The ids are kept, so that a later certificate can tell which rows have
left since (`rows_left`).
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import gather
from imgmig_dagster.files import scratch_folder
from imgmig_dagster.mapping.rows import DigestedRow, Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.source.counting import SAMPLE_SIZE, RowCounts, RowsAndIds, id_hash
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import item_sha256
from imgmig_dagster.state.index import read_ahead
from imgmig_dagster.state.long_lists import LongList
from imgmig_dagster.state.records import save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import writes_so_far
from imgmig_dagster.steps.census_export import ask_for_export, begun_at, forget, writes_seen
from imgmig_dagster.steps.census_sides import Sides, disk_needed, mean_id_bytes, require_disk
from imgmig_dagster.steps.census_target import read_target
from imgmig_dagster.steps.second_look import Examiner
from imgmig_dagster.steps.verify import identity_now
from imgmig_dagster.steps.without_row import look_without_rows
from imgmig_dagster.target.exports import TableExports
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.census_results import ORPHANS, CensusFinding, CensusResult
from imgmig_dagster.window import Window, span

_NAME: Final = "census"
_BOTH: Final = "rows and items"
_ASKED_AT_ONCE: Final = 1_000
# A key may get a row, or lose it, between any two looks; if the application writes this often, it ends in the first.
_MAX_ROUNDS: Final = 5

_KINDS: Final = {
    RowVerdict.MATCH: "agreed_on_recheck",
    RowVerdict.MISMATCH: "differing",
    RowVerdict.MISSING: "missing",
    RowVerdict.UNVERIFIED: "unverified",
}


async def take_census(
    work: ReadingWork,
    windows: Sequence[Window],
    others: Sequence[TableMapping] = (),
    tell: Callable[[str], None] = lambda _line: None,
    exports: TableExports | None = None,
) -> CensusResult:
    """Compare everything, and keep the result in the state store.

    `others` are the mappings of the stage's other tables: their items are left alone too.

    `windows` are the partitions, each beginning where the one before it ends; rows outside are counted and sampled.
    `tell` gets a line on progress that is not counted in rows. With `exports` the target is read from an export to S3,
    otherwise by a scan.

    Raises:
        SourceError, TargetError: see there. A census that could not read everything gives no result.
        FilesUnavailable: the temporary folder has no room for it.
    """
    clock, target = work.clock, work.target.for_partition()
    started, started_at = clock.monotonic(), clock.now()
    # Before anything is looked at: later writes invalidate the census.
    writes = await asyncio.to_thread(_writes, work.state, windows)
    identity = await identity_now(work)
    export = None if exports is None else await ask_for_export(work, exports, identity, writes)
    findings = LongList(work.state, names.census_findings(work.run_id))
    with scratch_folder("imgmig-census-") as folder:
        tell("Census: counting the rows of the source")
        expected = await asyncio.to_thread(work.source.count_all)
        tell(f"Census: {disk_needed(expected)} in {folder.parent}")
        await asyncio.to_thread(require_disk, folder, expected)
        sides = Sides(folder, work.source.mapping, windows, expected)

        def require_room(page: Sequence[Row]) -> None:
            """How much disk is needed, by the first rows' ids; the first estimate was for UUIDs."""
            id_bytes = mean_id_bytes(page)
            if (needed := disk_needed(expected, id_bytes)) != disk_needed(expected):
                tell(f"Census: {needed} in {folder.parent}")
                require_disk(folder, expected, id_bytes)

        # Both sides are read; the target has about as many items as the source has rows.
        reading = work.meter("Read", _NAME, 2 * expected, noun=_BOTH)
        _none, as_of = await gather(
            [
                _read_source(work, sides, reading, require_room),
                read_target(work, sides, reading, others, tell, exports, export),
            ]
        )
        if export is not None and as_of is not None:
            started_at = begun_at(export, as_of)
            writes = await asyncio.to_thread(writes_seen, work.state, export, as_of)
        counts = await _count(work, windows, sides)
        second_look = _SecondLook(work, target, sides, findings)
        comparing = work.meter("Compared", _NAME, sides.entries, noun=_BOTH)
        async for entries, differing in ahead(sides.differences()):
            for ids in batched(differing, _ASKED_AT_ONCE):
                await second_look.judge(ids)
            comparing.failures = second_look.counts.total() - second_look.counts["agreed_on_recheck"]
            comparing.advance(entries)
        repeated, repeated_ids = sides.repeated, sides.some_repeated
        if sides.rows != counts.everything and not (repeated and work.source.table.id_is_indexed):
            # The second row of an id may be at the edge of a page, where the next page began. An id may be NULL.
            found = await asyncio.to_thread(work.source.repeated_ids)
            repeated, repeated_ids = found.ids, list(found.sample_ids)
        groups = await _keep_ids(work, sides)
    await asyncio.to_thread(findings.close)
    begin, end = span(windows)
    result = CensusResult(
        run_id=work.run_id,
        source_rows=sides.rows,
        rows_counted=counts.everything,
        rows_in_partitions=sum(counts.table.rows_per_window.values()),
        target_items=sides.items,
        other_entities=sides.other_entities,
        unclaimed=sides.unclaimed,
        missing=second_look.counts["missing"],
        orphans=second_look.counts["orphans"],
        differing=second_look.counts["differing"],
        unverified=second_look.counts["unverified"],
        agreed_on_recheck=second_look.counts["agreed_on_recheck"],
        repeated=repeated,
        samples={kind: list(ids) for kind, ids in (*second_look.samples.items(), ("repeated", repeated_ids)) if ids},
        rows_outside=counts.table.outside.rows,
        rows_outside_sample=counts.table.outside.sample_ids,
        partitions_from=begin.isoformat(),
        partitions_to=end.isoformat(),
        identity=identity,
        started_at=started_at,
        export="" if export is None else export.arn,
        target_as_of=as_of or "",
        finished_at=clock.now(),
        duration_s=round(clock.monotonic() - started, 3),
        faults=second_look.faults,
        partitions=second_look.partitions,
        writes=writes,
        groups=groups,
    )
    await asyncio.to_thread(_keep, work.state, result)
    if export is not None:
        await forget(work)
    return result


def _writes(state: StateStore, windows: Sequence[Window]) -> dict[str, int | None]:
    state = read_ahead(state, [window.partition for window in windows])
    return {each.partition: writes_so_far(state, each.partition) for each in windows} | {
        ORPHANS: writes_so_far(state, None)
    }


async def _read_source(
    work: ReadingWork, sides: Sides, meter: ProgressMeter, require_room: Callable[[Sequence[Row]], None]
) -> str | None:
    is_first = True
    async for page in ahead(work.source.all_rows(work.page_size)):
        if is_first:
            await asyncio.to_thread(require_room, page)
            is_first = False
        # `imgmig throttle` paces both sides: a paused census reads nothing.
        limiter = work.target.sender.limiter
        limiter.spent(0, await limiter.wait())  # it is no request
        await asyncio.to_thread(sides.add_rows, page)
        meter.advance(len(page))
    return None


async def _count(work: ReadingWork, windows: Sequence[Window], sides: Sides) -> RowCounts:
    """What the source counts.

    Rows that came or went during the read do not count as a disagreement. If other ids were read than are counted, the
    ids are read once more on the snapshot of the counts. Rows that nobody saw before are then compared too, and items
    of rows that went.
    """
    rows, id_sum = sides.read
    meter = work.meter("Counted", _NAME, rows)
    meter.advance(0)
    counts = await asyncio.to_thread(work.source.counts, windows)
    if (rows, id_sum) == (counts.everything, sum(int(group.id_sum) for group in counts.table.groups.values())):
        meter.advance(rows)
        return counts
    async for recounted, ids in ahead(work.source.recount(windows, work.page_size)):
        counts = recounted
        await asyncio.to_thread(sides.recount, ids)
        meter.advance(len(ids))
    async for unseen in ahead(sides.unseen()):
        for some in batched(unseen, _ASKED_AT_ONCE):
            found = await asyncio.to_thread(work.source.rows, some)
            await asyncio.to_thread(sides.add_rows, found.values())
    return counts


async def _keep_ids(work: ReadingWork, sides: Sides) -> Mapping[str, RowsAndIds]:
    """Write every id that had a row to the state store, group by group; returns how many, and the sums of hashes."""
    groups: dict[str, RowsAndIds] = {}
    kept: LongList | None = None
    meter = work.meter("Kept", _NAME, sides.rows, noun="ids")
    async for group, ids in ahead(sides.ids()):
        if kept is None or group not in groups:
            if kept is not None:
                await asyncio.to_thread(kept.close)
            kept, groups[group] = LongList(work.state, names.census_ids(work.run_id, group)), RowsAndIds(0, "0")
        await asyncio.to_thread(kept.add, ids)
        rows, id_sum = groups[group].rows + len(ids), int(groups[group].id_sum) + sum(map(id_hash, ids))
        groups[group] = RowsAndIds(rows, str(id_sum))
        meter.advance(len(ids))
    if kept is not None:
        await asyncio.to_thread(kept.close)
    return groups


def _keep(store: StateStore, result: CensusResult) -> None:
    """Save the census, whose lists are written already, and remove the lists of earlier or broken-off ones."""
    save_record(store, names.CENSUS, result)
    own = names.census(result.run_id)
    for name in store.list(names.CENSUSES):
        if not name.startswith(f"{own}/"):
            store.delete(name)
    store.delete(names.CENSUS_FINDINGS)


class _SecondLook:
    """Judges the keys on which the sides differed as a verification does: only what stays unchanged counts."""

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

    async def judge(self, ids: Sequence[str]) -> None:
        """Record the truth about each of these keys; unverified if its row comes and goes at every round."""
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
        for verdict, kind in _KINDS.items():
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
