"""What the census says by the time of a report: of which partitions it was, and what became of rows that left since."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from imgmig_dagster.reporting.certificate import certify
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.verification.census_results import LeftSince
from imgmig_dagster_tests.unit.reporting.stage_state import FACTS, StageState, month

NONE_LEFT = LeftSince("census", 0, 0, 0, {})


def judged(passed: StageState, left: LeftSince | None = NONE_LEFT) -> tuple[Verdict, Sequence[str]]:
    report = passed.report(replace(FACTS, left=left))
    return report.verdict, [each.sentence for each in report.blockers]


def test_rows_that_left_with_their_items_are_no_fault(passed: StageState) -> None:
    assert judged(passed, LeftSince("census", 7, 0, 0, {})) == (Verdict.PASS, [])


def test_an_item_that_lost_its_row_since_fails(passed: StageState) -> None:
    left = LeftSince("census", 1_007, 4, 0, {"orphans": ["a", "b", "c", "d"]})

    assert judged(passed, left) == (
        Verdict.FAIL,
        [
            "Of the 1,007 rows that have left the source since the census: the items of 4 (a, b, c and more) still "
            "exist: imgmig repair --stage staging, then imgmig verify --stage staging"
        ],
    )


def test_an_item_that_could_not_be_looked_at_is_no_pass(passed: StageState) -> None:
    left = LeftSince("census", 2, 0, 1, {"unverified": ["a"]})

    assert judged(passed, left) == (
        Verdict.NOT_VERIFIED,
        [
            "Of the 2 rows that have left the source since the census: the items of 1 (a) could not be read, or moved "
            "at every look: imgmig report --stage staging"
        ],
    )


def test_what_left_since_another_census_says_nothing_of_this_one(passed: StageState) -> None:
    verdict, (blockers,) = judged(passed, replace(NONE_LEFT, census="an earlier one"))

    assert verdict is Verdict.NOT_VERIFIED
    assert blockers.startswith("Another census was taken while the report was made")


@pytest.mark.parametrize("number", [1, 4])
def test_a_census_of_partitions_that_began_elsewhere_does_not_count(passed: StageState, number: int) -> None:
    """Rows outside of them then may lie in one today, and the other way round."""
    passed.windows[0] = month(number)
    passed.rows = {month(number).partition: 0}

    verdict, blockers = judged(passed)

    assert verdict is Verdict.NOT_VERIFIED
    assert blockers[0] == (
        "The census no longer counts: the first partition began at 2024-03-01T00:00:00+00:00 then, and begins at "
        f"2024-0{number}-01T00:00:00+00:00 now: imgmig verify --stage staging"
    )


def test_partitions_that_time_has_added_are_no_reason(passed: StageState) -> None:
    passed.window(month(4), 0)

    assert judged(passed) == (Verdict.PASS, [])


def test_a_certificate_says_of_which_time_it_speaks(passed: StageState) -> None:
    report = passed.report(replace(FACTS, left=LeftSince("census", 1_007, 0, 0, {})))
    certificate, census = certify(report), report.census

    assert census is not None

    assert (
        "Every item that the census met had its row: the table was scanned from 2025-01-02T10:30:00.000+00:00 to "
        f"{census.finished_at}. An item without a row that others put there after 2025-01-02T10:30:00.000+00:00 is not "
        f"covered. Of the rows that the census read 1,007 have left the source until {FACTS.counted_at}; the items of "
        "all of them are gone."
    ) in certificate.meaning
    assert certificate.left == LeftSince("census", 1_007, 0, 0, {})
