"""What a verification found.

`row_parts` holds the rows, `evidence` says what counts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated, Final

from imgmig_dagster.figures import ITEMS, REQUESTS, SECONDS, Figure
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state.records import renamed
from imgmig_dagster.traffic import TrafficRecord

# Raised when the rules of comparison, or the source's digest, change: older evidence then no longer counts.
VERIFIER_VERSION: Final = "3"
LISTED_MISMATCHES: Final = 10_000
FAULTS_FOUND: Final = "one for each field that differs, and for each row that is missing or unverified"


@dataclass(frozen=True)
class Mismatch:
    """One fault. `attribute`, `expected` and `found` are None if there is no item to compare.

    `segment` is the place of the last row of its part: the order column, a slash, the id. `expected` and `found` are
    full values: personal data, for the 0600 file, and for reports only if `keep_values` in [reports] shows them.
    """

    row_id: str
    verdict: RowVerdict
    attribute: str | None = None
    expected: str | None = None
    found: str | None = None
    segment: str | None = None

    @property
    def label(self) -> str:
        """Key and field, without values."""
        return f"{self.row_id}: {self.attribute or self.verdict.value}"


@dataclass(frozen=True)
class Identity:
    """What was compared: evidence counts only while all of it is unchanged."""

    mapping: str
    source: str
    target: str
    target_created_at: str
    verifier: str
    code: str

    def changes(self, current: "Identity") -> Sequence[str]:
        """What has changed since. The code may differ, if the verifier's rules are the same."""
        return [name for name, value in vars(current).items() if name != "code" and getattr(self, name) != value]


@dataclass(frozen=True, kw_only=True)
class VerificationCounts:
    """What the comparison of a partition found; `traffic` is of all runs of the pass itself."""

    # Shown as four figures: match, mismatch, missing, unverified.
    verdicts: Mapping[str, int]
    rows_in_window: Annotated[int, Figure("ids that one snapshot of the source gave after the pass")]
    late: Annotated[int, Figure("rows on no page of the pass, verified after it")]
    left_window: Annotated[int, Figure("rows verified that were no longer in the snapshot: not counted")]
    by_attribute: Annotated[Mapping[str, int], Figure("differences by attribute", name="differences_by_attribute")]
    mismatches_found: Annotated[int, Figure(FAULTS_FOUND, name="faults_found", label="faults found")]
    agreed_on_recheck: Annotated[
        int, Figure("rows that differed at first, and agreed on recheck"), renamed("agreed_on_recheck", "settled")
    ]
    inexact_timestamps: Annotated[int, Figure("timestamps within tolerance that are not the cut milliseconds")]
    undeclared: Annotated[
        Mapping[str, int], Figure("attributes that the mapping does not know", ITEMS, "undeclared_attributes")
    ]
    duration_s: Annotated[float, Figure("time spent in the pass", SECONDS, label="duration")]
    resumes: Annotated[int, Figure("times that the pass was resumed", "times")] = 0
    traffic: Annotated[TrafficRecord, Figure("latency and throttling of the requests", REQUESTS)] = field(
        default_factory=TrafficRecord
    )

    @property
    def looked_at(self) -> Annotated[int, Figure(name="rows", label="rows")]:
        """The rows that got a verdict."""
        return sum(self.verdicts.values())

    @property
    def match(self) -> Annotated[int, Figure()]:
        """The rows that are equal."""
        return self._count(RowVerdict.MATCH)

    @property
    def mismatch(self) -> Annotated[int, Figure()]:
        """The rows that differ."""
        return self._count(RowVerdict.MISMATCH)

    @property
    def missing(self) -> Annotated[int, Figure()]:
        """The rows without an item."""
        return self._count(RowVerdict.MISSING)

    @property
    def unverified(self) -> Annotated[int, Figure()]:
        """The rows about which nothing is known."""
        return self._count(RowVerdict.UNVERIFIED)

    def _count(self, verdict: RowVerdict) -> int:
        return self.verdicts.get(verdict.value, 0)


@dataclass(frozen=True, kw_only=True)
class VerificationResult(VerificationCounts):
    """The comparison of one partition.

    `verdicts` counts rows by `RowVerdict` value. `mismatches` lists the first `LISTED_MISMATCHES` faults; all are in
    the parts of the evidence (`segments` names their index in the state; see `verification.row_parts`). `digest` is the
    source's on the snapshot of `as_of`; `items_digest` is that of the items of the rows seen equal. `moving` are rows
    that changed during the comparison, after `as_of`: each was seen equal, or gone on both sides, after that. `orphans`
    are rows that were deleted since they were seen, and whose items still exist; `repeated` are ids of more than one
    row. `matches_from` is when the oldest look began, None if that is `started_at`. `recheck_unfinished`: a recheck of
    what has changed broke off, so some rows have no verdict yet, and some of the `orphans` may have a row. `writes` is
    how often the partition had been written to at the beginning, None if a write was open (`state.writes`).
    """

    partition: str
    run_id: str
    window: str
    mismatches: Sequence[Mismatch]
    digest: str
    watermark: str | None
    identity: Identity
    started_at: str
    finished_at: str
    matches_from: str | None = None
    writes: int | None = 0
    as_of: str = ""
    segments: str = ""
    items_digest: str = ""
    moving: Sequence[str] = field(default_factory=list)
    orphans: Sequence[str] = field(default_factory=list)
    repeated: Sequence[str] = field(default_factory=list)
    recheck_unfinished: Annotated[bool, renamed("recheck_unfinished", "settling")] = False

    @property
    def oldest_look_at(self) -> str:
        """When the oldest comparison in this evidence started."""
        return self.matches_from or self.started_at

    @property
    def passed(self) -> bool:
        """Whether every row of the window was compared and matches, and no deleted row left an item behind."""
        return self.coverage_is_complete and self.match == self.looked_at and not self.orphans and not self.repeated

    @property
    def verdict(self) -> Annotated[str, Figure(unit="")]:
        """``PASS`` or ``FAIL``."""
        return "PASS" if self.passed else "FAIL"

    @property
    def coverage_is_complete(self) -> bool:
        """Whether the verdicts sum to the rows of the window, and none is `unverified`."""
        return self.looked_at == self.rows_in_window and not self.unverified

    @property
    def rate(
        self,
    ) -> Annotated[float | None, Figure(unit="rows/s", name="rate_rows_per_s", label="rows/s", digits=1)]:
        """Rows a second; None if verdicts were taken over from an earlier verification."""
        if self.matches_from:
            return None
        return self.looked_at / self.duration_s if self.duration_s > 0 else 0.0


@dataclass(frozen=True)
class Rounds:
    """How a certificate came to its moment.

    `looked_again` counts the looks at rows that had changed, of all rounds. `moving` are rows that changed during the
    last round: each was seen equal, or gone on both sides, after that. `behind` says why the application could not be
    followed; None if it could.
    """

    rounds: int
    looked_again: int
    seconds: float
    moving: Sequence[str] = field(default_factory=list)
    behind: str | None = None
