"""Compares every row of a partition with its item, field by field, by strongly consistent reads.

`second_look` gives the verdicts, `follow` keeps evidence up to date, `verification` says what evidence counts.
"""

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final

from pydantic import TypeAdapter

from imgmig_dagster.concurrency import whole_in_thread
from imgmig_dagster.mapping.rows import DigestedRow
from imgmig_dagster.rules.invalidation import is_too_old
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.writes import last_write, writes_so_far
from imgmig_dagster.steps.drift import find_drift
from imgmig_dagster.steps.examined import Examined, LoggedRows
from imgmig_dagster.steps.follow import follow, totals
from imgmig_dagster.steps.second_look import Examiner
from imgmig_dagster.verification.evidence import identity_of
from imgmig_dagster.verification.row_parts import (
    EvidencePart,
    EvidencePartIndex,
    EvidencePartStore,
    PackedRows,
    ids_at_fault,
)
from imgmig_dagster.verification.verification_result import Identity, VerificationResult
from imgmig_dagster.walk.coverage import ResumableCoverage
from imgmig_dagster.walk.walk import Step, walk_completely
from imgmig_dagster.window import Window

_LOGGED: Final = TypeAdapter(LoggedRows)


async def verify(work: ReadingWork, window: Window, only_failed: bool = False) -> VerificationResult:
    """Compare every row of the window, and leave the evidence in the state store.

    A difference counts only if the same row and the same item are seen again after the recheck delay: the application
    may be writing. An interrupted verification is resumed if we have written nothing since.

    Args:
        work: what it works on.
        window: the partition.
        only_failed: look again only at rows that did not match, or have changed since, if the evidence of the others
            still counts; otherwise at everything.

    Raises:
        PartitionBusy: another run verifies this partition.
        SourceError, TargetError: see there. Half a pass leaves no evidence.
    """
    async with work.owning(names.verification_lock(window.partition)) as owned:
        return await _Verification(owned, window).verify(only_failed)


async def identity_now(work: ReadingWork) -> Identity:
    """What a verification compares now."""
    return await asyncio.to_thread(identity_of, work.source, await work.target_identity())


class _Verification(Step[Examined]):
    """What happens to the rows of a page: compare."""

    digested = True

    def __init__(self, work: ReadingWork, window: Window) -> None:
        self._work = work
        self._window = window
        self._coverage: ResumableCoverage[Examined] = ResumableCoverage(
            work, window.partition, names.VERIFICATION_PROGRESS, names.VERIFIED
        )
        self._examiner = Examiner(work, work.target)

    async def verify(self, only_failed: bool) -> VerificationResult:
        work, window, coverage = self._work, self._window, self._coverage
        # Before anything is looked at: what is written from here on is not in the evidence.
        self._writes = await asyncio.to_thread(writes_so_far, work.state, window.partition)
        # Both sides are asked at the same time.
        (rows, watermark), self._identity = await asyncio.gather(
            asyncio.to_thread(work.source.extent, window), identity_now(work)
        )
        earlier = await asyncio.to_thread(self._earlier_evidence)
        if only_failed and earlier is not None and await asyncio.to_thread(self._can_be_followed, earlier):
            return await self._follow(earlier)
        # It only reads, so a checkpoint that does not fit is no reason to stop.
        begun = await coverage.open(self._fingerprint(), start_over_if_refused=True)
        self._meter = work.meter("Verified", window.partition, rows, begun.rows)
        found = await walk_completely(work, window, self, coverage)
        coverage.count_requests()
        left = await asyncio.to_thread(self._rows_left, earlier) | set(found.gone)
        parts = await whole_in_thread(self._write_parts, {*found.gone, *found.moved})
        checkpoint = coverage.checkpoint
        evidence = VerificationResult(
            partition=window.partition,
            run_id=work.run_id,
            window=window.describe(),
            rows_in_window=found.rows_in_window,
            late=len(found.unseen),
            left_window=len(found.gone),
            digest="",  # that of a snapshot comes with `follow`
            watermark=watermark.isoformat() if watermark else None,
            identity=self._identity,
            started_at=checkpoint.started_at,
            finished_at=work.clock.now(),
            duration_s=round(checkpoint.elapsed_s, 3),
            resumes=checkpoint.resumes,
            traffic=checkpoint.traffic,
            writes=self._writes,
            orphans=sorted(left),
            **parts,
        )
        # What was not seen, or has changed since, is looked at now.
        followed = await follow(work, window, evidence)
        await coverage.end(followed.result.finished_at)
        return followed.result

    async def _follow(self, evidence: VerificationResult) -> VerificationResult:
        work, started = self._work, self._work.clock.monotonic()
        renewed = replace(
            evidence, started_at=work.clock.now(), matches_from=evidence.oldest_look_at, writes=self._writes
        )
        result = (await follow(work, self._window, renewed, faults_again=True)).result
        took = round(work.clock.monotonic() - started, 3)
        return replace(result, duration_s=took, traffic=work.target.sender.traffic.record())

    async def page(self, rows: Sequence[DigestedRow]) -> Examined:
        """See `Step.page`: give each row its verdict. The row log keeps it; nothing else is recorded."""
        found = await self._examiner.examine(rows)
        self._meter.failures += len(found.rows.at_fault)
        self._meter.advance(len(rows))
        return found

    def _write_parts(self, unplaced: Collection[str]) -> dict[str, Any]:
        """The parts of the pass, without rows that are gone or moved, and their totals."""
        store = EvidencePartStore(self._work.state, self._window.partition, self._work.run_id)
        parts, undeclared, agreed_on_recheck = list[EvidencePart](), Counter[str](), 0
        for logged in self._coverage.parts():
            found = _LOGGED.validate_python(logged.tally)
            packed, faults = found.rows, found.faults
            if unplaced:
                rows = packed.unpacked(faults)
                rows.forget(unplaced)
                packed, faults = PackedRows.of(rows), rows.faults
            parts.append(store.write(logged.until, packed, faults, self._coverage.checkpoint.started_at))
            undeclared.update(found.undeclared)
            agreed_on_recheck += found.agreed_on_recheck
        index = EvidencePartIndex(tuple(parts))
        name = store.write_index(parts)
        return {
            **totals(index, store),
            "undeclared": undeclared,
            "agreed_on_recheck": agreed_on_recheck,
            "segments": name,
        }

    def _fingerprint(self) -> Mapping[str, str]:
        """What an interrupted verification must match. Rows that changed since are looked at again at the end."""
        return {
            **vars(self._identity),
            "window": self._window.describe(),
            # A later write invalidates what was verified before it.
            "writes": "open" if self._writes is None else str(self._writes),
        }

    def _earlier_evidence(self) -> VerificationResult | None:
        """The last evidence, if it is about the same source and target, and says about which rows."""
        evidence = load_record(self._work.state, names.evidence(self._window.partition), VerificationResult)
        if evidence is None or not evidence.segments:
            return None
        sides = ("source", "target", "target_created_at")
        is_of_same = all(getattr(evidence.identity, name) == getattr(self._identity, name) for name in sides)
        return evidence if is_of_same and evidence.window == self._window.describe() else None

    def _can_be_followed(self, evidence: VerificationResult) -> bool:
        """Whether what it says about unchanged rows still counts."""
        if evidence.identity.changes(self._identity) or is_too_old(evidence.oldest_look_at, self._work.clock.now()):
            return False
        written = last_write(self._work.state, self._window.partition)
        if written is None:
            return evidence.writes == 0
        return written.spared_others_since(evidence.writes, ids_at_fault(self._work.state, evidence))

    def _rows_left(self, earlier: VerificationResult | None) -> set[str]:
        """Ids that the earlier evidence knew, and that are no longer in the window: their items must be gone too."""
        if earlier is None:
            return set()
        drift = find_drift(self._work, self._window, earlier, faults_again=False)
        return {*earlier.orphans, *(row_id for piece in drift.pieces for row_id in piece.gone)}
