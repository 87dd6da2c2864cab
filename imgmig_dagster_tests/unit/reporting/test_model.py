from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from imgmig_dagster.errors import StateError
from imgmig_dagster.reporting.model import RunFacts
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.verification.review import ReviewedImage
from imgmig_dagster.verification.verification_result import Mismatch
from imgmig_dagster_tests.unit.reporting.stage_state import (
    FACTS,
    IDENTITY,
    MARCH,
    MIGRATE_MARCH,
    VERIFIED,
    VERIFY_MARCH,
    StageState,
    blockers,
    moment,
    month,
    pair,
    verdict_of,
)


def test_everything_verified_and_counted_passes(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.clean(month(4), 50)
    state.census()
    report = state.report()
    assert (report.verdict, report.blockers) == (Verdict.PASS, ())
    assert (report.totals.rows, report.totals.migrated, report.totals.verified) == (150, 150, 150)
    assert (report.totals.duration_s, report.totals.rate, report.totals.success_rate) == (4.0, 37.5, 1.0)
    assert report.totals.write_modes == {"batch": 2}


def test_what_was_never_migrated_is_not_verified(state: StageState) -> None:
    state.window(MARCH, 100)
    state.census()
    report = state.report()
    assert (report.verdict, verdict_of(report)) == (Verdict.NOT_VERIFIED, Verdict.NOT_VERIFIED)
    assert blockers(report) == f"Partition 2024-03-01 was not migrated (100 rows): {MIGRATE_MARCH}, then {VERIFY_MARCH}"


def test_of_a_stage_with_several_tables_every_command_names_the_table(state: StageState) -> None:
    state.window(MARCH, 100)
    state.clean(month(4), 50)
    state.migrate(month(4), {"failed": 1})
    state.fail(month(4), Failure("a", "width", "rejected", "no number", permanent=True, value=None))
    state.census(missing=1, samples={"missing": ["a"]})
    state.spot_check(pair("a", ("width", "1", "2", False)))

    report = state.report(replace(FACTS, rows_outside=2, repeated=("b",)), table="orders")

    commands = [each for found in (*report.blockers, *report.cutover_blockers) for each in found.commands]
    assert len(commands) > 5
    assert [each for each in commands if " --stage staging --table orders" not in each] == []


def test_what_was_only_migrated_is_not_verified(state: StageState) -> None:
    state.window(MARCH, 100)
    state.migrate(MARCH, {"written": 100})
    state.census()
    report = state.report()
    assert report.verdict is Verdict.NOT_VERIFIED
    assert blockers(report) == f"Partition 2024-03-01 was migrated and not verified (100 rows): {VERIFY_MARCH}"


def test_a_mismatch_fails(state: StageState) -> None:
    state.window(MARCH, 100)
    state.migrate(MARCH, {"written": 100})
    found = [Mismatch("a", RowVerdict.MISMATCH, "width", "N:1", "N:2"), Mismatch("b", RowVerdict.MISSING)]
    state.verify(MARCH, {"match": 98, "mismatch": 1, "missing": 1}, found)
    state.census()
    report = state.report()
    assert (report.verdict, verdict_of(report)) == (Verdict.FAIL, Verdict.FAIL)
    assert blockers(report) == (
        "Partition 2024-03-01: 1 row mismatched, 1 row without an item: imgmig repair --apply --partition 2024-03-01 "
        "--stage staging"
    )
    assert report.totals.mismatches_by_attribute == {"width": 1}
    assert [(each.row_id, each.attribute) for _partition, each in report.mismatches] == [("a", "width"), ("b", None)]


@pytest.mark.parametrize(
    ("verdicts", "rows_in_window", "said"),
    [({"match": 98, "unverified": 2}, 100, "2 rows unverified"), ({"match": 98}, 100, "98 of 100 rows looked at")],
)
def test_what_was_not_looked_at_fails(
    state: StageState, verdicts: dict[str, int], rows_in_window: int, said: str
) -> None:
    state.window(MARCH, 100)
    state.migrate(MARCH, {"written": 100})
    state.verify(MARCH, verdicts, rows_in_window=rows_in_window)
    state.census()
    report = state.report()
    assert report.verdict is Verdict.FAIL
    assert blockers(report) == f"Partition 2024-03-01: {said}: {VERIFY_MARCH}"


def test_a_ledger_entry_fails_even_where_the_evidence_passes(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.fail(MARCH, Failure("a", "updated_at", "out_of_range", "no such day", permanent=True))
    state.census()
    report = state.report()
    assert (report.verdict, report.totals.in_ledger) == (Verdict.FAIL, 1)
    assert "1 row in the failure ledger, 1 of them rejected" in blockers(report)
    assert "imgmig retry-failures --partition 2024-03-01 --stage staging, then imgmig verify" in blockers(report)


def test_mismatches_of_void_evidence_are_not_reported(state: StageState) -> None:
    state.window(MARCH, 1)
    state.verify(MARCH, {"missing": 1}, [Mismatch("a", RowVerdict.MISSING)])
    state.migrate(MARCH, {"inserted": 1}, minute=VERIFIED + 5)
    report = state.report()
    assert (report.mismatches, report.totals.mismatches_found) == ([], 0)


def test_an_open_pass_voids_the_evidence(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.interrupt_a_pass(MARCH)
    state.census()
    report = state.report()
    assert report.verdict is Verdict.NOT_VERIFIED
    assert blockers(report).endswith(f"{MIGRATE_MARCH}, then {VERIFY_MARCH}")


def test_rows_that_changed_since_they_were_verified_are_not_verified(passed: StageState) -> None:

    report = passed.report(digest="2")

    assert report.verdict is Verdict.NOT_VERIFIED
    assert "because its rows have changed in the source since" in blockers(report)


def test_evidence_of_another_table_is_not_evidence(passed: StageState) -> None:
    facts = replace(FACTS, identity=replace(IDENTITY, target_created_at="2025-02-02T00:00:00+00:00"))
    report = passed.report(facts)
    assert report.verdict is Verdict.NOT_VERIFIED
    assert blockers(report).count("the target is another table of the same name, created since") == 2
    assert MIGRATE_MARCH in blockers(report), "the new table may hold nothing"
    assert passed.report(replace(FACTS, identity=None)).verdict is Verdict.PASS


def test_the_verifiers_rules_are_what_counts_of_the_code(passed: StageState) -> None:
    assert passed.report(replace(FACTS, identity=replace(IDENTITY, code="0.2.0"))).verdict is Verdict.PASS
    assert passed.report(replace(FACTS, identity=replace(IDENTITY, verifier="2"))).verdict is Verdict.NOT_VERIFIED


def at(**since_verified: float) -> RunFacts:
    began = datetime.fromisoformat(moment(VERIFIED))
    return replace(FACTS, counted_at=(began + timedelta(**since_verified)).isoformat())


def test_evidence_ages_in_a_week(passed: StageState) -> None:
    assert passed.report(at(days=7)).verdict is Verdict.PASS
    report = passed.report(at(days=7, minutes=11))
    assert report.verdict is Verdict.NOT_VERIFIED
    assert blockers(report) == (
        f"Partition 2024-03-01: the verification no longer counts, because it is more than 7 days old: {VERIFY_MARCH}\n"
        "The census no longer counts: it is more than 7 days old: imgmig verify --stage staging"
    )


def test_evidence_is_as_old_as_the_matches_that_it_took_over(passed: StageState) -> None:
    passed.verify(MARCH, {"match": 100}, matches_from="2024-12-20T00:00:00.000+00:00")
    assert "because it is more than 7 days old" in blockers(passed.report())


def test_a_fault_that_was_found_is_one_however_old(state: StageState) -> None:
    state.window(MARCH, 100)
    state.migrate(MARCH, {"written": 100})
    state.verify(MARCH, {"match": 99, "missing": 1}, [Mismatch("b", RowVerdict.MISSING)])
    report = state.report(at(days=30), digest="2")
    assert (report.verdict, len(report.mismatches)) == (Verdict.FAIL, 1)


def test_without_a_census_nothing_passes(state: StageState) -> None:
    state.clean(MARCH, 100)
    report = state.report()
    assert (report.verdict, verdict_of(report)) == (Verdict.NOT_VERIFIED, Verdict.PASS)
    assert blockers(report) == "There is no census of the whole table: imgmig verify --stage staging"


@pytest.mark.parametrize("fault", ["missing", "orphans", "differing", "unverified", "rows_outside", "repeated"])
def test_a_census_that_found_something_fails(state: StageState, fault: str) -> None:
    state.clean(MARCH, 100)
    state.census(**{fault: 3})
    report = state.report()
    assert report.verdict is Verdict.FAIL
    assert blockers(report).startswith("The census found 3 ")


def test_a_census_whose_counts_disagree_fails(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.census(rows_counted=101)
    report = state.report()
    assert report.verdict is Verdict.FAIL
    assert blockers(report).startswith(
        "The census found counts that disagree: 100 rows one by one, 101 by a plain count, 100 in the partitions"
    )


def test_rows_that_no_partition_holds_by_now_are_lacking_whatever_the_census_said(passed: StageState) -> None:
    report = passed.report(replace(FACTS, rows_outside=7))
    assert report.verdict is Verdict.NOT_VERIFIED
    assert blockers(report).startswith("7 rows are in no partition")


def test_empty_partitions_are_listed_as_runs_and_do_not_count(state: StageState) -> None:
    for number in (1, 2, 4, 6):
        state.window(month(number), 0)
        if number == 4:
            state.clean(MARCH, 100)
    state.verify(month(6), {"match": 0})
    state.windows.sort(key=lambda window: window.start)
    state.census()
    report = state.report()
    assert report.verdict is Verdict.PASS
    assert [each.partition for each in report.filled] == ["2024-03-01"]
    assert report.empty_ranges == [("2024-01-01", "2024-02-01"), ("2024-04-01", "2024-06-01")]


def test_a_partition_that_lost_all_its_rows_is_not_empty(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.rows[MARCH.partition] = 0
    assert verdict_of(state.report()) is Verdict.NOT_VERIFIED


def test_an_empty_source_proves_nothing(state: StageState) -> None:
    state.window(MARCH, 0)
    state.census()
    report = state.report()
    assert report.verdict is Verdict.NOT_VERIFIED
    assert "No partition holds a row" in blockers(report)


def test_a_partition_that_was_not_counted_is_an_error(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.rows.clear()
    with pytest.raises(KeyError):
        state.report()


@pytest.mark.parametrize("name", ["evidence.json", "passes/2025-01-02T101000.000Z-migrate-9.json"])
def test_a_torn_record_is_an_error_that_names_the_file(state: StageState, name: str) -> None:
    state.clean(MARCH, 100)
    assert state.store.read(f"{MARCH.partition}/{name}")
    state.store.write(f"{MARCH.partition}/{name}", b"{")
    with pytest.raises(StateError, match=r"2024-03-01/(evidence|passes).*cannot be read"):
        state.report()


def test_a_spot_check_is_summed_up_without_its_values(state: StageState) -> None:
    state.clean(MARCH, 100)
    state.spot_check(pair("a", ("width", "N:1", "N:1", True)), pair("b", has_item=False))
    found = state.report().spot_check
    assert found is not None
    assert (found.seed, found.drawn, found.differing, found.checked_at) == (7, 2, ("b",), moment(40))
    assert (found.drawn_at_random, found.bound, found.reviewed_at, found.issues) == (2, None, None, ())


FINE = ReviewedImage("a", True, "")
REVIEW = "imgmig spot-check --stage staging --review FILE"
DRAW_AND_REVIEW = f"imgmig spot-check --stage staging, then {REVIEW}"


def test_a_cutover_asks_for_a_review_without_an_issue_and_the_verdict_does_not(passed: StageState) -> None:

    def lacking_now(facts: RunFacts = FACTS) -> list[str]:
        report = passed.report(facts)
        assert (report.verdict, report.blockers) == (Verdict.PASS, ()) or facts is not FACTS
        return [each.sentence for each in report.cutover_blockers]

    assert lacking_now() == [f"There is no spot check: {DRAW_AND_REVIEW}"]
    passed.spot_check()
    assert lacking_now() == [f"The spot check drew no row: {DRAW_AND_REVIEW}"]
    passed.spot_check(pair("a", has_item=False))
    assert lacking_now() == [f"1 image of the spot check differed. Once fixed: {DRAW_AND_REVIEW}"]
    passed.spot_check(pair("a"))
    unreviewed = "The spot check was not reviewed. Mark every image on its page, and save the file"
    assert lacking_now() == [f"{unreviewed}: {REVIEW}"]
    passed.review(FINE, run_id="an older run")
    older = "The review is of an older sample. Mark every image of the last one"
    assert lacking_now() == [f"{older}: {REVIEW}"]
    passed.review(replace(FINE, fine=False))
    assert lacking_now() == [f"The review found 1 image with issues. Once fixed: {DRAW_AND_REVIEW}"]
    passed.review(FINE)
    assert lacking_now() == []
    found = passed.report().spot_check
    assert found is not None
    assert (found.reviewed_at, found.issues) == (moment(50), ())
    moved = replace(FACTS, identity=replace(IDENTITY, target="another table"))
    assert lacking_now(moved) == [f"The spot check no longer counts: it is of another target: {DRAW_AND_REVIEW}"]
