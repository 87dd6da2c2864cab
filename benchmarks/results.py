"""What was measured, and whether it meets its goal."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.job import Sample


@dataclass(frozen=True)
class Goal:
    """A limit on the median. `reach` is the hoped-for value beyond it. With `at_least` more is better."""

    limit: float
    text: str
    reach: float | None = None
    at_least: bool = False

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit

    def reached(self, value: float) -> bool:
        return self.reach is not None and value <= self.reach


@dataclass(frozen=True)
class Figure:
    """One line of the table: a value per repetition. Without values it was not measured, and `note` says why.

    Without a goal it is information.
    """

    measure: str
    values: Sequence[float]
    goal: Goal | None = None
    digits: int = 2
    unit: str = ""
    note: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def missed(self) -> bool:
        return bool(self.values) and self.goal is not None and not self.goal.met(self.median)

    @property
    def verdict(self) -> str:
        if not self.values:
            return f"not measured: {self.note}"
        if self.goal is None:
            return self.note
        if self.missed:
            return "MISSED"
        return "met, and the reach too" if self.goal.reached(self.median) else "met"

    @property
    def spread(self) -> str:
        """Minimum, median, maximum."""
        if not self.values:
            return "–"
        if len(self.values) == 1:
            return f"{self.median:,.{self.digits}f}{self.unit}"
        figures = (min(self.values), self.median, max(self.values))
        return " / ".join(f"{value:,.{self.digits}f}" for value in figures) + self.unit


@dataclass(frozen=True)
class Measured:
    """What one measure gave: lines of the table, the samples behind them, and where the CPU of a row went.

    `stages` is seconds by stage, of `stage_rows` rows. A sample's "rows" are counted in `unit`.
    """

    name: str
    figures: Sequence[Figure]
    samples: Mapping[str, Sequence[Sample]] = field(default_factory=dict)
    stages: Mapping[str, float] = field(default_factory=dict)
    stage_rows: int = 0
    unit: str = "row"


def ratios(ours: Sequence[Sample], theirs: Sequence[Sample]) -> list[float]:
    """CPU per row of one way relative to another, repetition by repetition."""
    return [a.cpu_us_per_row / b.cpu_us_per_row for a, b in zip(ours, theirs, strict=True)]
