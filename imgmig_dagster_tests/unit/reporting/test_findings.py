"""What a command says of the report that stands in the state."""

import orjson
import pytest

from imgmig_dagster.cli.command_results import of_report, of_review, of_verification
from imgmig_dagster.errors import StateError, TargetUnavailable
from imgmig_dagster.reporting.render import publish
from imgmig_dagster.verification.review import ReviewedImage
from imgmig_dagster_tests.unit.reporting.stage_state import MARCH, StageState, review

AWAY = TargetUnavailable("DynamoDB is away")


@pytest.fixture
def state(passed: StageState) -> StageState:
    publish(passed.store, passed.report())
    return passed


def test_a_review_counts_what_the_table_holds() -> None:
    found = of_review(review(ReviewedImage("a", True, "")), "rows", "--stage staging --table orders")
    assert found.lines == [
        "Recorded: 1 rows reviewed, 0 with an issue. Next: imgmig report --stage staging --table orders"
    ]


def test_the_document_is_the_whole_report(state: StageState) -> None:
    found = of_report(state.store, [])
    written = state.store.read("reports/summary.json")
    assert written is not None
    assert orjson.loads(orjson.dumps(found.document)) == {**orjson.loads(written.content), "errors": []}
    assert (found.exit_code, found.lines[0]) == (
        0,
        f"Verdict: PASS. Cutover: NOT READY. Report: {state.store.locate('reports')}/summary.html",
    )


def test_a_report_that_cannot_be_read_is_no_report(state: StageState) -> None:
    state.store.write("reports/summary.json", b'{"verdict": "PASS"}')
    with pytest.raises(StateError, match="cannot be read"):
        of_report(state.store, [])


def test_what_ended_a_command_is_told_although_the_report_before_it_cannot_be_read(state: StageState) -> None:
    state.store.write("reports/summary.json", b'{"verdict": "PASS"}')
    found = of_verification(state.store, [MARCH.partition], [AWAY], 1.0, whole_table=True)
    assert (found.exit_code, found.document["verdict"], found.document["cutover"]) == (3, None, None)
    assert found.lines[-1] == "error: DynamoDB is away"


def test_a_verification_that_broke_off_says_no_pass_whatever_the_evidence_from_before_says(state: StageState) -> None:
    found = of_verification(state.store, [MARCH.partition], [AWAY], 1.0, whole_table=True)
    assert (found.exit_code, found.document["verdict"], found.document["cutover"]) == (3, "NOT VERIFIED", "NOT READY")
    assert not any("PASS" in line for line in found.lines)


def test_what_was_verified_sums_up(state: StageState) -> None:
    found = of_verification(state.store, [MARCH.partition], [], 1.0, whole_table=True)
    assert (found.exit_code, found.document["verdicts"]["match"]) == (0, 100)
    assert "Verified 100 rows in 1.0 s: 100 match" in found.lines


def test_a_verification_tells_both_words(state: StageState) -> None:
    found = of_verification(state.store, [MARCH.partition], [], 1.0, whole_table=True)
    assert (found.document["verdict"], found.document["cutover"]) == ("PASS", "NOT READY")
    assert any(line.startswith("Verdict: PASS. Cutover: NOT READY.") for line in found.lines)
