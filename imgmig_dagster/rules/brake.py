"""How many items may be deleted because their rows are gone, before a person has to confirm."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_FEW: Final = 10
_SHARE: Final = 100
_MANY: Final = 1_000
_SHARE_OF_A_PAGE: Final = 10
_SHOWN: Final = 5


@dataclass(frozen=True)
class Brake:
    """What one pass, retry or repair may delete; `rows` is the size of its window.

    Without confirmation up to 10 items, or up to a hundredth of the rows, but never more than 1,000. Larger numbers of
    rows were rarely deleted one by one: TRUNCATE, a policy that hides them, a restored backup and the wrong table look
    the same from here. With `confirmed`, exactly that many.
    """

    rows: int
    confirmed: int | None = None

    @property
    def limit(self) -> int:
        """How many may be deleted without confirmation."""
        return max(_FEW, min(self.rows // _SHARE, _MANY))

    def lets_pass(self, deletes: int) -> bool:
        """Whether so many items may be deleted."""
        return deletes <= self.limit if self.confirmed is None else deletes == self.confirmed


def may_take_back(gone: int, inserted: int) -> bool:
    """Whether a page deletes its own inserts again whose rows went during the write: few do if the application deletes.

    More at once than a tenth, or 10, are judged at the end of the pass, by the brake.
    """
    return gone <= max(_FEW, inserted // _SHARE_OF_A_PAGE)


def held_back_line(ids: Sequence[str], command: str) -> str:
    """What a person has to know about deletes that were held back; `command`, with their number, sends them."""
    some = ", ".join(ids[:_SHOWN]) + (", ..." if len(ids) > _SHOWN else "")
    return (
        f"{len(ids):,} items without a row were not deleted ({some}). So many rows disappear by TRUNCATE, by a policy "
        "or view that hides them from this role, by a restored backup, or because the settings name another table. If "
        f"they are gone for good: {command} --confirm-deletes {len(ids)} (in run config: confirm_deletes)"
    )
