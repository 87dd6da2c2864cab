"""What a report makes of writes of our own after the evidence and the census."""

from dataclasses import replace

import pytest

from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.state import names
from imgmig_dagster.target.marks import Ownership
from imgmig_dagster_tests.unit.reporting.stage_state import (
    COUNTED,
    FACTS,
    MARCH,
    MIGRATE_MARCH,
    MIGRATED,
    VERIFIED,
    VERIFY_MARCH,
    StageState,
    blockers,
    verdict_of,
)


def test_a_migration_after_the_verification_began_voids_it(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.migrate(MARCH, {"identical": 100}, minute=VERIFIED)
    state.census()
    report = state.report()
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "no longer counts, because a migration wrote after it began" in blockers(report)
    assert (report.totals.verified, report.totals.skipped) == (0, 100)


@pytest.mark.parametrize("by", ["migration", "retry", "repair"])
def test_whatever_wrote_after_the_verification_began_voids_it(passed: StageState, by: str) -> None:
    passed.write(MARCH.partition, by, MIGRATED)
    assert f"because a {by} wrote after it began: {VERIFY_MARCH}" in blockers(passed.report()), (
        "whatever its clock said"
    )
    passed.verify(MARCH, {"match": 100})
    passed.census()
    assert passed.report().verdict is Verdict.PASS


def test_evidence_without_the_record_of_what_wrote_since_is_none(passed: StageState) -> None:
    passed.store.delete(names.last_write(MARCH.partition))
    assert "last-write.json is gone, which tells whether anything wrote since" in blockers(passed.report())
    passed.verify(MARCH, {"match": 100})
    assert "last-write.json is gone, which tells whether anything wrote since" in blockers(passed.report())
    passed.write(MARCH.partition, "migration", MIGRATED)
    passed.verify(MARCH, {"match": 100})
    passed.census()
    assert passed.report().verdict is Verdict.PASS


@pytest.mark.parametrize("looks_at", ["verification", "census"])
def test_what_began_while_a_write_was_open_never_counts(passed: StageState, looks_at: str) -> None:
    if looks_at == "census":
        passed.census(writes={MARCH.partition: None})
    else:
        passed.verify(MARCH, {"match": 100}, writes=None)
    assert passed.report().verdict is Verdict.NOT_VERIFIED


def test_a_write_that_broke_off_voids_what_was_verified_after_it_too(passed: StageState) -> None:
    passed.write(MARCH.partition, "repair", MIGRATED, ended=False)
    report = passed.report()
    assert verdict_of(report) is Verdict.NOT_VERIFIED
    assert f"has not come to its end: {MIGRATE_MARCH}, then {VERIFY_MARCH}" in blockers(report)
    assert "The census no longer counts" in blockers(report)


def test_deleted_orphans_void_the_census_and_no_partition(passed: StageState) -> None:
    passed.write(None, "repair", COUNTED)
    report = passed.report()
    assert verdict_of(report) is Verdict.PASS
    assert blockers(report).startswith("The census no longer counts: orphans may have been written to since it began")


def test_a_census_from_before_the_last_write_does_not_count(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.census(writes={})
    report = state.report()
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "The census no longer counts: partition 2024-03-01 may have been written to since it began" in blockers(
        report
    )


def test_a_table_to_which_another_state_writes_is_no_pass(passed: StageState) -> None:
    owner = Ownership("Another passed writes to the table: s3://other (id 1)", "aws dynamodb untag-resource ...")
    report = passed.report(replace(FACTS, owner=owner))
    assert report.verdict is Verdict.NOT_VERIFIED
    assert blockers(report) == (
        "Another passed writes to the table: s3://other (id 1): aws dynamodb untag-resource ..., "
        "then imgmig verify --stage staging"
    )
