"""Checks that a pass saw every row of its window: compares it, id by id, with a later snapshot of the source.

Pages are read by keyset, each in its own transaction. A row that is committed late, with an order column behind the
cursor, is on no page. A row that is deleted, or moves to another window, was on a page and is gone. A row that moves
within the window may have been on two pages.
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
    """A window's ids in the source, compared with those that a pass saw.

    `unseen` ids are in the window and were on no page. `gone` ids are no longer in the window. `moved` ids are at
    another place in it than where they were seen. Both come with their first outcome. `discounted` counts, by outcome,
    all that the pass recorded of those two: it may have met some of them more than once.
    """

    rows_in_window: int
    unseen: tuple[str, ...]
    gone: Mapping[str, str]
    moved: Mapping[str, str]
    discounted: Mapping[str, int]


def check_completeness(source: SourceReader, window: Window, parts: Callable[[], Iterable[RowLogPart]]) -> Completeness:
    """Compare the ids part by part of the row log, so that memory does not grow with the window.

    Args:
        source: the source.
        window: the window.
        parts: reads them from the first one on; called a second time only if a row is not where it was seen.

    Raises:
        SourceError: see there.
        CheckpointRefused: a part cannot be read.
    """
    rows, unseen = 0, set[str]()
    left: dict[str, Counter[str]] = {}
    first: dict[str, str] = {}
    after: Cursor | None = None
    with source.window_ids(window) as ids_between:
        for part in parts():
            found = ids_between(after, part.until)
            present = set(found)
            seen = part.by_id()
            rows += len(found)  # an id that is there twice is two rows, and no outcome accounts for the second
            unseen.update(present - seen.keys())
            for row_id in seen.keys() - present:
                left.setdefault(row_id, Counter())[seen[row_id]] += 1
                first.setdefault(row_id, seen[row_id])
            after = part.until
        behind = ids_between(after, None)
    unseen.update(behind)
    elsewhere = _found_elsewhere(parts(), left) if left else {}
    moved = {row_id: outcome for row_id, outcome in first.items() if row_id in unseen or row_id in elsewhere}
    return Completeness(
        rows_in_window=rows + len(behind),
        unseen=tuple(sorted(unseen - moved.keys())),
        gone={row_id: outcome for row_id, outcome in first.items() if row_id not in moved},
        moved=moved,
        discounted=sum(left.values(), Counter(elsewhere.values())),
    )


def _found_elsewhere(parts: Iterable[RowLogPart], left: Mapping[str, Counter[str]]) -> dict[str, str]:
    """The rows that left one part and are in another one, with their outcome there.

    A row is at one place at most: it was seen there once more than it left.
    """
    seen: dict[str, Counter[str]] = {}
    for part in parts:
        for row_id, outcome in part.by_id().items():
            if row_id in left:
                seen.setdefault(row_id, Counter())[outcome] += 1
    return {row_id: outcome for row_id, counts in seen.items() for outcome in counts - left[row_id]}
