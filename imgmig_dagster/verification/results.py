"""What a verification found. Only `Verdict.MATCH` passes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Annotated, Final

from imgmig_dagster.figures import ITEMS, REQUESTS, SECONDS, Figure
from imgmig_dagster.traffic import TrafficRecord

# Raised when the rules of comparison, or the source's digest, change, so that older evidence no longer counts.
VERIFIER_VERSION: Final = "3"
LISTED_MISMATCHES: Final = 10_000


class Verdict(str, Enum):
    """What was found out about one row."""

    MATCH = "match"
    MISMATCH = "mismatch"
    MISSING = "missing"
    """The row has no item."""
    UNVERIFIED = "unverified"
    """A read failed, or the key never held still: nothing is known, and that is no pass."""


@dataclass(frozen=True)
class Mismatch:
    """One fault. `attribute`, `expected` and `found` are None where there is no item to compare.

    `expected` and `found` are full values: personal data, for the 0600 file, and for reports only where
    IMGMIG_SHOW_VALUES shows them.
    """

    row_id: str
    verdict: Verdict
    attribute: str | None = None
    expected: str | None = None
    found: str | None = None

    @property
    def label(self) -> str:
        """Key and field, without values."""
        return f"{self.row_id}: {self.attribute or self.verdict.value}"


@dataclass
class Tally:
    """What was found out about some rows, without their ids; see `VerificationResult` for the fields."""

    verdicts: dict[str, int] = field(default_factory=lambda: {verdict.value: 0 for verdict in Verdict})
    by_attribute: Counter[str] = field(default_factory=Counter)
    undeclared: Counter[str] = field(default_factory=Counter)
    mismatches: list[Mismatch] = field(default_factory=list)
    mismatches_found: int = 0
    settled: int = 0
    inexact_timestamps: int = 0

    def add(self, other: "Tally") -> None:
        """Count another one in."""
        for verdict, rows in other.verdicts.items():
            self.verdicts[verdict] += rows
        self.by_attribute.update(other.by_attribute)
        self.undeclared.update(other.undeclared)
        for mismatch in other.mismatches:
            self.list(mismatch)
        self.mismatches_found += other.mismatches_found - len(other.mismatches)
        self.settled += other.settled
        self.inexact_timestamps += other.inexact_timestamps

    def list(self, mismatch: Mismatch) -> None:
        """Count a fault, and list it while there is room."""
        self.mismatches_found += 1
        if len(self.mismatches) < LISTED_MISMATCHES:
            self.mismatches.append(mismatch)

    def forget(self, rows: Collection[str], verdicts: Mapping[str, int]) -> None:
        """Take back what was found out about rows that are judged again or are gone, and so many verdicts."""
        for verdict, count in verdicts.items():
            self.verdicts[verdict] -= count
        dropped = [found for found in self.mismatches if found.row_id in rows]
        self.mismatches = [found for found in self.mismatches if found.row_id not in rows]
        self.mismatches_found -= len(dropped)
        self.by_attribute.subtract(found.attribute for found in dropped if found.attribute is not None)
        self.by_attribute = +self.by_attribute


@dataclass(frozen=True)
class Identity:
    """What was compared by what: evidence counts only while all of it is today's."""

    mapping: str
    source: str
    target: str
    target_created_at: str
    verifier: str
    code: str

    def changes(self, today: "Identity") -> Sequence[str]:
        """What is another one today; the code may be, as long as the verifier's rules are the same."""
        return [name for name, value in vars(today).items() if name != "code" and getattr(self, name) != value]


@dataclass(frozen=True, kw_only=True)
class VerificationCounts:
    """What the comparison of a partition found; `traffic` is of all runs of the pass itself."""

    # Shown as four figures: match, mismatch, missing, unverified.
    verdicts: Mapping[str, int]
    rows_in_window: Annotated[int, Figure("ids that one snapshot of the source gave after the pass")]
    late: Annotated[int, Figure("rows on no page of the pass, verified after it")]
    left_window: Annotated[int, Figure("rows verified that were no longer in the snapshot: not counted")]
    by_attribute: Annotated[Mapping[str, int], Figure("differences by attribute", name="differences_by_attribute")]
    mismatches_found: Annotated[int, Figure("faults, of which the first are listed", name="mismatches")]
    settled: Annotated[int, Figure("rows that differed at first, and agreed at the next look")]
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
        return self._count(Verdict.MATCH)

    @property
    def mismatch(self) -> Annotated[int, Figure()]:
        """The rows that differ."""
        return self._count(Verdict.MISMATCH)

    @property
    def missing(self) -> Annotated[int, Figure()]:
        """The rows without an item."""
        return self._count(Verdict.MISSING)

    @property
    def unverified(self) -> Annotated[int, Figure()]:
        """The rows of which nothing is known."""
        return self._count(Verdict.UNVERIFIED)

    def _count(self, verdict: Verdict) -> int:
        return self.verdicts.get(verdict.value, 0)


@dataclass(frozen=True, kw_only=True)
class VerificationResult(VerificationCounts):
    """The comparison of one partition.

    `verdicts` counts rows by `Verdict` value; `mismatches` lists at most `LISTED_MISMATCHES` faults. `digest` and
    `watermark` are the source's, from before the pass. `matches_from` is when the pass began whose matches were taken
    over, None where every row was looked at. `writes` is how often the partition had been written to when it began,
    None where a write was open (`state.writes`).
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

    @property
    def oldest_look_at(self) -> str:
        """When the look at any of the rows began that lies back furthest."""
        return self.matches_from or self.started_at

    @property
    def passed(self) -> bool:
        """Whether every row of the window was looked at and matches."""
        return self.coverage_is_complete and self.match == self.looked_at

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
        """Rows a second; None where verdicts were taken over from an earlier verification."""
        if self.matches_from:
            return None
        return self.looked_at / self.duration_s if self.duration_s > 0 else 0.0
