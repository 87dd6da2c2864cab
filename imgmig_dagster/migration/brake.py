"""How many items may be deleted, because their rows are gone, before a person is asked."""

from dataclasses import dataclass
from typing import Final

_FEW: Final = 10
_SHARE: Final = 100
_MANY: Final = 1_000


@dataclass(frozen=True)
class Brake:
    """What one pass, retry or repair may delete; `rows` is the size of its window.

    Without a word up to 10 items, or up to a hundredth of the rows, but never more than 1,000. Rows that disappear in
    greater numbers were rarely deleted one by one: TRUNCATE, a policy that hides them, a restored backup and the wrong
    table look the same from here. With `confirmed`, exactly that many.
    """

    rows: int
    confirmed: int | None = None

    @property
    def limit(self) -> int:
        """How many go without a word."""
        return max(_FEW, min(self.rows // _SHARE, _MANY))

    def lets_pass(self, deletes: int) -> bool:
        """Whether so many items may be deleted."""
        return deletes <= self.limit if self.confirmed is None else deletes == self.confirmed
