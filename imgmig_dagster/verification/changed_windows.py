"""Which partitions have changed since their evidence. `evidence` says why evidence no longer counts."""

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Final, Protocol

from imgmig_dagster.batches import batched_by
from imgmig_dagster.rules.invalidation import RENEWED_WITHIN, Reason
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.index import at_a_glance
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import last_write
from imgmig_dagster.verification.evidence import CurrentState, why_invalid
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import Window, seconds_between

# Far below what the source digests within its statement_timeout of ten minutes.
_ROWS_OF_A_STATEMENT: Final = 2_000_000


def changed_partitions(
    source: SourceReader, state: StateStore, windows: Sequence[Window], current: CurrentState
) -> Sequence[str]:
    """The partitions without evidence that counts, by the rule of reports (`evidence.why_invalid`), if new could count.

    Left out are partitions that were never migrated, where every row would be missing, and those with an open write: no
    verification of them counts until the write has ended.

    Raises:
        SourceError: see there.
    """
    rows, state = source.rows_per_window(windows), _of_all(state, windows)
    changed, same_count = set[str](), dict[Window, str]()
    for window in windows:
        partition, rows_now = window.partition, rows.get(window.partition, 0)
        evidence = load_record(state, names.evidence(partition), VerificationResult)
        if evidence is None:
            changed |= {partition} if rows_now and _is_verifiable(state, partition) else set()
        # As if its rows had the same digest: the source computes digests only for evidence that would then count.
        elif (invalidation := why_invalid(state, window, evidence, current, rows_now, evidence.digest)) is None:
            same_count[window] = evidence.digest
        elif invalidation.reason is not Reason.WRITE_NOT_ENDED:
            changed.add(partition)
    for some in batched_by(same_count, lambda window: rows.get(window.partition, 0), _ROWS_OF_A_STATEMENT):
        found = source.digests(some)
        changed |= {window.partition for window in some if found[window.partition] != same_count[window]}
    return [window.partition for window in windows if window.partition in changed]


def stale_partitions(state: StateStore, windows: Sequence[Window], moment: str) -> Mapping[str, str]:
    """The partitions not verified or written for `RENEWED_WITHIN`, without evidence that counts, and why.

    From the state alone, which costs the source and the target nothing. `changed_partitions` finds what has changed in
    the source.

    Raises:
        StateError: a file of the state cannot be read.
    """
    state = _of_all(state, windows)
    return {each.partition: why for each in windows if (why := _why_stale(state, each, moment)) is not None}


def _why_stale(state: StateStore, window: Window, moment: str) -> str | None:
    evidence = load_record(state, names.evidence(window.partition), VerificationResult)
    written = last_write(state, window.partition)
    ends = [evidence.finished_at if evidence else None, (written.ended_at or written.began_at) if written else None]
    idle = [timedelta(seconds=seconds_between(end, moment)) for end in ends if end is not None]
    if not idle or min(idle) <= RENEWED_WITHIN:
        return None
    if evidence is None:
        return "it was written, and never verified"
    invalidation = why_invalid(state, window, evidence, CurrentState(moment, None), evidence.rows_in_window, None)
    return invalidation.what if invalidation else None


def verifiable_partitions(state: StateStore, windows: Sequence[Window]) -> list[str]:
    """The partitions that were migrated or verified, and that none of our runs is writing to.

    Raises:
        StateError: a file of the state cannot be read.
    """
    state = _of_all(state, windows)
    return [window.partition for window in windows if _is_verifiable(state, window.partition)]


def _of_all(state: StateStore, windows: Sequence[Window]) -> StateStore:
    return at_a_glance(state, [window.partition for window in windows])


def _is_verifiable(state: StateStore, partition: str) -> bool:
    checkpoint, written = CheckpointFile(state, partition), last_write(state, partition)
    if checkpoint.is_open() or (written is not None and written.is_open):
        return False
    return bool(checkpoint.finished_passes()) or state.read(names.evidence(partition)) is not None


class CountsRows(Protocol):
    """Counts the rows of partitions: the source's reader, or a memory of its counts."""

    def rows_per_window(self, windows: Sequence[Window]) -> Mapping[str, int]:
        """See `SourceReader.rows_per_window`."""


def occupied_partitions(source: CountsRows, state: StateStore, windows: Sequence[Window]) -> list[str]:
    """The partitions that hold rows now, or that the state store knows.

    The others are empty: nothing was migrated there, and nothing can be compared.

    Raises:
        SourceError: see there.
    """
    rows = source.rows_per_window(windows)
    known = set(state.folders())
    return [window.partition for window in windows if window.partition in rows or window.partition in known]
