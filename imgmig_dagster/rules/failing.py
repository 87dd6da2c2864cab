"""When so many rows fail that a pass stops: the cause is then rarely in the rows."""

from typing import Final

_MANY: Final = 10_000
_SHARE: Final = 0.01
_BEFORE_SHARE_COUNTS: Final = 100


def too_many_failed(failed: int, rows: int) -> bool:
    """Whether a pass must stop after that many failures among that many rows."""
    return failed >= _MANY or (failed >= _BEFORE_SHARE_COUNTS and failed > _SHARE * rows)
