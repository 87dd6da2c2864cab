"""What a census found, and what happened to rows that left since. `steps.census` and `steps.rows_left` find out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from imgmig_dagster.errors import ImgmigError
from imgmig_dagster.figures import ITEMS, SECONDS, Figure
from imgmig_dagster.source.counting import RowsAndIds
from imgmig_dagster.state import names
from imgmig_dagster.state.long_lists import read_list
from imgmig_dagster.state.records import load_lines, renamed
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.verification_result import Identity

COUNTS_DISAGREE_ADVICE: Final = (
    "an index of the table may be corrupt, or tables inherit from it: see imgmig doctor, and REINDEX the table"
)

ORPHANS: Final = "orphans"


class CensusRefused(ImgmigError):
    """A census that is no sufficient reason to delete anything."""


@dataclass(frozen=True)
class CensusFinding:
    """One key on which the sides differ; `kind` is ``missing``, ``orphans``, ``differing`` or ``unverified``.

    `sha256` is that of an orphan item's canonical JSON (`state.audit.item_sha256`), None otherwise.
    """

    kind: str
    row_id: str
    sha256: str | None


@dataclass(frozen=True)
class CensusResult:
    """The whole target against the whole source.

    `samples` holds ids of the `missing`, `orphans` and `differing`; `faults` the attributes at fault of the `differing`
    ones among them; `partitions` where those are that have a row; all are in the list `state.names.census_findings`.
    `rows_counted`, `rows_in_partitions` and `rows_outside` are of one snapshot. `writes` is how often each partition
    had been written to at the beginning, as in a verification; under `ORPHANS`, orphan items. `groups` says which ids
    had a row, by partition key and for those outside of all; the lists `state.names.census_ids` hold the ids. `export`
    names the export to S3 from which the target was read, and `target_as_of` its moment, ISO 8601; both are empty after
    a scan. With an export, `started_at` is the earlier of its moment and its request.
    """

    run_id: str
    source_rows: Annotated[int, Figure("rows that were read one by one")]
    target_items: Annotated[int, Figure("items of the mapping", ITEMS)]
    other_entities: Annotated[int, Figure("items of other entities, left out", ITEMS)]
    missing: Annotated[int, Figure("rows without an item")]
    orphans: Annotated[int, Figure("items without a row", ITEMS)]
    differing: Annotated[int, Figure("rows whose item differs")]
    unverified: Annotated[int, Figure("rows of which nothing is known")]
    agreed_on_recheck: Annotated[
        int, Figure("row ids that differed at first, and agreed on recheck"), renamed("agreed_on_recheck", "settled")
    ]
    samples: Mapping[str, Sequence[str]]
    rows_outside: Annotated[int, Figure("rows that no partition holds")]
    rows_outside_sample: Sequence[str]
    partitions_from: str
    partitions_to: str
    identity: Identity
    started_at: str
    finished_at: str
    duration_s: Annotated[float, Figure("time that the census took", SECONDS, label="duration")]
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # A record from before they were counted disagrees, and says so.
    rows_counted: Annotated[int, Figure("rows by a plain count")] = 0
    rows_in_partitions: Annotated[int, Figure("rows by the sum of the partitions")] = 0
    writes: Mapping[str, int | None] = field(default_factory=dict)
    repeated: Annotated[int, Figure("ids that are in the source more than once, or are NULL", "ids")] = 0
    groups: Mapping[str, RowsAndIds] = field(default_factory=dict)
    unclaimed: Annotated[int | None, Figure("those of them that belong to no declared table", ITEMS)] = None
    export: str = ""
    target_as_of: str = ""
    partitions: Mapping[str, str] = field(default_factory=dict)

    @property
    def partitions_at_fault(self) -> Sequence[str]:
        """The partitions of all rows whose item is missing, differs or is unread; none where not all are known."""
        rows = self.missing + self.differing + self.unverified
        return sorted(set(self.partitions.values())) if rows == len(self.partitions) else []

    @property
    def passed(self) -> bool:
        """Whether both sides hold the same, and every row is in one partition, once."""
        faults = self.missing or self.orphans or self.differing or self.unverified or self.rows_outside or self.repeated
        return self.counts_agree and not faults

    @property
    def target_read(self) -> str:
        """How the target was read, and as of when, for a sentence."""
        if self.export:
            return f"read from an export to S3, as of {self.target_as_of} ({self.export})"
        return f"scanned from {self.started_at} to {self.finished_at}"

    @property
    def verdict(self) -> Annotated[str, Figure(unit="")]:
        """``PASS`` or ``FAIL``."""
        return "PASS" if self.passed else "FAIL"

    @property
    def counts_agree(self) -> bool:
        """Whether there are equally many rows by every way of reading."""
        return self.source_rows == self.rows_counted == self.rows_in_partitions + self.rows_outside

    @property
    def disagreement(self) -> str:
        """The counts side by side, for a sentence."""
        return (
            f"{self.source_rows:,} rows one by one, {self.rows_counted:,} by a plain count, "
            f"{self.rows_in_partitions:,} in the partitions and {self.rows_outside:,} outside of them"
        )


@dataclass(frozen=True)
class LeftSince:
    """What happened to the rows that have left the source since the census of the run `census`.

    `samples` holds ids of the `orphans` and `unverified`; the list `state.names.orphans_since` holds all orphan items.
    """

    census: str
    rows: Annotated[int, Figure("rows that have left the source since the census")]
    orphans: Annotated[int, Figure("items of theirs that still exist", ITEMS)]
    unverified: Annotated[int, Figure("items of theirs that could not be read, or moved at every look", ITEMS)]
    samples: Mapping[str, Sequence[str]]


def listed_orphans(store: StateStore, census: CensusResult) -> dict[str, str]:
    """The orphan items that a census found, and those that lost their row since; each with its SHA-256.

    Raises:
        StateError: a list cannot be read.
    """
    found = {each.row_id: each.sha256 for each in _findings(store, census) if each.sha256 is not None}
    for orphans in read_list(store, names.orphans_since(census.run_id), CensusFinding):
        found.update({each.row_id: each.sha256 for each in orphans if each.sha256 is not None})
    return found


def _findings(store: StateStore, census: CensusResult) -> Iterator[CensusFinding]:
    yield from load_lines(store, names.CENSUS_FINDINGS, CensusFinding)  # of an earlier version's census
    for findings in read_list(store, names.census_findings(census.run_id), CensusFinding):
        yield from findings
