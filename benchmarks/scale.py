"""The scale of the measures: rows, partitions and repetitions."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Scale:
    """Rows and partitions of each measure, and how often every way is run."""

    name: str
    repetitions: int
    rows: int
    conditional_rows: int
    small: int
    large: int
    command_rows: int
    memory_repetitions: int
    command_repetitions: int
    days: int
    daily_partitions: int
    rows_a_day: int
    daily_repetitions: int
    side_by_side_repetitions: int


DEFAULT: Final = Scale("default", 3, 20_000, 10_000, 15_000, 100_000, 15_432, 3, 3, 1_000, 3_650, 100, 1, 1)
QUICK: Final = Scale("quick", 3, 4_000, 1_000, 2_000, 10_000, 2_000, 1, 1, 30, 30, 100, 1, 1)
FULL: Final = Scale("full", 5, 50_000, 20_000, 100_000, 1_000_000, 15_432, 3, 3, 1_000, 3_650, 100, 3, 3)
WARM_UP_ROWS: Final = 1_000
