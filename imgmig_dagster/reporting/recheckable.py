"""The parts of a certificate with which an outsider checks it: figures of both sides by partition, mapping, statements.

docs/recheck.md shows how they are used, and recheck/recheck.py uses them.
"""

from dataclasses import dataclass

from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.reporting.partition_summary import PartitionSummary
from imgmig_dagster.reporting.published_mapping import PublishedMapping
from imgmig_dagster.source.published import PublishedSource
from imgmig_dagster.window import from_microseconds


@dataclass(frozen=True)
class Recheck:
    """How rows become items, and how the source is read."""

    mapping: PublishedMapping
    source: PublishedSource


@dataclass(frozen=True)
class Place:
    """A row's or an item's place in its partition: the order column, in UTC or as a column without a zone holds it,
    and the key: the row's id, or the item's partition key."""

    at: str
    key: str


@dataclass(frozen=True)
class Side:
    """The rows of a partition, or the items of those that were seen equal: their number, the sum of their digests, and
    the places of the first and the last in the order of rows."""

    rows: int
    digest: str
    first: Place | None
    last: Place | None


def both_sides(
    summary: PartitionSummary, ends: tuple[Cursor, Cursor] | None, recheck: Recheck | None
) -> tuple[Side | None, Side | None]:
    """The figures of source and target that the evidence gives; none where the evidence does not count.

    The target's places are given where every row was seen equal: they are the rows' places.
    """
    evidence = summary.verification
    if evidence is None or summary.invalidation is not None or not evidence.items_digest:
        return None, None
    mapping = recheck.mapping if recheck else None
    places = ends or (None, None)
    first, last = (place and Place(_moment(place[0]), place[1]) for place in places)
    source = Side(summary.rows, evidence.digest, first, last)
    if mapping is None or not evidence.passed:
        return source, Side(evidence.match, evidence.items_digest, None, None)
    first, last = (place and Place(place.at, mapping.partition_key(place.key)) for place in (first, last))
    return source, Side(evidence.match, evidence.items_digest, first, last)


def _moment(timestamp_us: int) -> str:
    return from_microseconds(timestamp_us).replace(tzinfo=None).isoformat(timespec="microseconds")
