"""Brings all evidence to one moment, so that a certificate is about that moment.

Rounds of `steps.follow`: first each partition on its own snapshot, then all of them on one snapshot of the whole table,
until every row of it was seen equal. The rounds are quick: what does not match yet waits for the next one, by which the
application has written its item. The last round waits for what still does not match, and judges it.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final, TypeAlias

from imgmig_dagster.batches import batched_by
from imgmig_dagster.concurrency import gather
from imgmig_dagster.errors import PartitionBusy, StateError
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.source.counting import RepeatedIds, TableCounts, repeated_on, table_counts
from imgmig_dagster.source.ranges import ends, moment_of
from imgmig_dagster.source.statements import Snapshot
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.index import at_once, read_ahead
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.drift import Drift, Known, find_drifts
from imgmig_dagster.steps.follow import recheck
from imgmig_dagster.steps.rows_left import judge_rows_left, note_rows_left
from imgmig_dagster.steps.verify import identity_now
from imgmig_dagster.verification.census_results import CensusResult, LeftSince
from imgmig_dagster.verification.evidence import CurrentState, why_invalid
from imgmig_dagster.verification.verification_result import Identity, Rounds, VerificationResult
from imgmig_dagster.window import Window

# They mostly wait for items to stop changing; the reader has its own limit of connections.
_AT_ONCE: Final = 16
_MOST_ROUNDS: Final = 12
_QUICK_ROUNDS: Final = 3
_SECONDS: Final = 600.0
_ROWS_OF_A_SNAPSHOT: Final = 2_000_000
# More unfinished rows than these at a snapshot are not "a few that were changing".
_MOVING_SHARE: Final = 100
_FEW_MOVING: Final = 100


@dataclass(frozen=True)
class Certified:
    """The source on one snapshot, and the evidence as of it.

    `rows` and `digests` are of every partition whose evidence was brought to this moment, `ends` the places of its
    first and last row. `counts` are of the whole table. `left` says what happened to rows that have left since the
    census. `miscounted` are partitions whose rows, by ranges of the index, differ from the count.
    """

    as_of: str
    counts: TableCounts
    repeated: RepeatedIds
    identity: Identity
    rounds: Rounds
    rows: Mapping[str, int] = field(default_factory=dict)
    digests: Mapping[str, str] = field(default_factory=dict)
    ends: Mapping[str, tuple[Cursor, Cursor]] = field(default_factory=dict)
    left: LeftSince | None = None
    miscounted: Sequence[str] = field(default_factory=list)


_Drifts: TypeAlias = Mapping[Window, tuple[VerificationResult, Drift]]
"""The evidence of each partition, and how its rows differ from that."""


@dataclass(frozen=True)
class _TableSnapshot:
    """What one snapshot of the whole table showed."""

    as_of: str
    counts: TableCounts
    repeated: RepeatedIds
    drifts: _Drifts
    ends: Mapping[str, tuple[Cursor, Cursor]]


async def certify(work: ReadingWork, windows: Sequence[Window], tell: Callable[[str], None]) -> Certified:
    """Bring the evidence of all partitions to one moment.

    Partitions without evidence that counts are only counted. `tell` gets a line for each round.

    Raises:
        SourceError, TargetError, StateError: see there.
    """
    return await _Certifying(work, windows, tell).certify()


class _Certifying:
    def __init__(self, work: ReadingWork, windows: Sequence[Window], tell: Callable[[str], None]) -> None:
        self._work = work
        self._windows = windows
        self._tell = tell
        self._started = work.clock.monotonic()
        self._looked = 0

    async def certify(self) -> Certified:
        self._identity = await identity_now(self._work)
        self._census = await asyncio.to_thread(load_record, self._work.state, names.CENSUS, CensusResult)
        known = await asyncio.to_thread(self._known, self._windows)
        if (await asyncio.to_thread(self._repeated)).ids:
            known = []  # nobody can say which of two rows an item belongs to
        followed = [each.window for each in known]
        self._at_once = asyncio.Semaphore(_AT_ONCE)
        batches = batched_by(known, lambda each: each.evidence.rows_in_window, _ROWS_OF_A_SNAPSHOT)
        await gather(map(self._catch_up, batches))
        before, patient, notes_rows_left = 0, False, True
        for number in range(1, _MOST_ROUNDS + 1):
            began = self._work.clock.monotonic()
            sight = await asyncio.to_thread(self._look_at_all, followed, notes_rows_left)
            results = await gather(self._bring_up_to(window, sight.drifts, patient) for window in followed)
            # Rows that leave later were seen before: the rounds find them gone, unless another run took one over.
            notes_rows_left = None in results
            moving = sum(_unfinished(result, patient) for result in results)
            changed = sum(len(drift.changed) for _evidence, drift in sight.drifts.values())
            took = self._work.clock.monotonic() - began
            self._tell(f"Round {number}: {changed:,} rows had changed, {moving:,} of them were not equal yet")
            if not moving or patient:
                break
            # The last round judges what still changes, and waits for it.
            is_stuck = number >= _QUICK_ROUNDS and moving >= before
            patient = is_stuck or number == _MOST_ROUNDS - 1 or self._work.clock.monotonic() - self._started > _SECONDS
            before = moving
        left = None if self._census is None else await judge_rows_left(self._work, self._census)
        certified = self._certified(sight, results, number, changed / took if took > 0 else 0.0)
        return replace(certified, left=left)

    def _repeated(self) -> RepeatedIds:
        with self._work.source.snapshot() as snapshot:
            return repeated_on(snapshot)

    def _known(self, windows: Sequence[Window]) -> list[Known]:
        """What is known of the partitions whose evidence can be followed."""
        state = read_ahead(self._work.state, [window.partition for window in windows])

        def known(window: Window) -> Known | None:
            evidence = self._evidence(window, state)
            if evidence is None:
                return None
            try:
                return Known.of(self._work, window, evidence)
            except StateError as error:
                self._raise_unless_replaced(window, evidence, error)
                return None

        return [found for found in at_once(known, windows) if found]

    def _raise_unless_replaced(self, window: Window, evidence: VerificationResult, error: StateError) -> None:
        """Another run may have replaced the evidence and removed its files."""
        now = self._evidence(window)
        if now is not None and now.segments == evidence.segments:
            raise error

    def _evidence(self, window: Window, state: StateStore | None = None) -> VerificationResult | None:
        """The partition's evidence, if it is about the current target, and can be followed."""
        state = state or self._work.state
        evidence = load_record(state, names.evidence(window.partition), VerificationResult)
        if evidence is None or not evidence.segments:
            return None
        current = CurrentState(self._work.clock.now(), self._identity)
        invalidation = why_invalid(state, window, evidence, current, evidence.rows_in_window, evidence.digest)
        return evidence if invalidation is None or invalidation.can_be_followed else None

    async def _catch_up(self, known: Sequence[Known]) -> None:
        """Look once at what has changed, and at what did not match."""

        def look() -> _Drifts:
            with self._work.source.snapshot() as snapshot:
                return self._drifts(snapshot, known, faults_again=True)

        drifts = await asyncio.to_thread(look)
        await gather(self._bring_up_to(window, drifts, patient=False, tells=True) for window in drifts)

    def _look_at_all(self, followed: Sequence[Window], notes_rows_left: bool) -> _TableSnapshot:
        known = self._known(followed)
        with self._work.source.snapshot() as snapshot:
            counts = table_counts(snapshot, self._windows)
            if notes_rows_left and self._census is not None:
                note_rows_left(self._work.state, self._census, snapshot, self._windows, counts)
            drifts = self._drifts(snapshot, known, faults_again=False)
            places = {window.partition: found for window, found in ends(snapshot, list(drifts)).items()}
            return _TableSnapshot(moment_of(snapshot), counts, repeated_on(snapshot), drifts, places)

    def _drifts(self, snapshot: Snapshot, known: Sequence[Known], faults_again: bool) -> _Drifts:
        found, drifts = find_drifts(snapshot, known, faults_again), dict[Window, tuple[VerificationResult, Drift]]()
        for each in known:
            drift = found[each.window]
            if isinstance(drift, StateError):
                self._raise_unless_replaced(each.window, each.evidence, drift)
            else:
                drifts[each.window] = each.evidence, drift
        return drifts

    async def _bring_up_to(
        self, window: Window, drifts: _Drifts, patient: bool, tells: bool = False
    ) -> VerificationResult | None:
        """The evidence as of the snapshot; None if another run's evidence has replaced it."""
        evidence, drift = drifts.get(window, (None, None))
        if evidence is None or drift is None:
            return None
        if drift.is_known(evidence):
            return replace(evidence, moving=[])
        async with self._at_once:
            try:
                async with self._work.owning(names.verification_lock(window.partition)) as owned:
                    now = await asyncio.to_thread(self._evidence, window)
                    if now is None or now.segments != evidence.segments:
                        return None
                    rechecked = await recheck(owned, evidence, drift, patient)
            except PartitionBusy:
                if tells:
                    self._tell(f"{window.partition}: another run verifies it")
                return None
        self._looked += rechecked.looked_again
        return rechecked.result

    def _certified(
        self,
        sight: _TableSnapshot,
        results: Sequence[VerificationResult | None],
        rounds: int,
        changes_per_second: float,
    ) -> Certified:
        found = [result for result in results if result is not None]
        moving = [row_id for result in found for row_id in result.moving]
        unverified, behind = sum(result.unverified for result in found), None
        if unverified or len(moving) > max(_FEW_MOVING, sight.counts.rows // _MOVING_SHARE):
            behind = (
                f"after {rounds} rounds {len(moving) + unverified:,} rows still changed while they were compared, "
                f"about {changes_per_second:,.0f} a second: the application writes faster than it can be followed"
            )
        return Certified(
            as_of=sight.as_of,
            counts=sight.counts,
            repeated=sight.repeated,
            identity=self._identity,
            rounds=Rounds(rounds, self._looked, round(self._work.clock.monotonic() - self._started, 3), moving, behind),
            rows={result.partition: result.rows_in_window for result in found},
            digests={result.partition: result.digest for result in found},
            ends=sight.ends,
            miscounted=[
                window.partition
                for window, (_evidence, drift) in sight.drifts.items()
                if drift.rows != sight.counts.rows_per_window.get(window.partition, 0)
            ],
        )


def _unfinished(result: VerificationResult | None, patient: bool) -> int:
    """The rows that are not known to be equal. An impatient round says nothing about ids without a row."""
    if result is None:
        return 1
    return len(result.moving) + result.unverified + (0 if patient else len(result.orphans))
