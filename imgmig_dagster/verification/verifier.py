"""Compares every row of a partition with its item, field by field, by strongly consistent reads."""

import asyncio
from collections import Counter
from collections.abc import Iterable
from contextlib import aclosing
from dataclasses import replace
from functools import partial
from typing import Final

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import in_order
from imgmig_dagster.errors import CheckpointRefused
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.accounting import account
from imgmig_dagster.source.inventory import Inventory
from imgmig_dagster.source.paging import ahead
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import Checkpoint, CheckpointFile
from imgmig_dagster.state.records import load_lines, load_record, save_lines, save_record
from imgmig_dagster.state.segments import Segments
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.traffic import Traffic
from imgmig_dagster.verification.evidence import identity_of
from imgmig_dagster.verification.examiner import Examined, Examiner
from imgmig_dagster.verification.results import (
    ExaminedRows,
    Identity,
    Mismatch,
    Tally,
    Verdict,
    VerificationResult,
)
from imgmig_dagster.window import Window
from imgmig_dagster.work import ReadingWork

# While one page's differences settle, or its last reply is on its way, the next page is read.
_PAGES_IN_FLIGHT: Final = 2
_CHECKPOINT_ROWS: Final = 1_000


async def verify(work: ReadingWork, window: Window, only_failed: bool = False) -> VerificationResult:
    """Compare every row of the window, and leave the evidence in the state store.

    A difference counts only when the same row and the same item are seen again, a settle time later: the
    application may write meanwhile. An interrupted verification is resumed if neither side is known to have
    changed since.

    Args:
        work: what it works on.
        window: the partition.
        only_failed: look again only at the rows that did not match, where the evidence of the others still holds;
            everything otherwise.

    Raises:
        PartitionBusy: another run verifies this partition.
        SourceError, TargetError: see there. Nothing is concluded from half a pass.
    """
    async with work.owning(names.verification_lock(window.partition)) as owned:
        return await _Pass(owned, window).run(only_failed)


async def identity_now(work: ReadingWork) -> Identity:
    """What a verification compares now, by what."""
    return await asyncio.to_thread(identity_of, work.source, await work.target_identity())


class _Pass:
    def __init__(self, run: ReadingWork, window: Window) -> None:
        self._run = run
        self._window = window
        self._started = run.clock.monotonic()
        self._started_at = run.clock.now()
        self._checkpoints = CheckpointFile(run.state, window.partition, names.VERIFICATION_PROGRESS)
        self._segments = Segments(run.state, window.partition, names.VERIFIED, ExaminedRows)

    async def run(self, only_failed: bool) -> VerificationResult:
        run, window = self._run, self._window
        target = run.target
        # Either side is asked while the other one answers.
        before, self._identity = await asyncio.gather(
            asyncio.to_thread(run.source.inventory, window), identity_now(run)
        )
        examiner = Examiner(run.source, target, run.settle_seconds, run.clock.sleep)
        evidence = await asyncio.to_thread(self._evidence_of_matches, before) if only_failed else None
        if evidence is not None:
            looked_again = await self._look_again(evidence, examiner, target.sender.traffic)
            return await asyncio.to_thread(self._keep, looked_again)
        begun, traffic = await asyncio.to_thread(self._open, before), target.sender.traffic
        checkpoint = await self._examine_pages(begun, examiner, before.rows, traffic)
        segments = partial(self._segments.read, checkpoint.segments)
        found = await asyncio.to_thread(account, run.source, window, segments)
        tally = await asyncio.to_thread(_sum, segments())
        tally.forget({*found.gone, *found.moved}, found.void)
        again = (*found.unseen, *found.moved)
        vanished = 0
        for ids in batched(again, run.page_size):
            rows = await asyncio.to_thread(run.source.rows, ids)
            examined = await examiner.examine(list(rows.values()))
            tally.add(examined.tally)
            vanished += len(ids) - len(examined.verdicts)
        result = VerificationResult(
            partition=window.partition,
            run_id=run.run_id,
            window=window.describe(),
            rows_in_window=found.rows_in_window - vanished,
            late=len(found.unseen),
            left_window=len(found.gone) + vanished,
            digest=before.digest,
            watermark=before.watermark.isoformat() if before.watermark else None,
            identity=self._identity,
            started_at=checkpoint.started_at,
            finished_at=self._run.clock.now(),
            duration_s=round(checkpoint.elapsed_s + self._run.clock.monotonic() - self._started, 3),
            resumes=checkpoint.resumes,
            traffic=begun.traffic + traffic.record(),
            **vars(tally),
        )
        await asyncio.to_thread(self._end, result)
        return result

    def _end(self, result: VerificationResult) -> None:
        self._keep(result)
        # An orphan of a killed run must not take away what its successor has written meanwhile.
        left_over = self._segments.names()
        self._checkpoints.remove()
        self._segments.remove(left_over)

    def _open(self, before: Inventory) -> Checkpoint:
        """Take up an interrupted verification of the same rows by the same rules; otherwise begin anew.

        It only reads, so that a checkpoint that does not fit is no reason to stop.
        """
        written = last_write(self._run.state, self._window.partition)
        fingerprint = {
            **vars(self._identity),
            "window": self._window.describe(),
            "digest": before.digest,
            # What wrote since then voids what was verified before it.
            "last_write": f"{written.run_id}, ended {written.ended_at}" if written else "none",
        }
        left_over = self._segments.names()
        try:
            checkpoint = self._checkpoints.open(self._run.run_id, fingerprint, self._started_at)
        except CheckpointRefused:
            checkpoint = self._checkpoints.open(self._run.run_id, fingerprint, self._started_at, start_over=True)
        if not checkpoint.segments:
            self._segments.remove(left_over)
        return checkpoint

    async def _examine_pages(self, begun: Checkpoint, examiner: Examiner, total: int, traffic: Traffic) -> Checkpoint:
        run, checkpoint = self._run, begun
        meter = ProgressMeter("Verified", self._window.partition, total, run.listener, done=begun.rows)
        pages = ahead(run.source.pages(self._window, begun.cursor, run.page_size))
        unsaved = Examined()
        async with aclosing(pages), aclosing(in_order(pages, examiner.examine, _PAGES_IN_FLIGHT)) as examined_pages:
            async for page, examined in examined_pages:
                # A row that moved ahead of the cursor is met once more: what was seen of it last counts.
                again = unsaved.verdicts.keys() & examined.verdicts.keys()
                unsaved.tally.forget(again, Counter(unsaved.verdicts[row_id].value for row_id in again))
                unsaved.verdicts.update(examined.verdicts)
                unsaved.tally.add(examined.tally)
                checkpoint = replace(checkpoint, cursor=page.until)
                if len(unsaved.verdicts) >= _CHECKPOINT_ROWS:
                    checkpoint, unsaved = await self._save(checkpoint, begun, unsaved, traffic), Examined()
                meter.failures += len(examined.verdicts) - examined.tally.verdicts["match"]
                meter.advance(len(page))
        return await self._save(checkpoint, begun, unsaved, traffic)

    async def _save(self, checkpoint: Checkpoint, begun: Checkpoint, unsaved: Examined, traffic: Traffic) -> Checkpoint:
        if unsaved.verdicts and checkpoint.cursor is not None:
            given = unsaved.verdicts.items()
            by_verdict = {verdict.value: [row_id for row_id, each in given if each is verdict] for verdict in Verdict}
            ids = {verdict: found for verdict, found in by_verdict.items() if found}
            segment = ExaminedRows(checkpoint.cursor, ids, unsaved.tally)
            outcomes = {name: checkpoint.outcomes.get(name, 0) + len(found) for name, found in ids.items()}
            add = self._segments.add
            checkpoint = replace(
                checkpoint,
                segments=await asyncio.to_thread(add, checkpoint.segments, self._run.run_id, segment),
                outcomes={**checkpoint.outcomes, **outcomes},
                elapsed_s=begun.elapsed_s + self._run.clock.monotonic() - self._started,
                traffic=begun.traffic + traffic.record(),
            )
        await asyncio.to_thread(self._checkpoints.save, checkpoint)
        return checkpoint

    def _evidence_of_matches(self, before: Inventory) -> VerificationResult | None:
        """The last evidence, if what it says of the matching rows holds to this day, and every other row is listed."""
        state, partition = self._run.state, self._window.partition
        evidence = load_record(state, names.evidence(partition), VerificationResult)
        if evidence is None or evidence.identity != self._identity or evidence.digest != before.digest:
            return None
        listed = load_lines(state, names.mismatches(partition), Mismatch)
        written = last_write(state, partition)
        if written and not written.spared_others_since(evidence.started_at, {found.row_id for found in listed}):
            return None
        whole = len(listed) == evidence.mismatches_found and evidence.coverage_is_complete
        return replace(evidence, mismatches=listed) if whole else None

    async def _look_again(
        self, evidence: VerificationResult, examiner: Examiner, traffic: Traffic
    ) -> VerificationResult:
        failed = {found.row_id: found.verdict.value for found in evidence.mismatches}
        meter = ProgressMeter("Verified again", self._window.partition, len(failed), self._run.listener)
        tally = Tally(
            **{name: getattr(evidence, name) for name in ("settled", "inexact_timestamps", "mismatches_found")},
            verdicts=dict(evidence.verdicts),
            mismatches=list(evidence.mismatches),
        )
        tally.by_attribute.update(evidence.by_attribute)
        tally.undeclared.update(evidence.undeclared)
        tally.forget(failed, Counter(failed.values()))
        for ids in batched(list(failed), self._run.page_size):
            rows = await asyncio.to_thread(self._run.source.rows, ids)
            tally.add((await examiner.examine(list(rows.values()))).tally)
            meter.advance(len(ids))
        return replace(
            evidence,
            run_id=self._run.run_id,
            started_at=self._started_at,
            finished_at=self._run.clock.now(),
            duration_s=round(self._run.clock.monotonic() - self._started, 3),
            matches_from=evidence.oldest_look_at,
            traffic=traffic.record(),
            **vars(tally),
        )

    def _keep(self, result: VerificationResult) -> VerificationResult:
        """Write the evidence; the full values go to a file of their own, before the evidence that counts them."""
        state, partition = self._run.state, result.partition
        save_lines(state, names.mismatches(partition), result.mismatches)
        save_record(state, names.evidence(partition), replace(result, mismatches=()))
        return result


def _sum(segments: Iterable[ExaminedRows]) -> Tally:
    tally = Tally()
    for segment in segments:
        tally.add(segment.tally)
    return tally
