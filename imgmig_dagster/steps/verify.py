"""Compares every row of a partition with its item, field by field, by strongly consistent reads."""

import asyncio
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

from pydantic import TypeAdapter

from imgmig_dagster.batches import batched
from imgmig_dagster.concurrency import whole_in_thread
from imgmig_dagster.mapping.spec import Row
from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.source.inventory import Inventory
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines, load_record, save_lines, save_record
from imgmig_dagster.state.row_log import Segment
from imgmig_dagster.state.writes import last_write, writes_so_far
from imgmig_dagster.steps.second_look import Examined, Examiner
from imgmig_dagster.verification.evidence import identity_of
from imgmig_dagster.verification.results import (
    Identity,
    Mismatch,
    Tally,
    VerificationResult,
)
from imgmig_dagster.walk.coverage import Coverage
from imgmig_dagster.walk.walk import Step, walk
from imgmig_dagster.window import Window
from imgmig_dagster.work import ReadingWork

_TALLY: Final = TypeAdapter(Tally)


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
        return await _Verification(owned, window).verify(only_failed)


async def identity_now(work: ReadingWork) -> Identity:
    """What a verification compares now, by what."""
    return await asyncio.to_thread(identity_of, work.source, await work.target_identity())


class _Verification(Step[Examined]):
    """What is done with the rows of a page: compare."""

    def __init__(self, work: ReadingWork, window: Window) -> None:
        self._work = work
        self._window = window
        self._started, self._started_at = work.clock.monotonic(), work.clock.now()
        self._coverage: Coverage[Examined] = Coverage(
            work, window.partition, names.VERIFICATION_PROGRESS, names.VERIFIED
        )
        self._examiner = Examiner(work.source, work.target, work.settle_seconds, work.clock.sleep)

    async def verify(self, only_failed: bool) -> VerificationResult:
        work, window, coverage = self._work, self._window, self._coverage
        # Before anything is looked at: what is written from here on is not in the evidence.
        self._writes = await asyncio.to_thread(writes_so_far, work.state, window.partition)
        # Either side is asked while the other one answers.
        before, self._identity = await asyncio.gather(
            asyncio.to_thread(work.source.inventory, window), identity_now(work)
        )
        if only_failed:
            evidence = await asyncio.to_thread(self._evidence_of_matches, before)
            if evidence is not None:
                return await whole_in_thread(self._keep, await self._look_again(evidence))
        # It only reads, so that a checkpoint that does not fit is no reason to stop.
        fingerprint = await asyncio.to_thread(self._fingerprint, before)
        begun = await coverage.open(fingerprint, start_over_if_refused=True)
        self._meter = ProgressMeter(
            "Verified", window.partition, before.rows, work.listener, begun.rows, work.clock.monotonic
        )
        found = await walk(work, window, self, coverage)
        tally = await asyncio.to_thread(_sum, coverage.segments())
        tally.forget({*found.gone, *found.moved}, found.void)
        vanished = await self._examine([*found.unseen, *found.moved], tally)
        coverage.count_requests()
        checkpoint = coverage.checkpoint
        result = VerificationResult(
            partition=window.partition,
            run_id=work.run_id,
            window=window.describe(),
            rows_in_window=found.rows_in_window - vanished,
            late=len(found.unseen),
            left_window=len(found.gone) + vanished,
            digest=before.digest,
            watermark=before.watermark.isoformat() if before.watermark else None,
            identity=self._identity,
            started_at=checkpoint.started_at,
            finished_at=work.clock.now(),
            duration_s=round(checkpoint.elapsed_s, 3),
            resumes=checkpoint.resumes,
            traffic=checkpoint.traffic,
            writes=self._writes,
            **vars(tally),
        )
        await whole_in_thread(self._keep, result)
        await coverage.end(result.finished_at)
        return result

    async def page(self, rows: Sequence[Row]) -> Examined:
        """See `Step.page`: give each row its verdict. The row log keeps it: nothing else has to be recorded."""
        found = await self._examiner.examine(rows)
        self._meter.failures += len(found.results) - found.tally.verdicts["match"]
        self._meter.advance(len(rows))
        return found

    async def _examine(self, ids: Sequence[str], tally: Tally, meter: ProgressMeter | None = None) -> int:
        """Give rows their verdicts by their ids; how many of them have vanished."""
        vanished = 0
        for some in batched(ids, self._work.page_size):
            rows = await asyncio.to_thread(self._work.source.rows, some)
            examined = await self._examiner.examine(list(rows.values()))
            tally.add(examined.tally)
            vanished += len(some) - len(examined.results)
            if meter is not None:
                meter.advance(len(some))
        return vanished

    def _fingerprint(self, before: Inventory) -> Mapping[str, str]:
        """What an interrupted verification has to be of: the same rows, by the same rules."""
        return {
            **vars(self._identity),
            "window": self._window.describe(),
            "digest": before.digest,
            # What wrote since then voids what was verified before it.
            "writes": "open" if self._writes is None else str(self._writes),
        }

    def _evidence_of_matches(self, before: Inventory) -> VerificationResult | None:
        """The last evidence, if what it says of the matching rows holds to this day, and every other row is listed."""
        state, partition = self._work.state, self._window.partition
        evidence = load_record(state, names.evidence(partition), VerificationResult)
        if evidence is None or evidence.identity != self._identity or evidence.digest != before.digest:
            return None
        listed = load_lines(state, names.mismatches(partition), Mismatch)
        written = last_write(state, partition)
        if written and not written.spared_others_since(evidence.writes, {found.row_id for found in listed}):
            return None
        whole = len(listed) == evidence.mismatches_found and evidence.coverage_is_complete
        return replace(evidence, mismatches=listed) if whole else None

    async def _look_again(self, evidence: VerificationResult) -> VerificationResult:
        failed = {found.row_id: found.verdict.value for found in evidence.mismatches}
        meter = ProgressMeter("Verified again", self._window.partition, len(failed), self._work.listener)
        tally = Tally(
            **{name: getattr(evidence, name) for name in ("settled", "inexact_timestamps", "mismatches_found")},
            verdicts=dict(evidence.verdicts),
            mismatches=list(evidence.mismatches),
        )
        tally.by_attribute.update(evidence.by_attribute)
        tally.undeclared.update(evidence.undeclared)
        tally.forget(failed, Counter(failed.values()))
        await self._examine(list(failed), tally, meter)
        return replace(
            evidence,
            run_id=self._work.run_id,
            started_at=self._started_at,
            finished_at=self._work.clock.now(),
            duration_s=round(self._work.clock.monotonic() - self._started, 3),
            matches_from=evidence.oldest_look_at,
            writes=self._writes,
            traffic=self._work.target.sender.traffic.record(),
            **vars(tally),
        )

    def _keep(self, result: VerificationResult) -> VerificationResult:
        """Write the evidence; the full values go to a file of their own, before the evidence that counts them."""
        state, partition = self._work.state, result.partition
        save_lines(state, names.mismatches(partition), result.mismatches)
        save_record(state, names.evidence(partition), replace(result, mismatches=()))
        return result


def _sum(segments: Iterable[Segment]) -> Tally:
    tally = Tally()
    for segment in segments:
        tally.add(_TALLY.validate_python(segment.tally))
    return tally
