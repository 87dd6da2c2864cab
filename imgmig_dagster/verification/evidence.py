"""Whether a verification still counts, and if not, why: one rule for reports, certificates and schedules.

`verification_result` holds the evidence, `changed_windows` finds the partitions to verify again.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from imgmig_dagster import __version__
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import LastWrite, last_write
from imgmig_dagster.target.target_table import TargetIdentity
from imgmig_dagster.verification.verification_result import VERIFIER_VERSION, Identity, VerificationResult
from imgmig_dagster.window import Window

COUNTS_FOR: Final = timedelta(days=7)
# The application may add rows to a window that has not ended, and changes late rows more than others. Evidence of such
# a window counts only together with a look at the source.
OPEN_WINDOW_COUNTS_FOR: Final = timedelta(hours=1)
RENEWED_WITHIN: Final = timedelta(days=2)
"""The schedules renew evidence each night: evidence that has not counted for longer is not being renewed."""
# The longest recheck delay that can be set: until then a row of the window's last moment may be on its way.
_RECHECKED_WITHIN: Final = timedelta(seconds=60)


class Reason(str, Enum):
    """Why a verification does not count."""

    WRITE_NOT_ENDED = "write not ended"
    WRITTEN_SINCE = "written since"
    OTHER_WINDOW = "other window"
    OTHER_IDENTITY = "other identity"
    OTHER_VERIFIER = "other verifier"
    ROWS_CHANGED = "rows changed"
    TOO_OLD = "too old"
    RECHECK_UNFINISHED = "recheck unfinished"

    @classmethod
    def _missing_(cls, value: object) -> "Reason | None":
        # What certificates of format 3 say.
        return cls.RECHECK_UNFINISHED if value == "not settled" else None


NOT_LOOKED_AT: Final = ""
"""In place of the source's digest of a partition that another run was verifying while the report was made."""


@dataclass(frozen=True)
class Invalidation:
    """Why a verification no longer counts; `what` says it in words that follow "because"."""

    reason: Reason
    what: str

    @property
    def only_aged(self) -> bool:
        """Whether it is only out of date: the target was not written since, so a fault that it found still counts."""
        return self.reason in (Reason.ROWS_CHANGED, Reason.TOO_OLD)


@dataclass(frozen=True)
class CurrentState:
    """What evidence is compared with: the moment, ISO 8601, and what a verification would compare now.

    `identity=None` skips the comparison of identities.
    """

    moment: str
    identity: Identity | None


def identity_of(source: SourceReader, target: TargetIdentity) -> Identity:
    """What a verification compares now.

    Raises:
        SourceError: see there.
    """
    return Identity(
        mapping=source.mapping.fingerprint(),
        source=source.table.identity,
        target=target.arn,
        target_created_at=target.created_at,
        verifier=VERIFIER_VERSION,
        code=__version__,
    )


def why_invalid(
    store: StateStore,
    window: Window,
    evidence: VerificationResult,
    current: CurrentState,
    rows: int,
    digest: str | None,
) -> Invalidation | None:
    """Why the evidence of a partition does not count now; None if it does.

    Args:
        store: the stage's state, which knows what has written since.
        window: the partition as it is now.
        evidence: its last verification, with any result.
        current: what it is compared with.
        rows: the rows that the source counts in the window now.
        digest: the source's digest of the window now; None skips the comparison of digests.

    Raises:
        StateError: a file of the partition cannot be read.
    """
    written = last_write(store, window.partition)
    if CheckpointFile(store, window.partition).is_open():
        return Invalidation(Reason.WRITE_NOT_ENDED, "a migration pass has begun since its last one finished")
    if written and written.is_open:
        return Invalidation(
            Reason.WRITE_NOT_ENDED, f"a {written.by} began at {written.began_at} and has not come to its end"
        )
    if since := _written_since(store, window.partition, evidence.writes, written):
        return Invalidation(Reason.WRITTEN_SINCE, since)
    if evidence.window != window.describe():
        return Invalidation(Reason.OTHER_WINDOW, f"it is of the window {evidence.window}")
    if changed := changed_identity(evidence.identity, current.identity):
        only_verifier = current.identity is not None and evidence.identity.changes(current.identity) == ["verifier"]
        return Invalidation(Reason.OTHER_VERIFIER if only_verifier else Reason.OTHER_IDENTITY, changed)
    return _why_aged(window, evidence, current, rows, digest)


def _why_aged(
    window: Window, evidence: VerificationResult, current: CurrentState, rows: int, digest: str | None
) -> Invalidation | None:
    """Why evidence of the current target does not count: recheck unfinished, rows changed, or too old."""
    if evidence.recheck_unfinished:
        return Invalidation(Reason.RECHECK_UNFINISHED, "a report that was looking at what has changed broke off")
    if digest == NOT_LOOKED_AT:
        return Invalidation(Reason.RECHECK_UNFINISHED, "another run was verifying it while the report was made")
    if evidence.rows_in_window != rows:
        return Invalidation(
            Reason.ROWS_CHANGED, f"the window had {evidence.rows_in_window:,} rows, and has {rows:,} now"
        )
    if is_too_old(evidence.oldest_look_at, current.moment):
        return Invalidation(Reason.TOO_OLD, f"it is more than {COUNTS_FOR.days} days old")
    if digest is not None and evidence.digest != digest:
        return Invalidation(Reason.ROWS_CHANGED, "its rows have changed in the source since")
    if digest is None and _was_open(window, evidence, current.moment):
        return Invalidation(Reason.TOO_OLD, "its window was still open, and it is more than an hour old")
    return None


def _written_since(store: StateStore, partition: str, seen: int | None, written: LastWrite | None) -> str | None:
    """What has written to a partition since it had been written to `seen` times, in words; None: nothing."""
    if written:
        how = "may have written" if written.late else "wrote"
        return f"a {written} {how} after it began" if written.number != seen else None
    # Every write leaves a record.
    if seen == 0 and not CheckpointFile(store, partition).finished_passes():
        return None
    return f"{store.locate(names.last_write(partition))} is gone, which tells whether anything wrote since"


def changed_identity(found: Identity, current: Identity | None) -> str | None:
    """Which parts of what was compared have changed since, or None."""
    changed = found.changes(current) if current is not None else ()
    if not changed:
        return None
    if changed == ["target_created_at"]:
        return "the target is another table of the same name, created since"
    return f"it is of another {' and another '.join(name.replace('_created_at', ' table') for name in changed)}"


def is_too_old(began_at: str, moment: str) -> bool:
    """Whether a look at windows that have ended, begun at one ISO 8601 time, no longer counts at another."""
    return datetime.fromisoformat(moment) - datetime.fromisoformat(began_at) > COUNTS_FOR


def _was_open(window: Window, evidence: VerificationResult, moment: str) -> bool:
    looked = datetime.fromisoformat(evidence.as_of or evidence.started_at)
    return datetime.fromisoformat(moment) - looked > OPEN_WINDOW_COUNTS_FOR and window.end + _RECHECKED_WITHIN > looked
