"""What a census found."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from imgmig_dagster.figures import ITEMS, SECONDS, Figure
from imgmig_dagster.verification.results import Identity

COUNTS_DISAGREE_ADVICE: Final = (
    "an index of the table may be corrupt, or tables inherit from it: see imgmig doctor, and REINDEX the table"
)

ORPHANS: Final = "orphans"


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

    `samples` holds ids of the `missing`, `orphans` and `differing`, and `faults` the attributes at fault of the
    `differing` ones among them. The first `LISTED_MISMATCHES` of each kind are in ``census-findings.jsonl``.
    `rows_counted`, `rows_in_partitions` and `rows_outside` are of one snapshot. `writes` is how often each partition
    had been written to when it began, as in a verification; under `ORPHANS`, items without a row.
    """

    run_id: str
    source_rows: Annotated[int, Figure("rows that were read one by one")]
    target_items: Annotated[int, Figure("items of the mapping", ITEMS)]
    other_entities: Annotated[int, Figure("items that are no image, left out", ITEMS)]
    missing: Annotated[int, Figure("rows without an item")]
    orphans: Annotated[int, Figure("items without a row", ITEMS)]
    differing: Annotated[int, Figure("rows whose item differs")]
    unverified: Annotated[int, Figure("rows of which nothing is known")]
    settled: Annotated[int, Figure("keys that differed at first, and agreed at the next look")]
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
    # A record of before they were counted says so by disagreeing.
    rows_counted: Annotated[int, Figure("rows by a plain count")] = 0
    rows_in_partitions: Annotated[int, Figure("rows by the sum of the partitions")] = 0
    writes: Mapping[str, int | None] = field(default_factory=dict)
    repeated: Annotated[int, Figure("ids that stand in the source more than once, or are NULL", "ids")] = 0

    @property
    def passed(self) -> bool:
        """Whether both sides hold the same, and every row lies in a partition, once."""
        faults = self.missing or self.orphans or self.differing or self.unverified or self.rows_outside or self.repeated
        return self.counts_agree and not faults

    @property
    def verdict(self) -> Annotated[str, Figure(unit="")]:
        """``PASS`` or ``FAIL``."""
        return "PASS" if self.passed else "FAIL"

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
