"""How windows on a snapshot of the source differ from their evidence: which rows have to be looked at again.

One statement gives the digest of every part of the evidence, of any number of windows; another one lists the rows of
the parts that changed. `verification.row_parts` holds the parts, `follow` looks at the rows.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from imgmig_dagster.batches import batched_by
from imgmig_dagster.errors import StateError
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.source.ranges import Range, Sum, cut, moment_of, placed_rows, row_digests, sums
from imgmig_dagster.source.statements import Snapshot
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.verification.row_parts import EvidencePart, EvidencePartIndex, EvidencePartStore, SeenRows
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.walk.coverage import CHECKPOINT_ROWS
from imgmig_dagster.window import Window

_LISTED_AT_ONCE: Final = 20_000


@dataclass(frozen=True)
class Piece:
    """A part that has changed, or the rows after the last part, with `part` None.

    `changed` has the digests on the snapshot of the rows to look at; `gone` are ids that are no longer in it.
    """

    part: EvidencePart | None
    until: Cursor
    changed: dict[str, int]
    gone: frozenset[str]


@dataclass(frozen=True)
class Drift:
    """How a window's rows, on the snapshot of a moment, differ from what was seen of them.

    `rows` and `digest` are of all its rows on the snapshot; `repeated` are ids that it has more than once.
    """

    moment: str
    rows: int
    digest: int
    index: EvidencePartIndex
    pieces: Sequence[Piece]
    repeated: Sequence[str]

    @property
    def changed(self) -> dict[str, int]:
        """The rows to look at, with their digests."""
        return {row_id: digest for piece in self.pieces for row_id, digest in piece.changed.items()}

    def is_known(self, evidence: VerificationResult) -> bool:
        """Whether the evidence is about exactly this snapshot's rows, and nothing has to be looked at."""
        of_same = (evidence.rows_in_window, evidence.digest) == (self.rows, str(self.digest))
        return of_same and not self.pieces and not evidence.orphans and bool(evidence.as_of)


@dataclass(frozen=True)
class Known:
    """What is known of a window before a snapshot: its evidence, and the parts of that."""

    window: Window
    evidence: VerificationResult
    store: EvidencePartStore
    index: EvidencePartIndex

    @classmethod
    def of(cls, work: ReadingWork, window: Window, evidence: VerificationResult) -> "Known":
        """Read the list of parts.

        Raises:
            StateError: it is gone.
        """
        store = EvidencePartStore(work.state, window.partition, work.run_id)
        return cls(window, evidence, store, store.index(evidence.segments))


def find_drifts(snapshot: Snapshot, known: Sequence[Known], faults_again: bool) -> Mapping[Window, Drift | StateError]:
    """Compare windows on a snapshot with their parts: by one statement for all parts, and another for all rows of
    those that changed. With `faults_again`, rows at fault count as changed.

    The rows of a part may be gone from the state, such as when another run replaces the evidence: an error instead.
    """
    moment, cuts = moment_of(snapshot), [cut(each.window, each.index.places) for each in known]
    found = iter(sums(snapshot, [range_ for ranges in cuts for range_ in ranges]))
    looks = [_Look(each, ranges, list(islice(found, len(ranges)))) for each, ranges in zip(known, cuts, strict=True)]
    changed = [(look, n) for look in looks for n in look.changed]
    for some in batched_by(changed, lambda each: each[0].sums[each[1]].rows, _LISTED_AT_ONCE):
        for (look, n), rows in zip(some, row_digests(snapshot, [look.ranges[n] for look, n in some]), strict=True):
            look.compare(n, rows, faults_again)
    return {look.known.window: look.drift(snapshot, moment) for look in looks}


class _Look:
    """One window on a snapshot: the `sums` of its parts, and of what is after the last one."""

    def __init__(self, known: Known, ranges: Sequence[Range], found: Sequence[Sum]) -> None:
        self.known = known
        self.ranges = ranges
        self.sums = found
        self._pieces = list[Piece]()
        self._repeated = list[str]()
        self._error: StateError | None = None

    @property
    def changed(self) -> Iterator[int]:
        """The parts to list: what was seen of them is not what they are, or they have rows that did not match."""
        for n, part in enumerate(self.known.index.segments):
            if self.sums[n] != Sum(part.rows, int(part.digest)) or part.verdicts.keys() - {RowVerdict.MATCH.value}:
                yield n

    def compare(self, n: int, rows: Sequence[tuple[str, int]], faults_again: bool) -> None:
        part = self.known.index.segments[n]
        try:
            seen = self.known.store.rows(part)
        except StateError as error:
            self._error = error
            return
        self._repeated += _repeated(row_id for row_id, _digest in rows)
        self._pieces.append(_piece(part, seen, rows, faults_again))

    def drift(self, snapshot: Snapshot, moment: str) -> Drift | StateError:
        if self._error:
            return self._error
        _window, after, _end = self.ranges[-1]
        behind = placed_rows(snapshot, self.known.window, after, CHECKPOINT_ROWS) if self.sums[-1].rows else ()
        for rows in behind:
            self._repeated += _repeated(row.id for row in rows)
            self._pieces.append(Piece(None, rows[-1].place, {row.id: row.digest for row in rows}, frozenset()))
        return Drift(
            moment=moment,
            rows=sum(each.rows for each in self.sums),
            digest=sum(each.digest for each in self.sums),
            index=self.known.index,
            pieces=[piece for piece in self._pieces if piece.changed or piece.gone],
            repeated=self._repeated,
        )


def find_drift(work: ReadingWork, window: Window, evidence: VerificationResult, faults_again: bool) -> Drift:
    """The same of one window, on a snapshot of its own.

    Raises:
        StateError: a file to which the evidence refers is gone.
    """
    known = Known.of(work, window, evidence)
    with work.source.snapshot() as snapshot:
        found = find_drifts(snapshot, [known], faults_again)[window]
    if isinstance(found, StateError):
        raise found
    return found


def _piece(part: EvidencePart, seen: SeenRows, rows: Sequence[tuple[str, int]], faults_again: bool) -> Piece:
    digests = seen.digests()
    known = {row_id: seen_row.row for row_id, seen_row in seen.equal.items()} if faults_again else digests
    changed = {row_id: digest for row_id, digest in rows if known.get(row_id) != digest}
    everything = digests.keys() | {fault.row_id for fault in seen.faults}
    return Piece(part, part.until, changed, frozenset(everything - {row_id for row_id, _digest in rows}))


def _repeated(ids: Iterable[str]) -> list[str]:
    return [row_id for row_id, times in Counter(ids).items() if times > 1]
