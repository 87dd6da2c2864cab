"""When evidence no longer counts, and why: one fact differs at a time, then the order of the reasons."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from imgmig_dagster.rules.invalidation import (
    NOT_LOOKED_AT,
    Invalidation,
    LastWrite,
    Now,
    Reason,
    Seen,
    changes_in_words,
    find_invalidation,
)
from imgmig_dagster_tests.arrange import MARCH

LOOKED = "2025-01-10T12:00:00+00:00"
WRITE = LastWrite("repair", "run-1", "2025-01-09T12:00:00+00:00", "2025-01-09T12:01:00+00:00", number=3)
SEEN = Seen(window=MARCH.describe(), rows=100, digest="1", writes=3, oldest_look_at=LOOKED, looked_at=LOOKED)
NOW = Now(moment=LOOKED, window=MARCH, rows=100, digest="1", last_write=WRITE, record="last-write.json")


def at(**since: int) -> str:
    return (datetime.fromisoformat(LOOKED) + timedelta(**since)).isoformat()


@pytest.mark.parametrize(
    ("seen", "now", "reason"),
    [
        ({}, {}, None),
        # Writes.
        ({}, {"pass_is_open": True}, Reason.WRITE_NOT_ENDED),
        ({}, {"last_write": replace(WRITE, ended_at=None)}, Reason.WRITE_NOT_ENDED),
        ({}, {"last_write": replace(WRITE, number=4)}, Reason.WRITTEN_SINCE),
        ({}, {"last_write": replace(WRITE, number=2)}, Reason.WRITTEN_SINCE),
        ({"writes": None}, {}, Reason.WRITTEN_SINCE),
        ({"writes": 0}, {"last_write": None}, None),
        ({"writes": 0}, {"last_write": None, "has_passes": True}, Reason.WRITTEN_SINCE),
        ({"writes": 3}, {"last_write": None}, Reason.WRITTEN_SINCE),
        # Something else was compared.
        ({"window": "another"}, {}, Reason.OTHER_WINDOW),
        ({}, {"changes": ["verifier"]}, Reason.OTHER_VERIFIER),
        ({}, {"changes": ["verifier", "mapping"]}, Reason.OTHER_IDENTITY),
        ({}, {"changes": ["target_created_at"]}, Reason.OTHER_IDENTITY),
        # The source has changed.
        ({"recheck_unfinished": True}, {}, Reason.RECHECK_UNFINISHED),
        ({}, {"digest": NOT_LOOKED_AT}, Reason.RECHECK_UNFINISHED),
        ({}, {"rows": 101}, Reason.ROWS_CHANGED),
        ({}, {"digest": "2"}, Reason.ROWS_CHANGED),
        ({}, {"digest": None}, None),
        # Time.
        ({}, {"moment": at(days=7)}, None),
        ({}, {"moment": at(days=7, seconds=1)}, Reason.TOO_OLD),
        ({"oldest_look_at": at(days=-7, seconds=-1)}, {}, Reason.TOO_OLD),
    ],
)
def test_what_invalidates_evidence(seen: dict[str, Any], now: dict[str, Any], reason: Reason | None) -> None:
    found = find_invalidation(replace(SEEN, **seen), replace(NOW, **now))
    assert (found.reason if found else None) is reason


@pytest.mark.parametrize(("ended_before_s", "counts"), [(61, True), (60, True), (59, False), (-86_400, False)])
def test_evidence_of_a_window_that_was_open_ages_in_an_hour_if_the_source_is_not_asked(
    ended_before_s: int, counts: bool
) -> None:
    window = replace(MARCH, end=datetime.fromisoformat(at(seconds=-ended_before_s)))
    seen, later = replace(SEEN, window=window.describe()), replace(NOW, window=window, moment=at(seconds=3_601))

    assert find_invalidation(seen, replace(later, digest=None, moment=at(hours=1))) is None
    found = find_invalidation(seen, replace(later, digest=None))
    assert (found is None) is counts
    assert found is None or found.what == "its window was still open, and it is more than an hour old"
    assert find_invalidation(seen, later) is None


def test_what_has_only_aged_or_broke_off_can_be_followed() -> None:
    followed = {reason for reason in Reason if Invalidation(reason, "").can_be_followed}
    assert followed == {Reason.ROWS_CHANGED, Reason.TOO_OLD, Reason.RECHECK_UNFINISHED}
    assert {reason for reason in followed if not Invalidation(reason, "").only_aged} == {Reason.RECHECK_UNFINISHED}


def test_the_reason_that_weighs_most_is_given() -> None:
    by_weight: list[tuple[dict[str, Any], dict[str, Any], Reason]] = [
        ({}, {"pass_is_open": True}, Reason.WRITE_NOT_ENDED),
        ({"writes": 1}, {}, Reason.WRITTEN_SINCE),
        ({"window": "another"}, {}, Reason.OTHER_WINDOW),
        ({}, {"changes": ["mapping"]}, Reason.OTHER_IDENTITY),
        ({"recheck_unfinished": True}, {}, Reason.RECHECK_UNFINISHED),
        ({}, {"rows": 1}, Reason.ROWS_CHANGED),
        ({"oldest_look_at": at(days=-8)}, {}, Reason.TOO_OLD),
        ({"digest": "0"}, {}, Reason.ROWS_CHANGED),
    ]
    seen, now = SEEN, NOW
    for of_seen, of_now, reason in reversed(by_weight):
        seen, now = replace(seen, **of_seen), replace(now, **of_now)
        found = find_invalidation(seen, now)
        assert found is not None
        assert found.reason is reason


@pytest.mark.parametrize(
    ("now", "what"),
    [
        ({"last_write": replace(WRITE, number=4)}, "a repair wrote after it began"),
        (
            {"last_write": replace(WRITE, number=4, late=True)},
            "a repair that had lost its lock may have written after it began",
        ),
        ({"last_write": None}, "last-write.json is gone, which tells whether anything wrote since"),
        ({"rows": 1_000}, "the window had 100 rows, and has 1,000 now"),
    ],
)
def test_a_reason_says_what_happened(now: dict[str, Any], what: str) -> None:
    found = find_invalidation(SEEN, replace(NOW, **now))
    assert found is not None
    assert found.what == what


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ([], None),
        (["target_created_at"], "the target is another table of the same name, created since"),
        (["mapping", "source"], "it is of another mapping and another source"),
        (["target", "target_created_at"], "it is of another target and another target table"),
    ],
)
def test_changes_in_words(changes: list[str], words: str | None) -> None:
    assert changes_in_words(changes) == words
