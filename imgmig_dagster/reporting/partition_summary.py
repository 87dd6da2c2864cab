"""Judges one partition: what is known about it, what that proves, and what blocks PASS. `model` sums up a stage."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum
from typing import Final

from imgmig_dagster.rules.invalidation import Invalidation, LastWrite, Reason
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.failures import Failure, FailureLedger, held_back
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.steps.migration_result import MigrationResult, last_migration
from imgmig_dagster.traffic import TrafficRecord
from imgmig_dagster.verification.evidence import CurrentState, why_invalid
from imgmig_dagster.verification.verification_result import Mismatch, VerificationResult
from imgmig_dagster.window import Window

_SHOWN_IDS: Final = 3


class Verdict(str, Enum):
    """What the evidence says about a partition, or about all of them."""

    PASS = "PASS"  # noqa: S105 - a verdict
    FAIL = "FAIL"
    NOT_VERIFIED = "NOT VERIFIED"
    """There is no evidence, or none that still counts."""
    EMPTY = "EMPTY"
    """A partition holds no row."""


@dataclass(frozen=True)
class Blocker:
    """One thing that keeps a verdict from PASS, and the commands that remove it, in order."""

    what: str
    commands: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Both, as one line of text."""
        return f"{self.what}: {', then '.join(self.commands)}"


@dataclass(frozen=True)
class PartitionSummary:
    """One partition: the evidence and its verdict.

    `rows` is the source's count now. `migration` is the last finished pass; `pass_open` says that a later pass has
    begun and not finished; `written` is what wrote last, without its row ids. `verification` is the last one,
    `invalidation` says why it no longer counts; `mismatches` are those of the `evidence`. `failures` and `mismatches`
    have values only if these are to be kept.
    """

    partition: str
    start: datetime
    end: datetime
    rows: int
    migration: MigrationResult | None
    pass_open: bool
    written: LastWrite | None
    failures: tuple[Failure, ...]
    verification: VerificationResult | None
    mismatches: tuple[Mismatch, ...] = ()
    invalidation: Invalidation | None = None
    verdict: Verdict = Verdict.NOT_VERIFIED
    blockers: tuple[Blocker, ...] = ()

    @property
    def evidence(self) -> VerificationResult | None:
        """The last verification, if it is of the current state; a fault that it found counts at any age."""
        return None if self.invalidation and not self.invalidation.only_aged else self.verification

    @property
    def traffic(self) -> TrafficRecord:
        """The traffic of the last pass and the last verification together."""
        records = (each.traffic for each in (self.migration, self.verification) if each)
        return sum(records, TrafficRecord())


def summarize(
    store: StateStore,
    window: Window,
    rows: int,
    current: CurrentState,
    options: str,
    digest: str | None = None,
    show_values: bool = False,
    lists_mismatches: bool = True,
) -> PartitionSummary:
    """Read what the state store knows about a partition, and judge it.

    Args:
        store: the stage's state.
        window: the partition.
        rows: the rows that the source counts in the window now.
        current: what the evidence is compared with.
        options: of the commands to type next, as `remedies.options` makes them.
        digest: the source's digest of the window now; None skips the check whether the rows are still the same.
        show_values: whether failures and mismatches keep their values.
        lists_mismatches: whether to read each mismatch.

    Raises:
        StateError: a file of the partition cannot be read.
    """
    partition = window.partition
    verification = load_record(store, names.evidence(partition), VerificationResult)
    written = last_write(store, partition)
    failures = FailureLedger(store, partition).entries().values()
    summary = PartitionSummary(
        partition=partition,
        start=window.start,
        end=window.end,
        rows=rows,
        migration=last_migration(store, partition),
        pass_open=CheckpointFile(store, partition).is_open(),
        written=replace(written, ids=None) if written else None,
        # A ledger keeps the values of earlier runs that were allowed to keep them.
        failures=tuple(each if show_values else replace(each, value=None) for each in failures),
        # Values have their own file; a report must not carry them even if the evidence did.
        verification=replace(verification, mismatches=[]) if verification else None,
    )
    if _holds_nothing(summary):
        return replace(summary, verdict=Verdict.EMPTY)
    if verification:
        invalidation = why_invalid(store, window, verification, current, rows, digest)
        summary = replace(summary, invalidation=invalidation)
    if summary.evidence and lists_mismatches:
        found = load_lines(store, names.mismatches(partition), Mismatch)
        listed = tuple(each if show_values else replace(each, expected=None, found=None) for each in found)
        summary = replace(summary, mismatches=listed)
    verdict, blockers = _judge(summary, options)
    return replace(summary, verdict=verdict, blockers=blockers)


def command(verb: str, options: str, partition: str | None = None) -> str:
    """The command to type."""
    return f"imgmig {verb}{f' --partition {partition}' if partition else ''} {options}"


def _holds_nothing(summary: PartitionSummary) -> bool:
    """Whether no row was ever seen: never touched, or migrated and verified while empty."""
    seen = (
        summary.rows
        + len(summary.failures)
        + (summary.migration.total if summary.migration else 0)
        + (summary.verification.looked_at if summary.verification else 0)
        + (len(summary.verification.orphans) + len(summary.verification.repeated) if summary.verification else 0)
    )
    return not seen and not summary.pass_open


def _judge(summary: PartitionSummary, options: str) -> tuple[Verdict, tuple[Blocker, ...]]:
    verdict, blockers = _judge_evidence(summary, options)
    if summary.failures:
        return Verdict.FAIL, (_ledger_blocker(summary, options), *blockers)
    return verdict, tuple(blockers)


def _judge_evidence(summary: PartitionSummary, options: str) -> tuple[Verdict, Sequence[Blocker]]:
    partition, invalidation = summary.partition, summary.invalidation
    verify = command("verify", options, partition)
    migrate_and_verify = (command("migrate", options, partition), verify)
    if summary.pass_open:
        what = f"Partition {partition}: a migration pass was begun and has not finished; the command resumes it"
        return Verdict.NOT_VERIFIED, [Blocker(what, migrate_and_verify)]
    if summary.verification is None:
        if summary.migration is None:
            what = f"Partition {partition} was not migrated ({summary.rows:,} rows)"
            return Verdict.NOT_VERIFIED, [Blocker(what, migrate_and_verify)]
        what = f"Partition {partition} was migrated and not verified ({summary.rows:,} rows)"
        return Verdict.NOT_VERIFIED, [Blocker(what, (verify,))]
    if summary.evidence and not summary.evidence.passed:
        return Verdict.FAIL, [_evidence_blocker(partition, summary.evidence, options)]
    if invalidation:
        what = f"Partition {partition}: the verification no longer counts, because {invalidation.what}"
        # Another pass finishes what an interrupted one began. It also migrates rows that changed, and all rows to
        # another target.
        if invalidation.reason is Reason.RECHECK_UNFINISHED:
            return Verdict.NOT_VERIFIED, [Blocker(what, (command("report", options),))]
        again = invalidation.reason in (Reason.WRITE_NOT_ENDED, Reason.ROWS_CHANGED, Reason.OTHER_IDENTITY)
        return Verdict.NOT_VERIFIED, [Blocker(what, migrate_and_verify if again else (verify,))]
    return Verdict.PASS, []


def _ledger_blocker(summary: PartitionSummary, options: str) -> Blocker:
    rejected = sum(failure.permanent for failure in summary.failures)
    what = f"Partition {summary.partition}: {count(len(summary.failures), 'row')} in the failure ledger"
    if rejected:
        what += f", {rejected:,} of them rejected, which can succeed only once they are corrected in the source"
    retry = command("retry-failures", options, summary.partition)
    if held := held_back({failure.row_id: failure for failure in summary.failures}):
        what += f", {len(held):,} of them without a row: their items are deleted once you confirm the number"
        retry += f" --confirm-deletes {len(held)}"
    commands = (retry, command("verify", options, summary.partition))
    return Blocker(what, commands)


def _evidence_blocker(partition: str, evidence: VerificationResult, options: str) -> Blocker:
    found = [
        (evidence.mismatch, f"{count(evidence.mismatch, 'row')} mismatched"),
        (evidence.missing, f"{count(evidence.missing, 'row')} without an item"),
        (evidence.unverified, f"{count(evidence.unverified, 'row')} unverified"),
        (
            evidence.looked_at != evidence.rows_in_window,
            f"{evidence.looked_at:,} of {evidence.rows_in_window:,} rows looked at",
        ),
        (
            len(evidence.orphans),
            f"{count(len(evidence.orphans), 'item')} of rows that were deleted since: {_some(evidence.orphans)}",
        ),
        (
            len(evidence.repeated),
            f"{count(len(evidence.repeated), 'id')} of more than one row: {_some(evidence.repeated)}",
        ),
    ]
    what = f"Partition {partition}: {', '.join(text for number, text in found if number)}"
    verify = command("verify", options, partition)
    # Another verification reads what could not be read. Only a repair, which verifies afterwards, fixes what differs.
    if evidence.mismatch or evidence.missing:
        return Blocker(what, (command("repair --apply", options, partition),))
    if evidence.orphans:
        return Blocker(what, (command("verify", options), command("repair --apply --delete-orphans", options)))
    return Blocker(what, (verify,))


def _some(ids: Sequence[str]) -> str:
    more = f" and {len(ids) - _SHOWN_IDS:,} more" if len(ids) > _SHOWN_IDS else ""
    return f"{', '.join(ids[:_SHOWN_IDS])}{more}"


def count(number: int, noun: str) -> str:
    """A number of things, in English."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
