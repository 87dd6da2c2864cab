"""The numbers of a pass follow from its outcomes."""

import pytest

from imgmig_dagster.steps.migration_result import MIGRATED, NOT_WRITTEN, SKIPPED, MigrationResult, Outcome


def result(
    rows_in_window: int, duration_s: float = 2.0, late: int = 0, left_window: int = 0, **outcomes: int
) -> MigrationResult:
    return MigrationResult(
        partition="p",
        run_id="r",
        write_mode="batch",
        outcomes=outcomes,
        rows_in_window=rows_in_window,
        late=late,
        left_window=left_window,
        started_at="a",
        finished_at="b",
        duration_s=duration_s,
        resumes=0,
        retries=0,
        throttles=0,
        write_units=0.0,
    )


def test_every_outcome_is_migrated_skipped_or_not_written() -> None:
    assert {*MIGRATED, *SKIPPED, *NOT_WRITTEN} == set(Outcome)
    assert len(MIGRATED) + len(SKIPPED) + len(NOT_WRITTEN) == len(Outcome)


def test_outcomes_are_summed_by_what_they_mean() -> None:
    found = result(
        45,
        inserted=1,
        written=2,
        identical=3,
        completed=4,
        updated=5,
        newer_in_target=6,
        vanished=7,
        rejected=8,
        failed=9,
    )

    assert (found.total, found.migrated, found.skipped, found.failed) == (45, 12, 16, 17)
    assert found.success_rate == pytest.approx(21 / 45)
    assert found.rate == 22.5
    assert found.every_row_is_accounted_for


@pytest.mark.parametrize("rows_in_window", [9, 11])
def test_a_sum_that_is_not_the_windows_rows_is_not_accounted_for(rows_in_window: int) -> None:
    assert not result(rows_in_window, inserted=10).every_row_is_accounted_for


def test_rows_that_left_the_window_are_also_accounted_for() -> None:
    assert result(7, late=2, left_window=3, inserted=9, vanished=1).every_row_is_accounted_for


def test_an_empty_pass_divides_by_nothing() -> None:
    assert (result(0, 0.0).rate, result(0, 0.0).success_rate) == (0.0, 1.0)
