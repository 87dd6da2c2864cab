"""What was seen of rows that got a verdict. `second_look` gives it, `walk.coverage` keeps it until the pass ends."""

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Annotated

from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state.records import renamed
from imgmig_dagster.verification.row_parts import PackedRows, SeenRows
from imgmig_dagster.verification.verification_result import Mismatch


@dataclass(frozen=True)
class LoggedRows:
    """What a pass keeps of examined rows until it ends; see `Examined`."""

    rows: PackedRows
    faults: Sequence[Mismatch]
    undeclared: Mapping[str, int]
    agreed_on_recheck: Annotated[int, renamed("agreed_on_recheck", "settled")]


@dataclass
class Examined:
    """The verdicts of some rows by id, and what was seen of them.

    `undeclared` counts attributes that the mapping does not know, `agreed_on_recheck` rows that differed at first and
    agreed on recheck.
    """

    results: dict[str, RowVerdict] = field(default_factory=dict)
    rows: SeenRows = field(default_factory=SeenRows)
    undeclared: Counter[str] = field(default_factory=Counter)
    agreed_on_recheck: int = 0

    @property
    def tally(self) -> LoggedRows:
        """See `walk.coverage.Findings`."""
        return LoggedRows(PackedRows.of(self.rows), self.rows.faults, self.undeclared, self.agreed_on_recheck)

    def after(self, earlier: "Examined") -> "Examined":
        """See `walk.coverage.Findings`: what was last seen of a row counts."""
        if again := earlier.results.keys() & self.results.keys():
            earlier.rows.forget(again)
        earlier.add(self)
        return earlier

    def add(self, other: "Examined") -> None:
        """Add the counts of other rows."""
        self.results.update(other.results)
        self.rows.add(other.rows)
        self.undeclared.update(other.undeclared)
        self.agreed_on_recheck += other.agreed_on_recheck

    def leave_unverified(self, ids: Collection[str]) -> None:
        """Nothing is known about these rows."""
        self.results.update(dict.fromkeys(ids, RowVerdict.UNVERIFIED))
        self.rows.faults += (Mismatch(row_id, RowVerdict.UNVERIFIED) for row_id in ids)
