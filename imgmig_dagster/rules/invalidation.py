"""When evidence of a partition no longer counts, and why: one rule for reports, certificates and schedules.

`verification.evidence` reads what it is decided by; `state.writes` keeps the record of writes.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from typing import Final

from imgmig_dagster.window import Window

COUNTS_FOR: Final = timedelta(days=7)
# The application may add rows to a window that has not ended, and changes late rows more than others. Evidence of such
# a window counts only together with a look at the source.
OPEN_WINDOW_COUNTS_FOR: Final = timedelta(hours=1)
RENEWED_WITHIN: Final = timedelta(days=2)
"""The schedules renew evidence each night: evidence that has not counted for longer is not being renewed."""
# The longest recheck delay that can be set: until then a row of the window's last moment may be on its way.
_RECHECKED_WITHIN: Final = timedelta(seconds=60)


class Reason(str, Enum):
    """Why a verification does not count."""

    WRITE_NOT_ENDED = "write not ended"
    WRITTEN_SINCE = "written since"
    OTHER_WINDOW = "other window"
    OTHER_IDENTITY = "other identity"
    OTHER_VERIFIER = "other verifier"
    ROWS_CHANGED = "rows changed"
    TOO_OLD = "too old"
    RECHECK_UNFINISHED = "recheck unfinished"

    @classmethod
    def _missing_(cls, value: object) -> "Reason | None":
        # What certificates of format 3 say.
        return cls.RECHECK_UNFINISHED if value == "not settled" else None


NOT_LOOKED_AT: Final = ""
"""In place of the source's digest of a partition that another run was verifying while the report was made."""


@dataclass(frozen=True)
class Invalidation:
    """Why a verification no longer counts; `what` says it in words that follow "because"."""

    reason: Reason
    what: str

    @property
    def only_aged(self) -> bool:
        """Whether it is only out of date: the target was not written since, so a fault that it found still counts."""
        return self.reason in (Reason.ROWS_CHANGED, Reason.TOO_OLD)

    @property
    def can_be_followed(self) -> bool:
        """Whether a look at what has changed, or was not looked at, makes the verification count again."""
        return self.only_aged or self.reason is Reason.RECHECK_UNFINISHED


@dataclass(frozen=True)
class LastWrite:
    """A run that wrote, or may have written. `by` is ``migration``, ``retry`` or ``repair``.

    `ended_at` is None if the run has not ended: it goes on, or broke off. `ids` are the only keys that it worked on,
    None for a whole window. `late`: it had lost its lock, and it is unknown what it had sent until then, or what of
    that arrived. `number` counts the partition's writes up to this one. The times are for people.
    """

    by: str
    run_id: str
    began_at: str
    ended_at: str | None = None
    ids: Sequence[str] | None = None
    late: bool = False
    number: int = 0

    def __str__(self) -> str:
        return f"{self.by} that had lost its lock" if self.late else self.by

    @property
    def is_open(self) -> bool:
        """Whether it has not ended."""
        return self.ended_at is None

    def spared_others_since(self, number: int | None, ids: Collection[str]) -> bool:
        """Whether only these keys were written since the writes numbered `number`."""
        if self.is_open or number is None:
            return False
        alone = self.number == number + 1 and self.ids is not None
        return self.number == number or (alone and set(self.ids or ()) <= set(ids))


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What a verification compared.

    `rows` and `digest` are the source's. `writes` is how often the partition had been written to, None while a write
    was open. `oldest_look_at` and `looked_at` are when its oldest and its last look began, in ISO 8601.
    """

    window: str
    rows: int
    digest: str
    writes: int | None
    oldest_look_at: str
    looked_at: str
    recheck_unfinished: bool = False


@dataclass(frozen=True, kw_only=True)
class Now:
    """What there is now, at a `moment` in ISO 8601.

    `changes` are the parts of the identity that differ. `digest` is None if digests are not compared. `has_passes` says
    whether a pass has finished, if there is no `last_write`; `record` is where that would be.
    """

    moment: str
    window: Window
    rows: int
    digest: str | None
    changes: Sequence[str] = ()
    pass_is_open: bool = False
    last_write: LastWrite | None = None
    has_passes: bool = False
    record: str = ""


def find_invalidation(seen: Seen, now: Now) -> Invalidation | None:
    """Why evidence does not count now; None if it does. What comes first weighs most."""
    last = now.last_write
    if now.pass_is_open:
        return Invalidation(Reason.WRITE_NOT_ENDED, "a migration pass has begun since its last one finished")
    if last and last.is_open:
        return Invalidation(Reason.WRITE_NOT_ENDED, f"a {last.by} began at {last.began_at} and has not come to its end")
    if since := _written_since(seen.writes, now):
        return Invalidation(Reason.WRITTEN_SINCE, since)
    if seen.window != now.window.describe():
        return Invalidation(Reason.OTHER_WINDOW, f"it is of the window {seen.window}")
    if changed := changes_in_words(now.changes):
        only_verifier = list(now.changes) == ["verifier"]
        return Invalidation(Reason.OTHER_VERIFIER if only_verifier else Reason.OTHER_IDENTITY, changed)
    return _why_aged(seen, now)


def _why_aged(seen: Seen, now: Now) -> Invalidation | None:
    """Why evidence of the current target does not count: recheck unfinished, rows changed, or too old."""
    if seen.recheck_unfinished:
        return Invalidation(Reason.RECHECK_UNFINISHED, "a report that was looking at what has changed broke off")
    if now.digest == NOT_LOOKED_AT:
        return Invalidation(Reason.RECHECK_UNFINISHED, "another run was verifying it while the report was made")
    if seen.rows != now.rows:
        return Invalidation(Reason.ROWS_CHANGED, f"the window had {seen.rows:,} rows, and has {now.rows:,} now")
    if is_too_old(seen.oldest_look_at, now.moment):
        return Invalidation(Reason.TOO_OLD, f"it is more than {COUNTS_FOR.days} days old")
    if now.digest is not None and seen.digest != now.digest:
        return Invalidation(Reason.ROWS_CHANGED, "its rows have changed in the source since")
    if now.digest is None and _was_open(now.window, seen.looked_at, now.moment):
        return Invalidation(Reason.TOO_OLD, "its window was still open, and it is more than an hour old")
    return None


def _written_since(seen: int | None, now: Now) -> str | None:
    """What has written to a partition since it had been written to `seen` times, in words; None: nothing."""
    if last := now.last_write:
        how = "may have written" if last.late else "wrote"
        return f"a {last} {how} after it began" if last.number != seen else None
    # Every write leaves a record.
    if seen == 0 and not now.has_passes:
        return None
    return f"{now.record} is gone, which tells whether anything wrote since"


def changes_in_words(changes: Sequence[str]) -> str | None:
    """Which parts of what was compared have changed since; None if none has."""
    if not changes:
        return None
    if list(changes) == ["target_created_at"]:
        return "the target is another table of the same name, created since"
    return f"it is of another {' and another '.join(name.replace('_created_at', ' table') for name in changes)}"


def is_too_old(began_at: str, moment: str) -> bool:
    """Whether a look at windows that have ended, begun at one ISO 8601 time, no longer counts at another."""
    return datetime.fromisoformat(moment) - datetime.fromisoformat(began_at) > COUNTS_FOR


def _was_open(window: Window, looked_at: str, moment: str) -> bool:
    looked = datetime.fromisoformat(looked_at)
    return datetime.fromisoformat(moment) - looked > OPEN_WINDOW_COUNTS_FOR and window.end + _RECHECKED_WITHIN > looked
