"""Which rows have left the source since the census, and what happened to their items.

The census looked at every item that had no row then. It knows nothing about items whose row was deleted since, so its
ids are compared with the source again. `note_rows_left` does that on a snapshot; afterwards `judge_rows_left` looks at
the items.
"""

import asyncio
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from typing import Final

from imgmig_dagster.errors import StateError
from imgmig_dagster.rules.invalidation import COUNTS_FOR, is_too_old
from imgmig_dagster.source.counting import (
    SAMPLE_SIZE,
    RowsAndIds,
    TableCounts,
    bucket_of,
    counts_by_bucket,
    id_hash,
    present,
    table_counts,
)
from imgmig_dagster.source.statements import Snapshot
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.audit import item_sha256
from imgmig_dagster.state.long_lists import LongList, read_list
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.verify import identity_now
from imgmig_dagster.steps.without_row import WithoutRow, look_without_rows
from imgmig_dagster.verification.census_results import CensusFinding, CensusRefused, CensusResult, LeftSince
from imgmig_dagster.verification.evidence import changed_identity
from imgmig_dagster.walk.walk import rows_of
from imgmig_dagster.window import Window

_VERIFY_FIRST: Final = "Nothing was deleted: imgmig verify first, which takes a census"
_ASKED_AT_ONCE: Final = 1_000
_IDS_IN_A_BUCKET: Final = 64
_MOST_BUCKETS: Final = 16  # as a power of two: a reply of 65,536 rows


def note_rows_left(
    store: StateStore,
    census: CensusResult,
    snapshot: Snapshot,
    windows: Sequence[Window],
    counts: TableCounts,
) -> int:
    """List the ids of the census that no row of a snapshot has, and return how many.

    A partition whose rows have the count and the sum of ids of the census still has those rows. Of other partitions
    only ids are asked for whose hashes are in a bucket where counts or sums differ.

    Args:
        store: the stage's state, which keeps the list for `judge_rows_left`.
        census: the last one.
        snapshot: of the source.
        windows: the current partitions.
        counts: `counting.table_counts` of the snapshot.

    Raises:
        StateError: the ids of the census are gone or altered.
        SourceError: see there.
    """
    left, rows = LongList(store, names.rows_left(census.run_id)), 0
    known = {window.partition: window for window in windows}
    for group, then in census.groups.items():
        if counts.groups.get(group) == then:
            continue
        for some in _suspects(store, census, group, snapshot, known.get(group)):
            there = present(snapshot, some)
            gone = [row_id for row_id in some if row_id not in there]
            left.add(gone)
            rows += len(gone)
    left.close()
    return rows


async def judge_rows_left(work: ReadingWork, census: CensusResult) -> LeftSince:
    """Look at the items of the rows that `note_rows_left` listed; list those that still exist as orphan items.

    Raises:
        SourceError, TargetError: see there.
    """
    orphans = LongList(work.state, names.orphans_since(census.run_id))
    counts: Counter[str] = Counter()
    samples: defaultdict[str, list[str]] = defaultdict(list)
    async for rows, found in _items_of_rows_left(work, census):
        existing = {row_id: item_sha256(item) for row_id, item in found.orphans.items()}
        await asyncio.to_thread(orphans.add, [CensusFinding("orphans", *each) for each in existing.items()])
        counts["rows"] += rows
        for kind, which in (("orphans", list(existing)), ("unverified", found.unverified)):
            counts[kind] += len(which)
            samples[kind].extend(which[: SAMPLE_SIZE - len(samples[kind])])
    await asyncio.to_thread(orphans.close)
    return LeftSince(
        census=census.run_id,
        rows=counts["rows"],
        orphans=counts["orphans"],
        unverified=counts["unverified"],
        samples={kind: ids for kind, ids in samples.items() if ids},
    )


async def refuse_unexplained(
    work: ReadingWork, census: CensusResult, windows: Sequence[Window], known: Collection[str]
) -> None:
    """Refuse to delete by a census that does not explain which rows the source no longer has.

    A row that left since, and whose item still exists, may have been deleted by the application on one side. Or the
    source has lost rows, and then a missing row proves nothing.

    Args:
        work: what it works on.
        census: the last one.
        windows: the current partitions.
        known: the orphan items that a census or a report has named.

    Raises:
        CensusRefused: the census no longer counts, or such an item was never named.
        SourceError, TargetError, StateError: see there.
    """
    invalidation = changed_identity(census.identity, await identity_now(work))
    if is_too_old(census.started_at, work.clock.now()):
        invalidation = f"it is more than {COUNTS_FOR.days} days old"
    if invalidation:
        raise CensusRefused(f"the census of {census.finished_at} no longer counts: {invalidation}. {_VERIFY_FIRST}")

    def note() -> None:
        with work.source.snapshot() as snapshot:
            note_rows_left(work.state, census, snapshot, windows, table_counts(snapshot, windows))

    await asyncio.to_thread(note)
    async for _rows, found in _items_of_rows_left(work, census):
        unexplained = [row_id for row_id in (*found.orphans, *found.unverified) if row_id not in known]
        if unexplained:
            raise CensusRefused(
                f"the row of {unexplained[0]} has left the source since the census of {census.finished_at}, its item "
                f"still exists, and nobody has named it yet: rows may have been lost. {_VERIFY_FIRST}"
            )


async def _items_of_rows_left(work: ReadingWork, census: CensusResult) -> AsyncIterator[tuple[int, WithoutRow]]:
    """What happened to the rows of the list, some at a time: of how many, and what."""
    for ids in read_list(work.state, names.rows_left(census.run_id), str):
        async for some, rows in rows_of(work, ids):
            # If an id has a row again, the verification of that row's partition covers it.
            without = [row_id for row_id in some if row_id not in rows]
            yield len(some), await look_without_rows(work, work.target, without)


def _suspects(
    store: StateStore, census: CensusResult, group: str, snapshot: Snapshot, window: Window | None
) -> Iterator[Sequence[str]]:
    """The ids of a partition of the census that may include those that left it."""
    then = census.groups[group]
    bits = min(_MOST_BUCKETS, (then.rows // _IDS_IN_A_BUCKET).bit_length())
    rows: Counter[int] = Counter()
    sums: Counter[int] = Counter()
    for row_id in _ids(store, census, group):
        hashed = id_hash(row_id)
        bucket = bucket_of(hashed, bits)
        rows[bucket] += 1
        sums[bucket] += hashed
    if (sum(rows.values()), str(sum(sums.values()))) != (then.rows, then.id_sum):
        raise StateError(
            f"{store.locate(names.census_ids(census.run_id, group))} does not hold the ids that the census saw: files "
            "are gone, or were altered. Run imgmig verify, which takes a new census"
        )
    differing: Collection[int] = rows.keys()
    if window is not None and bits:
        now = counts_by_bucket(snapshot, window, bits)
        differing = {bucket for bucket in rows if now.get(bucket) != RowsAndIds(rows[bucket], str(sums[bucket]))}
    chosen: list[str] = []
    for row_id in _ids(store, census, group):
        if bucket_of(id_hash(row_id), bits) in differing:
            chosen.append(row_id)
        if len(chosen) == _ASKED_AT_ONCE:
            yield chosen
            chosen = []
    if chosen:
        yield chosen


def _ids(store: StateStore, census: CensusResult, group: str) -> Iterator[str]:
    for ids in read_list(store, names.census_ids(census.run_id, group), str):
        yield from ids
