"""Did a pass see every row of its window? Held, id by id, against one snapshot of the source taken afterwards.

Pages are read by keyset, each in a transaction of its own. A row that is committed late, with an order column behind
the cursor, is on none of them; a row that is deleted, or moves to another window, was on one and is gone; a row that
moves within the window may have been on two.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.row_log import RowLogPart
from imgmig_dagster.window import Window


@dataclass(frozen=True)
class Completeness:
    """A window's ids, as the source has them, against those that a pass saw.

    `unseen` ones are in the window and were on no page. `gone` ones are no longer in the window, and `moved` ones at
    another place in it than one where they were seen; both are given with what became of them first. `discounted`
    counts, by outcome, all that the pass recorded of those two: it may have met some of them more than once.
    """

    rows_in_window: int
    unseen: tuple[str, ...]
    gone: Mapping[str, str]
    moved: Mapping[str, str]
    discounted: Mapping[str, int]


def check_completeness(
    source: SourceReader, window: Window, segments: Callable[[], Iterable[RowLogPart]]
) -> Completeness:
    """Compare the ids segment by segment, so that memory does not grow with the window.

    Args:
        segments: reads them from the first one on; asked a second time only if a row is not where it was seen.

    Raises:
        SourceError: see there.
        CheckpointRefused: a segment cannot be read.
    """
    rows, unseen = 0, set[str]()
    left: dict[str, Counter[str]] = {}
    first: dict[str, str] = {}
    after: Cursor | None = None
    with source.window_ids(window) as ids_between:
        for segment in segments():
            found = ids_between(after, segment.until)
            present = set(found)
            seen = segment.by_id()
            rows += len(found)  # an id that stands twice is two rows, and no outcome accounts for the second
            unseen.update(present - seen.keys())
            for row_id in seen.keys() - present:
                left.setdefault(row_id, Counter())[seen[row_id]] += 1
                first.setdefault(row_id, seen[row_id])
            after = segment.until
        behind = ids_between(after, None)
    unseen.update(behind)
    stands = _standing_elsewhere(segments(), left) if left else {}
    moved = {row_id: outcome for row_id, outcome in first.items() if row_id in unseen or row_id in stands}
    return Completeness(
        rows_in_window=rows + len(behind),
        unseen=tuple(sorted(unseen - moved.keys())),
        gone={row_id: outcome for row_id, outcome in first.items() if row_id not in moved},
        moved=moved,
        discounted=sum(left.values(), Counter(stands.values())),
    )


def _standing_elsewhere(segments: Iterable[RowLogPart], left: Mapping[str, Counter[str]]) -> dict[str, str]:
    """Those rows that left one segment and are where another one saw them, with what became of them there.

    A row is at one place at most: it was seen there once more than it left.
    """
    seen: dict[str, Counter[str]] = {}
    for segment in segments:
        for row_id, outcome in segment.by_id().items():
            if row_id in left:
                seen.setdefault(row_id, Counter())[outcome] += 1
    return {row_id: outcome for row_id, counts in seen.items() for outcome in counts - left[row_id]}
