"""How much is measured."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True)
class Scale:
    """Rows of each measure, and how often every way is run. `months` are the partitions of the orchestration."""

    name: str
    repetitions: int
    rows: int
    conditional_rows: int
    small: int
    large: int
    months: int
    command_rows: int
    memory_repetitions: int
    command_repetitions: int


DEFAULT: Final = Scale("default", 3, 20_000, 10_000, 15_000, 100_000, 24, 15_432, 3, 3)
QUICK: Final = Scale("quick", 3, 4_000, 1_000, 2_000, 10_000, 3, 2_000, 1, 1)
FULL: Final = Scale("full", 5, 50_000, 20_000, 100_000, 1_000_000, 24, 15_432, 3, 3)
WARM_UP_ROWS: Final = 1_000
