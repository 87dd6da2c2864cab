"""What a census found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from imgmig_dagster.verification.results import Identity

COUNTS_DISAGREE_ADVICE: Final = (
    "an index of the table may be corrupt, or tables inherit from it: see imgmig doctor, and REINDEX the table"
)


@dataclass(frozen=True)
class CensusFinding:
    """One key on which the sides differ; `kind` is ``missing``, ``orphans``, ``differing`` or ``unverified``.

    `sha256` is that of an orphan's canonical JSON (`state.audit.item_sha256`), None otherwise.
    """

    kind: str
    row_id: str
    sha256: str | None


@dataclass(frozen=True)
class CensusResult:
    """The whole target against the whole source.

    `source_rows` are the rows that were read one by one. `rows_counted` is a plain count, and `rows_in_partitions` the
    sum of the partitions', both on one snapshot, with `rows_outside`; `repeated` ids stand in the source more than
    once, or are NULL. `missing`, `orphans` and `differing` are counts; `samples` holds ids of each, and `faults` the
    attributes at fault of the `differing` ones among them. The first `LISTED_MISMATCHES` of each kind are in
    ``census-findings.jsonl``. `rows_outside` counts rows that no partition holds.
    """

    run_id: str
    source_rows: int
    target_items: int
    other_entities: int
    missing: int
    orphans: int
    differing: int
    unverified: int
    settled: int
    samples: Mapping[str, Sequence[str]]
    rows_outside: int
    rows_outside_sample: Sequence[str]
    partitions_from: str
    partitions_to: str
    identity: Identity
    started_at: str
    finished_at: str
    duration_s: float
    faults: Mapping[str, Sequence[str]] = field(default_factory=dict)
    # A record of before they were counted says so by disagreeing.
    rows_counted: int = 0
    rows_in_partitions: int = 0
    repeated: int = 0

    @property
    def passed(self) -> bool:
        """Whether both sides hold the same, and every row lies in a partition, once."""
        faults = self.missing or self.orphans or self.differing or self.unverified or self.rows_outside or self.repeated
        return self.counts_agree and not faults

    @property
    def counts_agree(self) -> bool:
        """Whether there are as many rows whichever way they are read."""
        return self.source_rows == self.rows_counted == self.rows_in_partitions + self.rows_outside

    @property
    def disagreement(self) -> str:
        """The counts side by side, for a sentence."""
        return (
            f"{self.source_rows:,} rows one by one, {self.rows_counted:,} by a plain count, "
            f"{self.rows_in_partitions:,} in the partitions and {self.rows_outside:,} outside of them"
        )
