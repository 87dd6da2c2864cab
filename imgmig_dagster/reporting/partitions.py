"""What is known of one partition, what that proves, and what is lacking."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import Enum

from pydantic import TypeAdapter, ValidationError

from imgmig_dagster.errors import StateError
from imgmig_dagster.migration.results import MigrationResult
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.results import Identity, Mismatch, Verdict, VerificationResult
from imgmig_dagster.window import Window


class ReportVerdict(str, Enum):
    """What the evidence says of a partition, or of all of them."""

    PASS = "pass"  # noqa: S105 - a verdict
    FAIL = "fail"
    NOT_VERIFIED = "not verified"
    """There is no evidence, or none that still counts."""
    EMPTY = "empty"


@dataclass(frozen=True)
class Lacking:
    """One thing that stands between a verdict and PASS, and the commands that settle it, in order."""

    what: str
    commands: tuple[str, ...]

    @property
    def sentence(self) -> str:
        """Both, as one line of text."""
        return f"{self.what}: {', then '.join(self.commands)}"


@dataclass(frozen=True)
class ReportedMismatch:
    """A `Mismatch` without its values, which are personal data."""

    row_id: str
    verdict: Verdict
    attribute: str | None


@dataclass(frozen=True)
class PartitionSummary:
    """One partition: the evidence, and the verdict that it gives.

    `rows` is what the source counts now. `migration` is the last finished pass; `pass_open` says that another one was
    begun since and not finished. `verification` is the last one, and `void` why it no longer counts; `mismatches` are
    those of a verification that counts.
    """

    partition: str
    start: datetime
    end: datetime
    rows: int
    migration: MigrationResult | None
    pass_open: bool
    failures: tuple[Failure, ...]
    verification: VerificationResult | None
    mismatches: tuple[ReportedMismatch, ...] = ()
    void: str | None = None
    verdict: ReportVerdict = ReportVerdict.NOT_VERIFIED
    lacking: tuple[Lacking, ...] = ()

    @property
    def evidence(self) -> VerificationResult | None:
        """The last verification if it still counts."""
        return None if self.void else self.verification


def summarize(
    store: StateStore, window: Window, rows: int, identity: Identity | None, stage: str, digest: str | None = None
) -> PartitionSummary:
    """Read what the state store holds of a partition, and judge it.

    Args:
        store: the stage's state.
        window: the partition.
        rows: the rows that the source counts in the window now.
        identity: what a verification would compare today; None leaves out whether the evidence is of the same.
        stage: named in the commands to type next.
        digest: the source's digest of the window now; None leaves out whether the rows are still the same.

    Raises:
        StateError: a file of the partition cannot be read.
    """
    partition = window.partition
    verification = load_record(store, names.evidence(partition), VerificationResult)
    summary = PartitionSummary(
        partition=partition,
        start=window.start,
        end=window.end,
        rows=rows,
        migration=last_migration(store, partition),
        pass_open=CheckpointFile(store, partition).is_open(),
        failures=tuple(FailureLedger(store, partition).entries().values()),
        # Values have a file of their own; a report must not carry them even if the evidence did.
        verification=replace(verification, mismatches=[]) if verification else None,
    )
    if _holds_nothing(summary):
        return replace(summary, verdict=ReportVerdict.EMPTY)
    summary = replace(summary, void=_void(summary, window, identity))
    if summary.evidence:
        found = load_lines(store, names.mismatches(partition), Mismatch)
        listed = tuple(ReportedMismatch(each.row_id, each.verdict, each.attribute) for each in found)
        summary = replace(summary, mismatches=listed)
    verdict, lacking = _judge(summary, stage, digest)
    return replace(summary, verdict=verdict, lacking=lacking)


def command(verb: str, stage: str, partition: str | None = None) -> str:
    """What to type."""
    return f"imgmig {verb}{f' --partition {partition}' if partition else ''} --stage {stage}"


def is_after(moment: str, other: str) -> bool:
    """Whether an ISO 8601 time of the state lies after another.

    Within one millisecond nobody knows, and evidence must begin after what it is to prove: not after.
    """
    return datetime.fromisoformat(moment) > datetime.fromisoformat(other)


def changed_identity(found: Identity, current: Identity | None) -> str | None:
    """Which parts of what was compared are no longer today's, or None."""
    if current is None or found == current:
        return None
    changed = [name for name, value in vars(current).items() if getattr(found, name) != value]
    return f"it is of another {', '.join(changed).replace('_', ' ')}"


def last_migration(store: StateStore, partition: str) -> MigrationResult | None:
    """What the migration pass that finished last did; `StateError` if its record cannot be read."""
    try:
        record = CheckpointFile(store, partition).last_finished()
        return TypeAdapter(MigrationResult).validate_python(record["result"]) if record else None
    except (ValueError, KeyError, ValidationError):
        raise StateError(
            f"partition {partition}: the record of the last migration pass below "
            f"{store.locate(f'{partition}/passes')} cannot be read. Move it away and migrate the partition again: "
            f"imgmig migrate --partition {partition}"
        ) from None


def _holds_nothing(summary: PartitionSummary) -> bool:
    """Whether no row was ever seen: never touched, or migrated and verified with nothing in it."""
    seen = (
        summary.rows
        + len(summary.failures)
        + (summary.migration.total if summary.migration else 0)
        + (summary.verification.looked_at if summary.verification else 0)
    )
    return not seen and not summary.pass_open


def _void(summary: PartitionSummary, window: Window, identity: Identity | None) -> str | None:
    """Why the last verification says nothing of the items that stand there now."""
    verification, migration = summary.verification, summary.migration
    if verification is None:
        return None
    if migration and not is_after(verification.started_at, migration.finished_at):
        return "a migration pass finished after it began"
    if summary.pass_open:
        return "a migration pass has begun since its last one finished"
    if verification.window != window.describe():
        return f"it is of the window {verification.window}"
    return changed_identity(verification.identity, identity)


def _judge(summary: PartitionSummary, stage: str, digest: str | None) -> tuple[ReportVerdict, tuple[Lacking, ...]]:
    verdict, lacking = _judge_evidence(summary, stage, digest)
    if summary.failures:
        return ReportVerdict.FAIL, (_lacking_failures(summary, stage), *lacking)
    return verdict, tuple(lacking)


def _judge_evidence(
    summary: PartitionSummary, stage: str, digest: str | None
) -> tuple[ReportVerdict, Sequence[Lacking]]:
    partition, evidence = summary.partition, summary.evidence
    verify = command("verify", stage, partition)
    migrate_and_verify = (command("migrate", stage, partition), verify)
    if summary.pass_open:
        what = f"Partition {partition}: a migration pass was begun and has not finished; the command resumes it"
        return ReportVerdict.NOT_VERIFIED, [Lacking(what, migrate_and_verify)]
    if summary.verification is None:
        if summary.migration is None:
            what = f"Partition {partition} was not migrated ({summary.rows:,} rows)"
            return ReportVerdict.NOT_VERIFIED, [Lacking(what, migrate_and_verify)]
        what = f"Partition {partition} was migrated and not verified ({summary.rows:,} rows)"
        return ReportVerdict.NOT_VERIFIED, [Lacking(what, (verify,))]
    if evidence is None:
        what = f"Partition {partition}: the verification no longer counts, because {summary.void}"
        return ReportVerdict.NOT_VERIFIED, [Lacking(what, (verify,))]
    if not evidence.passed:
        return ReportVerdict.FAIL, [_lacking_matches(partition, evidence, stage)]
    if evidence.rows_in_window != summary.rows:
        what = (
            f"Partition {partition} had {evidence.rows_in_window:,} rows when it was verified, and has "
            f"{summary.rows:,} now"
        )
        return ReportVerdict.NOT_VERIFIED, [Lacking(what, migrate_and_verify)]
    if digest is not None and evidence.digest != digest:
        what = f"Partition {partition}: its rows have changed in the source since they were verified"
        return ReportVerdict.NOT_VERIFIED, [Lacking(what, migrate_and_verify)]
    return ReportVerdict.PASS, []


def _lacking_failures(summary: PartitionSummary, stage: str) -> Lacking:
    rejected = sum(failure.permanent for failure in summary.failures)
    what = f"Partition {summary.partition}: {count(len(summary.failures), 'row')} in the failure ledger"
    if rejected:
        what += f", {rejected:,} of them rejected, which can succeed only once they are corrected in the source"
    commands = (command("retry-failures", stage, summary.partition), command("verify", stage, summary.partition))
    return Lacking(what, commands)


def _lacking_matches(partition: str, evidence: VerificationResult, stage: str) -> Lacking:
    verdicts = evidence.verdicts
    differing, missing = (verdicts.get(verdict.value, 0) for verdict in (Verdict.MISMATCH, Verdict.MISSING))
    found = [
        (differing, f"{count(differing, 'row')} mismatched"),
        (missing, f"{count(missing, 'row')} without an item"),
        (unverified := verdicts.get(Verdict.UNVERIFIED.value, 0), f"{count(unverified, 'row')} unverified"),
        (
            evidence.looked_at != evidence.rows_in_window,
            f"{evidence.looked_at:,} of {evidence.rows_in_window:,} rows looked at",
        ),
    ]
    what = f"Partition {partition}: {', '.join(text for number, text in found if number)}"
    verify = command("verify", stage, partition)
    # Looking again settles what could not be read; only another pass brings items up to date.
    return Lacking(what, (command("migrate", stage, partition), verify) if differing or missing else (verify,))


def count(number: int, noun: str) -> str:
    """A number of things, in English."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"
