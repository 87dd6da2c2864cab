"""Did a pass see every row of its window? Held, id by id, against one snapshot of the source taken afterwards.

Pages are read by keyset, each in a transaction of its own. A row that is committed late, with an order column behind
the cursor, is on none of them; a row that is deleted, or moves to another window, was on one and is gone.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from imgmig_dagster.mapping.spec import Cursor
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.window import Window


class Segment(Protocol):
    """Adjoining rows of a window, by what became of them."""

    @property
    def until(self) -> Cursor:
        """The keyset position of the last row."""

    @property
    def ids(self) -> Mapping[str, Sequence[str]]:
        """The ids by outcome or verdict."""


@dataclass(frozen=True)
class Account:
    """A window's ids, as the source has them, against those that a pass saw.

    `unseen` are in the window and were on no page. `gone` are no longer in the window, with what had become of them;
    `moved` are at another place in the window than where they were seen.
    """

    rows_in_window: int
    unseen: tuple[str, ...]
    gone: tuple[tuple[str, str], ...]
    moved: tuple[tuple[str, str], ...]


def account(source: SourceReader, window: Window, segments: Iterable[Segment]) -> Account:
    """Compare the ids segment by segment, so that memory does not grow with the window.

    Raises:
        SourceError: see there.
        CheckpointRefused: a segment cannot be read.
    """
    rows, unseen, left = 0, set[str](), list[tuple[str, str]]()
    after: Cursor | None = None
    with source.window_ids(window) as ids_between:
        for segment in segments:
            found = ids_between(after, segment.until)
            present = set(found)
            seen = {row_id: outcome for outcome, ids in segment.ids.items() for row_id in ids}
            rows += len(found)  # an id that stands twice is two rows, and no outcome accounts for the second
            unseen.update(present - seen.keys())
            left.extend((row_id, outcome) for row_id, outcome in seen.items() if row_id not in present)
            after = segment.until
        behind = ids_between(after, None)
    unseen.update(behind)
    moved = [entry for entry in left if entry[0] in unseen]
    return Account(
        rows_in_window=rows + len(behind),
        unseen=tuple(sorted(unseen - {row_id for row_id, _outcome in moved})),
        gone=tuple(entry for entry in left if entry[0] not in unseen),
        moved=tuple(moved),
    )
