"""A figure is declared once: its name, meaning and unit, and what many partitions come to, follow."""

from dataclasses import fields, is_dataclass

import pytest

from imgmig_dagster.figures import SHARE, Figure, figures_of, shown, total
from imgmig_dagster.steps.dry_run import MigrationPlan, PlanCounts
from imgmig_dagster.steps.inventory import SourceInventory
from imgmig_dagster.steps.migration_result import MigrationCounts, MigrationResult
from imgmig_dagster.steps.repair_result import RepairResult
from imgmig_dagster.traffic import TrafficRecord
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import VerificationCounts, VerificationResult

RESULTS = (
    SourceInventory,
    MigrationPlan,
    MigrationResult,
    VerificationResult,
    CensusResult,
    SpotCheckResult,
    RepairResult,
)


def counts(rows: int, duration_s: float, reads: int = 0) -> MigrationCounts:
    return MigrationCounts(
        outcomes={"written": rows - 1, "failed": 1},
        rows_in_window=rows,
        late=0,
        left_window=0,
        duration_s=duration_s,
        resumes=1,
        retries=2,
        throttles=3,
        write_units=0.5,
        traffic=TrafficRecord(reads={"1": reads}),
    )


@pytest.mark.parametrize("kind", RESULTS, ids=lambda kind: kind.__name__)
def test_every_figure_says_what_it_means_and_has_a_name_of_its_own(kind: type) -> None:
    found = figures_of(kind)
    assert found
    assert [figure for figure in found.values() if not figure.meaning] == []
    assert len({figure.name for figure in found.values()}) == len(found)


@pytest.mark.parametrize("kind", [MigrationCounts, PlanCounts])
def test_a_class_of_counts_holds_nothing_but_figures(kind: type) -> None:
    assert is_dataclass(kind)
    assert {each.name for each in fields(kind)} <= {*figures_of(kind)}


def test_a_property_says_what_it_means_in_its_docstring_alone() -> None:
    assert figures_of(MigrationResult)["rate"] == Figure(
        "Rows a second", unit="rows/s", name="rate_rows_per_s", label="rows/s", digits=1
    )
    assert figures_of(MigrationResult)["left_window"].label == "left window"


def test_counts_sum_and_what_follows_from_them_is_worked_out_of_the_sums() -> None:
    found = total(MigrationCounts, [counts(10, 1.0, reads=4), counts(30, 3.0, reads=1)])

    assert (found.outcomes, found.total, found.throttles) == ({"failed": 2, "written": 38}, 40, 6)
    assert (found.rate, found.success_rate) == (10.0, 0.95)
    assert found.traffic.reads == {"1": 5}


def test_nothing_sums_to_nothing() -> None:
    assert (total(MigrationCounts, []).total, total(MigrationCounts, []).rate) == (0, 0.0)
    assert (total(PlanCounts, []).rows, total(PlanCounts, []).duration_s) == (0, 0.0)
    assert total(VerificationCounts, []).verdicts == {}


def test_what_does_not_sum_is_that_of_every_partition() -> None:
    plans = [
        PlanCounts(
            rows=5, would_write=5, identical=0, would_judge=0, rejected=0, unread=0, write_units=units, rate=100.0
        )
        for units in (50, 150)
    ]
    assert (total(PlanCounts, plans).rate, total(PlanCounts, plans).duration_s) == (100.0, 2.0)


def test_what_is_shown_has_few_digits_and_shares_in_percent_and_leaves_out_what_has_no_value() -> None:
    found = shown(counts(3, 0.7))

    assert (found["rate_rows_per_s"], found["success_percent"], found["rows"]) == (4.3, 66.6667, 3)
    assert "traffic" not in found
    assert shown(counts(3, 0.7, reads=2))["read_requests"] == 2
    assert figures_of(MigrationCounts)["success_rate"].unit == SHARE
