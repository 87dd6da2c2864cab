"""Keeps a partition's evidence up to date while the application writes: it looks again only at what changed.

`drift` finds on a snapshot what that is; `certify` runs the rounds that lead to a certificate.
"""

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

from imgmig_dagster.concurrency import whole_in_thread
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.records import save_lines, save_record
from imgmig_dagster.state.store import ABSENT
from imgmig_dagster.steps.drift import Drift, find_drift
from imgmig_dagster.steps.examined import Examined
from imgmig_dagster.steps.second_look import Examiner
from imgmig_dagster.steps.without_row import look_without_rows
from imgmig_dagster.verification.row_parts import EvidencePart, EvidencePartIndex, EvidencePartStore, PackedRows
from imgmig_dagster.verification.verification_result import LISTED_MISMATCHES, VerificationResult
from imgmig_dagster.walk.walk import rows_of
from imgmig_dagster.window import Window

_ROUNDS: Final = 3


@dataclass(frozen=True)
class Followed:
    """A partition's evidence as of a snapshot, and how many rows were looked at for it."""

    result: VerificationResult
    looked_again: int

    @property
    def is_quiet(self) -> bool:
        """Whether every row of the snapshot was seen as it was then."""
        return not (self.result.moving or self.result.unverified or self.result.orphans)


async def follow(
    work: ReadingWork, window: Window, evidence: VerificationResult, faults_again: bool = False
) -> Followed:
    """Bring a partition's evidence to this moment, by rounds on snapshots of the window; see `recheck`.

    The caller owns the partition's verification lock. A row that keeps changing for so few rounds is left in `moving`,
    or unverified.

    Raises:
        SourceError, TargetError, StateError: see there.
    """
    looked = 0
    for _round in range(_ROUNDS):
        drift = await asyncio.to_thread(find_drift, work, window, evidence, faults_again)
        if drift.is_known(evidence):
            return Followed(replace(evidence, moving=[]), looked)
        followed = await recheck(work, evidence, drift, patient=True)
        looked += followed.looked_again
        evidence, faults_again = followed.result, False
        if followed.is_quiet:
            break
    return Followed(evidence, looked)


async def recheck(work: ReadingWork, evidence: VerificationResult, drift: Drift, patient: bool) -> Followed:
    """Look at the rows that drifted, and write the evidence as of the snapshot; the rest as for `follow`.

    Unless `patient`, there is one brief look and no judgement. A row that does not match yet is unverified, and an id
    without a row, whose item exists, is among the `orphans`: the next round looks at both. `recheck_unfinished` is set
    then.

    Raises:
        StateChanged: the evidence was replaced in between: this run has lost the partition, perhaps without knowing.
    """
    looked_at, store = work.clock.now(), EvidencePartStore(work.state, evidence.partition, work.run_id)
    before = await asyncio.to_thread(work.state.read, names.evidence(evidence.partition))
    replacing = before.version if before else ABSENT
    examiner = Examiner(work, work.target)
    changed, examined = drift.changed, Examined()
    # If two rows have one id, nobody can say which one an item belongs to: they get no verdict.
    single = [row_id for row_id in changed if row_id not in drift.repeated]
    async for _ids, rows in rows_of(work, single):
        examined.add(await (examiner.examine if patient else examiner.look_briefly)(list(rows.values())))
    vanished = changed.keys() - examined.results.keys() - set(drift.repeated)
    gone = {row_id for piece in drift.pieces for row_id in piece.gone} - changed.keys()
    orphans, back = await _left_behind(work, sorted({*gone, *vanished, *evidence.orphans}), patient)
    # A row that went and came back was never looked at.
    examined.leave_unverified(vanished & back)
    vanished -= back
    moved = [row_id for row_id, seen in examined.rows.equal.items() if seen.row != changed[row_id]]

    def keep() -> VerificationResult:
        parts = list(_renewed(drift, examined, store, looked_at))
        index = EvidencePartIndex(tuple(parts))
        result = replace(
            evidence,
            run_id=work.run_id,
            **totals(index, store),
            rows_in_window=drift.rows - len(vanished),
            digest=str(drift.digest),
            as_of=drift.moment,
            segments=store.write_index(parts) if drift.pieces else evidence.segments,
            agreed_on_recheck=evidence.agreed_on_recheck + examined.agreed_on_recheck,
            undeclared=_undeclared(evidence, drift, examined),
            moving=sorted({*moved, *vanished}),
            orphans=orphans,
            repeated=drift.repeated,
            recheck_unfinished=not patient and bool(orphans or examined.rows.faults),
            matches_from=_since(evidence, parts),
            finished_at=work.clock.now(),
        )
        _keep_evidence(work, result, store, parts, replacing)
        return result

    return Followed(await whole_in_thread(keep), len(changed))


async def _left_behind(work: ReadingWork, ids: Sequence[str], patient: bool) -> tuple[list[str], set[str]]:
    """The ids without a row now whose item exists or never stopped changing; and the ids with a row.

    Unless `patient`, an item that exists at one look is among them.
    """
    left, back = list[str](), set[str]()
    async for some, rows in rows_of(work, ids):
        back |= rows.keys()
        without = [row_id for row_id in some if row_id not in rows]
        if patient:
            found = await look_without_rows(work, work.target, without)
            left += [*found.orphans, *found.unverified]
            back.update(found.have_rows)
        else:
            lookup = await work.target.get_many(without)
            left += [*lookup.items, *lookup.unread]
    return sorted(left), back


def totals(index: EvidencePartIndex, store: EvidencePartStore) -> dict[str, Any]:
    """The totals of all parts, by the names of `VerificationResult`."""
    verdicts, by_attribute = index.verdicts(), index.by_attribute()
    return {
        "verdicts": verdicts,
        "by_attribute": by_attribute,
        "mismatches": list(islice(store.faults(index.segments), LISTED_MISMATCHES)),
        "mismatches_found": by_attribute.total() + verdicts["missing"] + verdicts["unverified"],
        "inexact_timestamps": sum(part.inexact for part in index.segments),
        "items_digest": str(sum(int(part.items_digest) for part in index.segments)),
    }


def _keep_evidence(
    work: ReadingWork,
    result: VerificationResult,
    store: EvidencePartStore,
    parts: Sequence[EvidencePart],
    replacing: str,
) -> None:
    """Write the evidence. The full values go to their own file, before the evidence that counts them."""
    listed = names.mismatches(result.partition)
    before = work.state.read(listed)
    if result.mismatches or (before and before.content):
        save_lines(work.state, listed, result.mismatches)
    save_record(work.state, names.evidence(result.partition), replace(result, mismatches=()), replacing)
    store.keep_only(result.segments, parts)


def _renewed(drift: Drift, examined: Examined, store: EvidencePartStore, looked_at: str) -> Iterator[EvidencePart]:
    """The parts with what was seen of the rows that drifted; parts that did not drift stay as they are."""
    pieces = {piece.part.file: piece for piece in drift.pieces if piece.part}
    for part in drift.index.segments:
        piece = pieces.get(part.file)
        if piece is None:
            yield part
        else:
            rows = store.rows(part)
            rows.forget({*piece.changed, *piece.gone})
            rows.add(examined.rows.only(piece.changed))
            yield store.write(piece.until, PackedRows.of(rows), rows.faults, part.looked_at)
    for piece in drift.pieces:
        if piece.part is None:
            rows = examined.rows.only(piece.changed)
            yield store.write(piece.until, PackedRows.of(rows), rows.faults, looked_at)


def _since(evidence: VerificationResult, parts: Sequence[EvidencePart]) -> str | None:
    oldest = min([evidence.oldest_look_at, *(part.looked_at for part in parts)])
    return oldest if oldest != evidence.started_at else None


def _undeclared(evidence: VerificationResult, drift: Drift, examined: Examined) -> Counter[str]:
    # Rows that were looked at before are counted already.
    if any(piece.part for piece in drift.pieces):
        return Counter(evidence.undeclared)
    return Counter(evidence.undeclared) + examined.undeclared
