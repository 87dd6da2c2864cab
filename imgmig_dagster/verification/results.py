"""What a verification found. Only `Verdict.MATCH` passes."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from imgmig_dagster.mapping.spec import Cursor
from imgmig_dagster.source.sampling import Shape
from imgmig_dagster.traffic import TrafficRecord

# Raised when the rules of comparison, or the source's digest, change, so that older evidence no longer counts.
VERIFIER_VERSION: Final = "2"
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
class ExaminedRows:
    """Adjoining rows of a window that were verified: `until` is the last one's keyset position, `ids` by verdict."""

    until: Cursor
    ids: Mapping[str, Sequence[str]]
    tally: Tally


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


@dataclass(frozen=True)
class VerificationResult:
    """The comparison of one partition.

    `verdicts` counts rows by `Verdict` value. `rows_in_window` is the number of ids that one snapshot of the source
    gave after the pass; `late` of them had been on no page and were verified then, and `left_window` rows that the
    pass verified were no longer among them: their verdicts are not counted. `by_attribute` counts differences by
    attribute; `mismatches` lists at most `LISTED_MISMATCHES` of them. `settled` rows differed at first and agreed
    at the next look.
    `inexact_timestamps` counts timestamps within tolerance that are not the cut milliseconds. `undeclared` counts
    attributes that the mapping does not know. `digest` and `watermark` are the source's, from before the pass.
    `matches_from` is when the pass began whose matches were taken over, None where every row was looked at.
    `traffic` is of all runs of the pass itself.
    """

    partition: str
    run_id: str
    window: str
    verdicts: Mapping[str, int]
    rows_in_window: int
    late: int
    left_window: int
    by_attribute: Mapping[str, int]
    mismatches: Sequence[Mismatch]
    mismatches_found: int
    settled: int
    inexact_timestamps: int
    undeclared: Mapping[str, int]
    digest: str
    watermark: str | None
    identity: Identity
    started_at: str
    finished_at: str
    duration_s: float
    resumes: int = 0
    matches_from: str | None = None
    traffic: TrafficRecord = field(default_factory=TrafficRecord)

    @property
    def oldest_look_at(self) -> str:
        """When the look at any of the rows began that lies back furthest."""
        return self.matches_from or self.started_at

    @property
    def looked_at(self) -> int:
        """The rows that got a verdict."""
        return sum(self.verdicts.values())

    @property
    def passed(self) -> bool:
        """Whether every row of the window was looked at and matches."""
        return self.coverage_is_complete and self.verdicts.get(Verdict.MATCH.value, 0) == self.looked_at

    @property
    def coverage_is_complete(self) -> bool:
        """Whether the verdicts sum to the rows of the window, and none is `unverified`."""
        unverified = self.verdicts.get(Verdict.UNVERIFIED.value, 0)
        return self.looked_at == self.rows_in_window and not unverified

    @property
    def rate(self) -> float | None:
        """Rows a second; None where verdicts were taken over from an earlier verification."""
        if self.matches_from:
            return None
        return self.looked_at / self.duration_s if self.duration_s > 0 else 0.0


class ObjectFault(str, Enum):
    """What is wrong with an object in S3."""

    MISSING = "missing"
    SIZE = "another size"
    TYPE = "another type"
    UNREAD = "S3 could not be asked"
    """It could not be reached, or refused: nothing is known, and that is no pass."""


@dataclass(frozen=True)
class StoredObject:
    """Where a picture or a thumbnail lies according to its row, and what S3 says of it.

    `size` (bytes) and `type` are S3's, None where it did not answer. `faults` compare them with what the row declares.
    """

    bucket: str | None
    key: str | None
    size: int | None
    type: str | None
    faults: Sequence[ObjectFault]


@dataclass(frozen=True)
class SpotCheckPair:
    """One image, both records side by side: per attribute what the row says, what the item says, and if they agree.

    `thumbnail` is None where the row declares none.
    """

    row_id: str
    shape: Shape
    fields: Sequence[tuple[str, str, str, bool]]
    has_item: bool
    picture: StoredObject
    thumbnail: StoredObject | None

    @property
    def agrees(self) -> bool:
        """Whether the item exists and every field agrees."""
        return self.has_item and all(agrees for _attribute, _expected, _found, agrees in self.fields)

    @property
    def object_faults(self) -> Sequence[str]:
        """What is wrong with the picture and the thumbnail in S3, without values."""
        objects = {"picture": self.picture, "thumbnail": self.thumbnail}
        return [f"{name}: {fault.value}" for name, found in objects.items() if found for fault in found.faults]


@dataclass(frozen=True)
class SpotCheckResult:
    """A random sample; drawn again with the same seed it holds the same images."""

    run_id: str
    seed: int
    requested: int
    pairs: Sequence[SpotCheckPair]
    source_rows: int
    identity: Identity
    checked_at: str

    @property
    def differing(self) -> Sequence[str]:
        """The ids of the images that do not agree."""
        return [pair.row_id for pair in self.pairs if not pair.agrees]

    @property
    def is_clean(self) -> bool:
        """Whether every image of the sample agrees, and there is one."""
        return bool(self.pairs) and not self.differing

    @property
    def object_faults(self) -> Mapping[str, Sequence[str]]:
        """What is wrong in S3, by the ids of the images concerned."""
        return {pair.row_id: pair.object_faults for pair in self.pairs if pair.object_faults}

    @property
    def random(self) -> int:
        """How many images were drawn whatever they are, and not for their rare shape."""
        return sum(pair.shape is Shape.RANDOM for pair in self.pairs)

    @property
    def bound(self) -> float | None:
        """At 95 % confidence no more than this share of all rows is wrong; None for a sample that shows nothing.

        The rule of three: were more than 3/n of the rows wrong, n rows drawn at random would miss them all less than
        5 times in 100. The rows of rare shapes are not drawn at random, and do not count into n.
        """
        if not self.random or self.differing:
            return None
        return 0.0 if len(self.pairs) >= self.source_rows else min(1.0, 3 / self.random)
