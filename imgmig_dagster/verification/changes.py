"""Which partitions are no longer what their evidence says."""

from collections.abc import Sequence

from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.results import VerificationResult
from imgmig_dagster.window import Window


def changed_partitions(source: SourceReader, state: StateStore, windows: Sequence[Window]) -> list[str]:
    """The partitions without evidence that still holds: never verified, migrated since or
    just now, or changed in the source.

    The source's digest over the mapped columns is compared, so that deletes, and updates that leave
    `updated_at` alone, are seen too. Empty partitions without evidence are left out.

    Raises:
        SourceError: see there.
    """
    rows = source.rows_per_window(windows)
    return [
        window.partition for window in windows if _has_changed(source, state, window, rows.get(window.partition, 0))
    ]


def _has_changed(source: SourceReader, state: StateStore, window: Window, rows_now: int) -> bool:
    evidence = load_record(state, names.evidence(window.partition), VerificationResult)
    if evidence is None:
        return rows_now > 0
    checkpoints = CheckpointFile(state, window.partition)
    if checkpoints.is_open():
        return True
    last_pass = checkpoints.last_finished()
    if last_pass is not None and last_pass["finished_at"] > evidence.started_at:
        return True
    return evidence.rows_in_window != rows_now or source.inventory(window).digest != evidence.digest


def occupied_partitions(source: SourceReader, state: StateStore, windows: Sequence[Window]) -> list[str]:
    """The partitions that hold rows now, or of which the state store knows anything.

    The others are empty: nothing was migrated there, and there is nothing to compare.

    Raises:
        SourceError: see there.
    """
    rows = source.rows_per_window(windows)
    known = {name.split("/", 1)[0] for name in state.list("")}
    return [window.partition for window in windows if window.partition in rows or window.partition in known]
