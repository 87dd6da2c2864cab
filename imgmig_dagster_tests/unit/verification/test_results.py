"""Only a match passes."""

from dataclasses import asdict, replace

import pytest
from pydantic import TypeAdapter

from imgmig_dagster.source.sampling import Shape
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.verification_result import Identity, VerificationResult
from imgmig_dagster_tests.unit.reporting.stage_state import pair, spot_check

IDENTITY = Identity("m", "s", "t", "c", "1", "0")
CENSUS = CensusResult("r", 1, 1, 0, 0, 0, 0, 0, 0, {}, 0, (), "a", "b", IDENTITY, "s", "f", 1.0, {}, 1, 1)


def verified(rows_in_window: int, **verdicts: int) -> VerificationResult:
    return VerificationResult(
        partition="p",
        run_id="r",
        window="w",
        verdicts=verdicts,
        rows_in_window=rows_in_window,
        late=0,
        left_window=0,
        by_attribute={},
        mismatches=[],
        mismatches_found=0,
        agreed_on_recheck=0,
        inexact_timestamps=0,
        undeclared={},
        digest="0",
        watermark=None,
        identity=IDENTITY,
        started_at="s",
        finished_at="f",
        duration_s=2.0,
    )


def test_all_rows_matching_passes() -> None:
    result = verified(10, match=10, mismatch=0, missing=0, unverified=0)

    assert result.passed
    assert (result.looked_at, result.rate) == (10, 5.0)


@pytest.mark.parametrize("verdict", ["mismatch", "missing", "unverified"])
def test_one_row_with_any_other_verdict_does_not_pass(verdict: str) -> None:
    assert not verified(10, match=9, **{verdict: 1}).passed


def test_an_unverified_row_is_not_covered() -> None:
    assert not verified(10, match=9, unverified=1).coverage_is_complete
    assert verified(10, match=8, mismatch=1, missing=1).coverage_is_complete


@pytest.mark.parametrize("rows_in_window", [9, 11])
def test_rows_that_were_not_looked_at_or_looked_at_in_excess_do_not_pass(rows_in_window: int) -> None:
    assert not verified(rows_in_window, match=10).coverage_is_complete
    assert not verified(rows_in_window, match=10).passed


@pytest.mark.parametrize(
    "fault",
    ["missing", "orphans", "differing", "unverified", "rows_outside", "repeated", "rows_counted", "rows_in_partitions"],
)
def test_one_fault_of_any_kind_fails_the_census(fault: str) -> None:
    assert CENSUS.passed
    assert not replace(CENSUS, **{fault: 2}).passed  # type: ignore[arg-type]


def test_an_image_without_an_item_never_agrees() -> None:
    assert pair("a", ("width", "NULL", "NULL", True)).agrees
    assert not pair("a", ("width", "NULL", "absent", True), has_item=False).agrees
    assert not pair("a", ("width", "N:1", "N:2", False)).agrees


def test_only_the_images_drawn_at_random_bear_the_bound() -> None:
    random = [pair(str(number)) for number in range(40)]
    rare = [pair(f"rare-{number}", shape=Shape.LARGEST) for number in range(10)]
    assert spot_check(*random, *rare).bound == 3 / 40
    assert spot_check(*random, *rare, source_rows=50).bound == 0.0
    assert spot_check(*random[:2]).bound == 1.0
    assert spot_check(*rare).bound is None
    assert spot_check().bound is None
    assert spot_check(*random, pair("wrong", has_item=False)).bound is None


def test_a_census_of_before_the_rows_were_counted_can_be_read_and_does_not_pass() -> None:
    record = asdict(CENSUS)
    for name in ("rows_counted", "rows_in_partitions", "repeated"):
        del record[name]

    assert not TypeAdapter(CensusResult).validate_python(record).passed
