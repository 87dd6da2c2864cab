"""The evidence of a partition row by row, in parts of about 1,000: the digest of each row when it got its verdict.

A partition's `EvidencePartIndex` lists its parts with count and digest, so that one statement of the source can check
them all. The rows of a part are in their own file. `steps.verify` writes parts, `steps.follow` keeps them up to date.
An index counts once ``evidence.json`` names it.
"""

import base64
import struct
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from imgmig_dagster.errors import StateError
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines, load_record, save_lines, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.verification_result import Mismatch, VerificationResult
from imgmig_dagster.window import from_microseconds


class EqualRow(NamedTuple):
    """A row that equals its item: the digests of both, and how many timestamps are equal by tolerance only.

    The digests differ only if there are such timestamps.
    """

    row: int
    item: int
    inexact: int = 0


@dataclass
class SeenRows:
    """The rows of a part: `equal` by id, the `faults` of the others, and the digest of each row `at_fault`."""

    equal: dict[str, EqualRow] = field(default_factory=dict)
    faults: list[Mismatch] = field(default_factory=list)
    at_fault: dict[str, int] = field(default_factory=dict)

    def digests(self) -> dict[str, int]:
        """The digest of each row when it got its verdict."""
        return {**{row_id: seen.row for row_id, seen in self.equal.items()}, **self.at_fault}

    def forget(self, ids: Collection[str]) -> None:
        """Drop rows that are judged again, or are gone."""
        self.equal = {row_id: seen for row_id, seen in self.equal.items() if row_id not in ids}
        self.faults = [fault for fault in self.faults if fault.row_id not in ids]
        self.at_fault = {row_id: digest for row_id, digest in self.at_fault.items() if row_id not in ids}

    def only(self, ids: Mapping[str, object]) -> "SeenRows":
        """The rows of these ids."""
        return SeenRows(
            {row_id: self.equal[row_id] for row_id in ids if row_id in self.equal},
            [fault for fault in self.faults if fault.row_id in ids],
            {row_id: self.at_fault[row_id] for row_id in ids if row_id in self.at_fault},
        )

    def add(self, other: "SeenRows") -> None:
        """Put other rows in."""
        self.equal |= other.equal
        self.faults += other.faults
        self.at_fault |= other.at_fault


@dataclass(frozen=True)
class PackedRows:
    """`SeenRows` as a file holds them: the digests of `ids` as signed big-endian 64-bit integers, in base64.

    `inexact` has the item's digest, and the number of timestamps, of the rows whose digests differ.
    """

    ids: Sequence[str]
    digests: str
    inexact: Mapping[str, tuple[int, int]]
    at_fault: Mapping[str, int]

    @classmethod
    def of(cls, rows: SeenRows) -> "PackedRows":
        """The rows, packed."""
        digests, items, _inexact = zip(*rows.equal.values(), strict=True) if rows.equal else ((), (), ())
        packed = base64.b64encode(struct.pack(f">{len(digests)}q", *digests)).decode()
        differing = () if digests == items else rows.equal.items()
        inexact = {row_id: (seen.item, seen.inexact) for row_id, seen in differing if seen.item != seen.row}
        return cls(list(rows.equal), packed, inexact, rows.at_fault)

    def by_id(self) -> dict[str, int]:
        """The digest of each row of `ids`.

        Raises:
            ValueError: there are not as many digests as ids.
        """
        packed = base64.b64decode(self.digests)
        return dict(zip(self.ids, struct.unpack(f">{len(packed) // 8}q", packed), strict=True))

    def unpacked(self, faults: Sequence[Mismatch]) -> SeenRows:
        """The rows, with their faults, which are kept in another file; raises as `by_id` does."""
        equal = {row_id: EqualRow(digest, digest) for row_id, digest in self.by_id().items()}
        for row_id, (item, inexact) in self.inexact.items():
            equal[row_id] = EqualRow(equal[row_id].row, item, inexact)
        return SeenRows(equal, list(faults), dict(self.at_fault))


@dataclass(frozen=True)
class EvidencePart:
    """Adjoining rows of a window: those after the part before, up to `until`; see `EvidencePartIndex`.

    `rows` and `digest` are of the rows seen equal, `items_digest` of their items, both as decimal text; `verdicts`
    counts all rows by `RowVerdict` value. `looked_at` is when the oldest look at any of them began.
    """

    until: Cursor
    rows: int
    digest: str
    items_digest: str
    inexact: int
    verdicts: Mapping[str, int]
    by_attribute: Mapping[str, int]
    looked_at: str
    file: str


@dataclass(frozen=True)
class EvidencePartIndex:
    """The parts of a partition, in the order of their rows, which is that of pages."""

    segments: Sequence[EvidencePart] = ()

    @property
    def places(self) -> list[Cursor]:
        """Where each part ends."""
        return [(part.until[0], part.until[1]) for part in self.segments]

    def verdicts(self) -> dict[str, int]:
        """The rows of all parts by verdict."""
        found = {verdict.value: 0 for verdict in RowVerdict}
        for part in self.segments:
            for verdict, rows in part.verdicts.items():
                found[verdict] += rows
        return found

    def by_attribute(self) -> Counter[str]:
        """The differences of all parts by attribute."""
        found: Counter[str] = Counter()
        for part in self.segments:
            found.update(part.by_attribute)
        return found


class EvidencePartStore:
    """The parts of one partition in the state. A run writes files only under its own names."""

    def __init__(self, store: StateStore, partition: str, run_id: str) -> None:
        self._store = store
        self._partition = partition
        self._run_id = run_id
        self._last_number: int | None = None

    def index(self, name: str) -> EvidencePartIndex:
        """The parts that an evidence names; none if it names none."""
        found = load_record(self._store, name, EvidencePartIndex) if name else EvidencePartIndex()
        if found is None:
            raise self._gone(name)
        return found

    def rows(self, part: EvidencePart) -> SeenRows:
        """The rows of a part.

        Raises:
            StateError: its file is gone or cannot be read.
        """
        found = load_record(self._store, part.file, PackedRows)
        if found is None:
            raise self._gone(part.file)
        return found.unpacked(self._faults(part))

    def write(self, until: Cursor, rows: PackedRows, faults: Sequence[Mismatch], looked_at: str) -> EvidencePart:
        """Write a part's rows. It counts once the index that an evidence names has it."""
        name = names.part(names.evidence_parts(self._partition), self._run_id, self._next())
        if faults:
            save_lines(self._store, names.faults_of(name), faults)
        save_record(self._store, name, rows)
        verdicts = Counter(dict.fromkeys([RowVerdict.MATCH.value], len(rows.ids)))
        verdicts.update({fault.row_id: fault.verdict.value for fault in faults}.values())
        digests = rows.by_id()
        digest = sum(digests.values())
        return EvidencePart(
            until=until,
            rows=len(digests),
            digest=str(digest),
            items_digest=str(digest + sum(item - digests[row_id] for row_id, (item, _n) in rows.inexact.items())),
            inexact=sum(inexact for _item, inexact in rows.inexact.values()),
            verdicts=verdicts,
            by_attribute=Counter(fault.attribute for fault in faults if fault.attribute is not None),
            looked_at=looked_at,
            file=name,
        )

    def write_index(self, parts: Sequence[EvidencePart]) -> str:
        """Write the list of parts, and return its name."""
        name = names.part(names.evidence_parts(self._partition), f"{self._run_id}-index", self._next())
        save_record(self._store, name, EvidencePartIndex(tuple(parts)))
        return name

    def keep_only(self, index: str, parts: Sequence[EvidencePart]) -> None:
        """Remove the files that no evidence names any more."""
        files = [part.file for part in parts]
        kept = {index, *files, *map(names.faults_of, files)}
        for name in self._store.list(names.evidence_parts(self._partition)):
            if name not in kept:
                self._store.delete(name)

    def faults(self, parts: Sequence[EvidencePart]) -> Iterator[Mismatch]:
        """Every fault of these parts, each with the place up to which its part goes."""
        for part in parts:
            if part.by_attribute or len(part.verdicts) > 1:
                until = f"{from_microseconds(part.until[0]).isoformat()}/{part.until[1]}"
                yield from (replace(fault, segment=until) for fault in self._faults(part))

    def _faults(self, part: EvidencePart) -> Sequence[Mismatch]:
        return load_lines(self._store, names.faults_of(part.file), Mismatch)

    def _next(self) -> int:
        if self._last_number is None:
            listed = self._store.list(names.evidence_parts(self._partition))
            numbers = [name.rpartition("-")[2].partition(".")[0] for name in listed]
            self._last_number = max((int(number) for number in numbers if number.isdigit()), default=0)
        self._last_number += 1
        return self._last_number

    def _gone(self, name: str) -> StateError:
        return StateError(
            f"{self._store.locate(name)}, to which the evidence of partition {self._partition} refers, is gone: imgmig "
            f"verify --partition {self._partition} looks at all rows again"
        )


def ids_at_fault(store: StateStore, evidence: VerificationResult) -> Sequence[str]:
    """The ids of all rows that the evidence found fault with, each once, in the order of the rows.

    Raises:
        StateError: a file of it is gone or cannot be read.
    """
    kept = EvidencePartStore(store, evidence.partition, evidence.run_id)
    return list(dict.fromkeys(fault.row_id for fault in kept.faults(kept.index(evidence.segments).segments)))
