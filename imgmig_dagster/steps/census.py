"""The whole target against the whole source: missing, orphan and differing keys, in bounded memory.

Both sides are written as (id, digest) to files on disk, and joined (`census_sides`). Only keys with a difference are
looked at again, by the rules of the field comparison (`census_judge`). The rows are also counted (`census_source`), so
that the result does not depend on one way of reading. The ids are kept, so that a later certificate can tell which rows
have left since (`rows_left`).
"""

import asyncio
from collections.abc import Callable, Sequence
from typing import Final

from imgmig_dagster.concurrency import gather
from imgmig_dagster.files import scratch_folder
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.index import read_ahead
from imgmig_dagster.state.long_lists import LongList
from imgmig_dagster.state.records import save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import writes_so_far
from imgmig_dagster.steps.census_export import ask_for_export, begun_at, forget, writes_seen
from imgmig_dagster.steps.census_judge import KINDS, CensusJudge
from imgmig_dagster.steps.census_sides import Sides, disk_needed, mean_id_bytes, require_disk
from imgmig_dagster.steps.census_source import CENSUS, count_rows, keep_ids, read_source
from imgmig_dagster.steps.census_target import read_target
from imgmig_dagster.steps.verify import identity_now
from imgmig_dagster.target.exports import TableExports
from imgmig_dagster.verification.census_results import ORPHANS, CensusResult
from imgmig_dagster.window import Window, span

_BOTH: Final = "rows and items"


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
        reading = work.meter("Read", CENSUS, 2 * expected, noun=_BOTH)
        reads_target = read_target(work, sides, reading, others, tell, exports, export)
        _none, as_of = await gather([read_source(work, sides, reading, require_room), reads_target])
        if export is not None and as_of is not None:
            started_at = begun_at(export, as_of)
            writes = await asyncio.to_thread(writes_seen, work.state, export, as_of)
        counts = await count_rows(work, windows, sides)
        judge = CensusJudge(work, target, sides, findings)
        comparing = work.meter("Compared", CENSUS, sides.entries, noun=_BOTH)
        async for entries, differing in ahead(sides.differences()):
            await judge.judge(differing)
            comparing.failures = judge.counts.total() - judge.counts["agreed_on_recheck"]
            comparing.advance(entries)
        repeated, repeated_ids = sides.repeated, sides.some_repeated
        if sides.rows != counts.everything and not (repeated and work.source.table.id_is_indexed):
            # The second row of an id may be at the edge of a page, where the next page began. An id may be NULL.
            found = await asyncio.to_thread(work.source.repeated_ids)
            repeated, repeated_ids = found.ids, list(found.sample_ids)
        groups = await keep_ids(work, sides)
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
        **{kind: judge.counts[kind] for kind in KINDS},
        repeated=repeated,
        samples={kind: list(ids) for kind, ids in (*judge.samples.items(), ("repeated", repeated_ids)) if ids},
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
        faults=judge.faults,
        partitions=judge.partitions,
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


def _keep(store: StateStore, result: CensusResult) -> None:
    """Save the census, whose lists are written already, and remove the lists of earlier or broken-off ones."""
    save_record(store, names.CENSUS, result)
    own = names.census(result.run_id)
    for name in store.list(names.CENSUSES):
        if not name.startswith(f"{own}/"):
            store.delete(name)
    store.delete(names.CENSUS_FINDINGS)
