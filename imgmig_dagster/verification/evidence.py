"""Reads what decides whether a verification still counts: the record of writes, the checkpoint, what is compared now.

`rules.invalidation` decides. `verification_result` holds the evidence, `changed_windows` finds the partitions to verify
again.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from imgmig_dagster import __version__
from imgmig_dagster.rules.invalidation import Invalidation, Now, Seen, changes_in_words, find_invalidation
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.target.target_table import TargetIdentity
from imgmig_dagster.verification.verification_result import VERIFIER_VERSION, Identity, VerificationResult
from imgmig_dagster.window import Window


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
    last, checkpoint = last_write(store, window.partition), CheckpointFile(store, window.partition)
    seen = Seen(
        window=evidence.window,
        rows=evidence.rows_in_window,
        digest=evidence.digest,
        writes=evidence.writes,
        oldest_look_at=evidence.oldest_look_at,
        looked_at=evidence.as_of or evidence.started_at,
        recheck_unfinished=evidence.recheck_unfinished,
    )
    now = Now(
        moment=current.moment,
        window=window,
        rows=rows,
        digest=digest,
        changes=_changes(evidence.identity, current.identity),
        pass_is_open=checkpoint.is_open(),
        last_write=last,
        has_passes=last is None and bool(checkpoint.finished_passes()),
        record=store.locate(names.last_write(window.partition)),
    )
    return find_invalidation(seen, now)


def changed_identity(found: Identity, current: Identity | None) -> str | None:
    """Which parts of what was compared have changed since, in words, or None."""
    return changes_in_words(_changes(found, current))


def _changes(found: Identity, current: Identity | None) -> Sequence[str]:
    return found.changes(current) if current is not None else ()
