"""Keeps what was seen of a partition true while the application writes: looks again at what changed, and at that alone.

On a snapshot of the source, one statement gives the digest of every segment. Where one is another than when its rows
were seen, the rows of the segment are listed with their digests; those whose digest is new are looked at again on both
sides. What a segment is stands in `verification.row_parts`; the rounds that lead to a certificate are in `certify`.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import whole_in_thread
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.source.ranges import Placed, Sum, moment_of, placed_rows, sums
from imgmig_dagster.source.statements import Snapshot
from imgmig_dagster.state import names
from imgmig_dagster.state.records import save_lines, save_record
from imgmig_dagster.state.store import ABSENT
from imgmig_dagster.steps.second_look import Examined, Examiner
from imgmig_dagster.steps.without_row import look_at_rows_left
from imgmig_dagster.verification.row_parts import EvidencePart, EvidencePartIndex, EvidencePartStore, SeenRows
from imgmig_dagster.verification.verification_result import LISTED_MISMATCHES, Mismatch, RowVerdict, VerificationResult
from imgmig_dagster.walk.coverage import CHECKPOINT_ROWS
from imgmig_dagster.window import Window
from imgmig_dagster.work import ReadingWork

_ROUNDS: Final = 3


@dataclass(frozen=True)
class Piece:
    """A segment that is not what was seen, or rows behind the last one, which has no `segment`.

    `changed` has the digests on the snapshot of the rows to be looked at; `gone` are ids that are not in it any more.
    """

    segment: EvidencePart | None
    until: Cursor
    changed: dict[str, int]
    gone: frozenset[str]


@dataclass(frozen=True)
class Drift:
    """How a window's rows, on the snapshot of a moment, differ from what was seen of them.

    `rows` and `digest` are of all its rows on the snapshot; `repeated` are ids that it has more than once.
    """

    moment: str
    rows: int
    digest: int
    index: EvidencePartIndex
    pieces: Sequence[Piece]
    repeated: Sequence[str]

    @property
    def changed(self) -> dict[str, int]:
        """The rows that have to be looked at, with their digests."""
        return {row_id: digest for piece in self.pieces for row_id, digest in piece.changed.items()}

    def is_known(self, evidence: VerificationResult) -> bool:
        """Whether the evidence is of this very snapshot's rows, and nothing has to be looked at."""
        of_same = (evidence.rows_in_window, evidence.digest) == (self.rows, str(self.digest))
        return of_same and not self.pieces and not evidence.orphans and bool(evidence.as_of)


@dataclass(frozen=True)
class Followed:
    """A partition's evidence as of a snapshot, and how many rows were looked at for it."""

    result: VerificationResult
    looked_again: int

    @property
    def is_quiet(self) -> bool:
        """Whether every row of the snapshot was seen as it was then."""
        return not (self.result.moving or self.result.unverified or self.result.orphans)


def find_drift(
    snapshot: Snapshot, window: Window, store: EvidencePartStore, evidence: VerificationResult, faults_again: bool
) -> Drift:
    """Compare the window on a snapshot with its segments. With `faults_again`, rows at fault count as changed."""
    index = store.index(evidence.segments)
    found = sums(snapshot, window, index.places)
    pieces, repeated = list[Piece](), list[str]()
    after: Cursor | None = None
    for segment, of_segment in zip(index.segments, found, strict=False):
        if of_segment != Sum(segment.rows, int(segment.digest)) or segment.verdicts.keys() - {RowVerdict.MATCH.value}:
            listed = _listed(snapshot, window, after, segment.until)
            repeated += _repeated(listed)
            pieces.append(_piece(segment, store.rows(segment), listed, faults_again))
        after = segment.until
    for listed in placed_rows(snapshot, window, after, None, CHECKPOINT_ROWS):
        repeated += _repeated(listed)
        pieces.append(Piece(None, listed[-1].place, {row.id: row.digest for row in listed}, frozenset()))
    return Drift(
        moment=moment_of(snapshot),
        rows=sum(each.rows for each in found),
        digest=sum(each.digest for each in found),
        index=index,
        pieces=[piece for piece in pieces if piece.changed or piece.gone],
        repeated=repeated,
    )


async def follow(
    work: ReadingWork, window: Window, evidence: VerificationResult, faults_again: bool = False
) -> Followed:
    """Bring a partition's evidence to this moment, by rounds on snapshots of the window's own; see `recheck`.

    The caller owns the partition's verification lock. A row that does not hold still in so few rounds is left in
    `moving`, or unverified.

    Raises:
        SourceError, TargetError, StateError: see there.
    """
    looked = 0
    for _round in range(_ROUNDS):
        followed = await _follow_once(work, window, evidence, faults_again, patient=True)
        looked += followed.looked_again
        evidence, faults_again = followed.result, False
        if followed.is_quiet:
            break
    return Followed(evidence, looked)


async def catch_up(work: ReadingWork, window: Window, evidence: VerificationResult) -> Followed:
    """Look once at what has changed, and at what did not match; the rest as for `follow` and `recheck`."""
    return await _follow_once(work, window, evidence, faults_again=True, patient=False)


async def _follow_once(
    work: ReadingWork, window: Window, evidence: VerificationResult, faults_again: bool, patient: bool
) -> Followed:
    store = EvidencePartStore(work.state, window.partition, work.run_id)

    def look() -> Drift:
        with work.source.snapshot() as snapshot:
            return find_drift(snapshot, window, store, evidence, faults_again)

    drift = await asyncio.to_thread(look)
    if drift.is_known(evidence):
        return Followed(replace(evidence, moving=[]), 0)
    return await recheck(work, evidence, drift, store, patient)


async def recheck(
    work: ReadingWork, evidence: VerificationResult, drift: Drift, store: EvidencePartStore, patient: bool
) -> Followed:
    """Look at the rows that drifted, and write the evidence as of the snapshot; the rest as for `follow`.

    Unless `patient`, there is a brief look and no judgement: a row that does not match yet is unverified, and an id
    without a row, whose item stands, is among the `orphans`, for the next round to look at. `recheck_unfinished`
    is set then.

    Raises:
        StateChanged: the evidence was replaced meanwhile: this run has lost the partition, also where it cannot know.
    """
    looked_at = work.clock.now()
    before = await asyncio.to_thread(work.state.read, names.evidence(evidence.partition))
    replacing = before.version if before else ABSENT
    examiner = Examiner(work.source, work.target, work.recheck_delay_s, work.clock.sleep)
    changed, examined = drift.changed, Examined()
    # Of two rows with one id nobody can say which one an item is of: they get no verdict.
    single = [row_id for row_id in changed if row_id not in drift.repeated]
    for ids in batched(single, work.page_size):
        rows = await asyncio.to_thread(work.source.rows, ids)
        examined.add(await (examiner.examine if patient else examiner.look_briefly)(list(rows.values())))
    vanished = changed.keys() - examined.results.keys() - set(drift.repeated)
    gone = {row_id for piece in drift.pieces for row_id in piece.gone} - changed.keys()
    orphans, back = await _left_behind(work, sorted({*gone, *vanished, *evidence.orphans}), patient)
    # A row that went and came back was never looked at.
    examined.rows.faults += (Mismatch(row_id, RowVerdict.UNVERIFIED) for row_id in vanished & back)
    vanished -= back
    moved = [row_id for row_id, seen in examined.rows.equal.items() if seen.row != changed[row_id]]

    def keep() -> VerificationResult:
        segments = list(_renewed(drift, examined, store, looked_at))
        index = EvidencePartIndex(tuple(segments))
        result = replace(
            evidence,
            run_id=work.run_id,
            **totals(index, store),
            rows_in_window=drift.rows - len(vanished),
            digest=str(drift.digest),
            as_of=drift.moment,
            segments=store.write_index(segments) if drift.pieces else evidence.segments,
            agreed_on_recheck=evidence.agreed_on_recheck + examined.agreed_on_recheck,
            undeclared=_undeclared(evidence, drift, examined),
            moving=sorted({*moved, *vanished}),
            orphans=orphans,
            repeated=drift.repeated,
            recheck_unfinished=not patient and bool(orphans or examined.rows.faults),
            matches_from=_since(evidence, segments),
            finished_at=work.clock.now(),
        )
        _keep_evidence(work, result, store, segments, replacing)
        return result

    return Followed(await whole_in_thread(keep), len(changed))


async def _left_behind(work: ReadingWork, ids: Sequence[str], patient: bool) -> tuple[list[str], set[str]]:
    """The ids among these that have no row any more, and an item that still stands, or never held still; and those that
    have a row. Unless `patient`, an item that stands at one look is among them."""
    left, back = list[str](), set[str]()
    for some in batched(ids, work.page_size):
        if patient:
            found = await look_at_rows_left(work, some)
            left += [*found.orphans, *found.unverified]
            back.update(found.have_rows)
        else:
            rows = await asyncio.to_thread(work.source.rows, some)
            back |= rows.keys()
            lookup = await work.target.get_many([row_id for row_id in some if row_id not in rows])
            left += [*lookup.items, *lookup.unread]
    return sorted(left), back


def totals(index: EvidencePartIndex, store: EvidencePartStore) -> dict[str, Any]:
    """What all segments come to, by the names of `VerificationResult`."""
    verdicts, by_attribute = index.verdicts(), index.by_attribute()
    return {
        "verdicts": verdicts,
        "by_attribute": by_attribute,
        "mismatches": list(islice(store.faults(index.segments), LISTED_MISMATCHES)),
        "mismatches_found": by_attribute.total() + verdicts["missing"] + verdicts["unverified"],
        "inexact_timestamps": sum(segment.inexact for segment in index.segments),
        "items_digest": str(sum(int(segment.items_digest) for segment in index.segments)),
    }


def _keep_evidence(
    work: ReadingWork,
    result: VerificationResult,
    store: EvidencePartStore,
    segments: Sequence[EvidencePart],
    replacing: str,
) -> None:
    """Write the evidence; the full values go to a file of their own, before the evidence that counts them."""
    listed = names.mismatches(result.partition)
    before = work.state.read(listed)
    if result.mismatches or (before and before.content):
        save_lines(work.state, listed, result.mismatches)
    save_record(work.state, names.evidence(result.partition), replace(result, mismatches=()), replacing)
    store.keep_only(result.segments, segments)


def _piece(segment: EvidencePart, seen: SeenRows, listed: Sequence[Placed], faults_again: bool) -> Piece:
    digests = seen.digests()
    known = {row_id: seen_row.row for row_id, seen_row in seen.equal.items()} if faults_again else digests
    changed = {row.id: row.digest for row in listed if known.get(row.id) != row.digest}
    everything = digests.keys() | {fault.row_id for fault in seen.faults}
    return Piece(segment, segment.until, changed, frozenset(everything - {row.id for row in listed}))


def _listed(snapshot: Snapshot, window: Window, after: Cursor | None, until: Cursor) -> list[Placed]:
    return [row for rows in placed_rows(snapshot, window, after, until, CHECKPOINT_ROWS) for row in rows]


def _repeated(listed: Sequence[Placed]) -> list[str]:
    return [row_id for row_id, times in Counter(row.id for row in listed).items() if times > 1]


def _renewed(drift: Drift, examined: Examined, store: EvidencePartStore, looked_at: str) -> Iterator[EvidencePart]:
    """The segments with what was seen of the rows that drifted; those that did not drift as they are."""
    pieces = {piece.segment.file: piece for piece in drift.pieces if piece.segment}
    for segment in drift.index.segments:
        piece = pieces.get(segment.file)
        if piece is None:
            yield segment
        else:
            rows = store.rows(segment)
            rows.forget({*piece.changed, *piece.gone})
            rows.add(examined.rows.only(piece.changed))
            yield store.write(piece.until, rows, segment.looked_at)
    for piece in drift.pieces:
        if piece.segment is None:
            yield store.write(piece.until, examined.rows.only(piece.changed), looked_at)


def _since(evidence: VerificationResult, segments: Sequence[EvidencePart]) -> str | None:
    oldest = min([evidence.oldest_look_at, *(segment.looked_at for segment in segments)])
    return oldest if oldest != evidence.started_at else None


def _undeclared(evidence: VerificationResult, drift: Drift, examined: Examined) -> Counter[str]:
    # Of rows that were looked at before they are counted already.
    if any(piece.segment for piece in drift.pieces):
        return Counter(evidence.undeclared)
    return Counter(evidence.undeclared) + examined.undeclared
