from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from imgmig_dagster.reporting.certificate import Certificate, certify, compare
from imgmig_dagster.reporting.certificate_file import (
    CertificateRefused,
    keep_certificate,
    kept_certificate,
    parse,
    serialize,
)
from imgmig_dagster.reporting.cutover import Cutover
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.reporting.published_mapping import published_mapping
from imgmig_dagster.reporting.recheckable import Recheck
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.source.published import PublishedSource
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.verification.review import ReviewedImage
from imgmig_dagster.verification.verification_result import Mismatch
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.reporting.stage_state import FACTS, MARCH, VERIFIED, StageState, month, pair


@pytest.fixture
def state(tmp_path: Path) -> StageState:
    """A stage that passes, but for the review of a person."""
    state = StageState(LocalStateStore(tmp_path / "staging"))
    state.clean(MARCH, 100)
    state.clean(month(4), 50)
    state.window(month(5), 0)
    state.census()
    return state


@pytest.fixture
def reviewed(state: StageState) -> StageState:
    """A stage that passes."""
    state.spot_check(pair("a"))
    state.review(ReviewedImage("a", fine=True, remark=""))
    return state


def certified(state: StageState) -> Certificate:
    return certify(state.report())


def test_a_stage_of_which_all_is_proved_and_reviewed_passes(reviewed: StageState) -> None:
    found = certified(reviewed)

    assert (found.verdict, found.cutover) == (Verdict.PASS, Cutover.READY)
    assert (found.blockers, found.cutover_blockers, found.stage) == ([], [], "staging")
    assert found.meaning.startswith(f"Every row that was visible in the source at {FACTS.counted_at} has its item")
    assert "every application write raises the item's version" in found.assumptions
    assert found.table
    assert found.table.shown == "images (public.images)"
    assert [(each.partition, each.rows, each.age_s) for each in found.partitions] == [
        ("2024-03-01", 100, 6_000.0),
        ("2024-04-01", 50, 6_000.0),
    ]
    assert found.empty == [("2024-05-01", "2024-05-01")]
    assert found.identity == FACTS.identity


def test_a_table_is_named_with_the_rows_that_are_meant_and_promises_nothing_that_it_lacks(state: StageState) -> None:
    images = certified(state)
    mapping = replace(IMAGE, name="orders", where="deleted_at IS NULL", version=None, modified=None)
    source = PublishedSource("shop", "orders", True, "UTC", {})
    facts = replace(FACTS, recheck=Recheck(published_mapping(mapping), source))

    found = certify(state.report(facts))

    assert found.table
    assert found.table.shown == "orders (shop.orders), rows where deleted_at IS NULL"
    assert found.meaning.startswith("Every row where deleted_at IS NULL that was visible in the source at ")
    assert not [each for each in found.assumptions if "version" in each or "clocks" in each]
    assert ("table", "images (public.images)", found.table.shown) in [
        (each.what, each.before, each.after) for each in compare(images, found)
    ]
    assert parse("file", serialize(found)).certificate == found


def break_off(state: StageState) -> None:
    state.write(MARCH.partition, "repair", VERIFIED, ended=False)


def differ(state: StageState) -> None:
    state.verify(MARCH, {"match": 99, "mismatch": 1}, [Mismatch("a", RowVerdict.MISMATCH, "width")])


def reject(state: StageState) -> None:
    state.fail(MARCH, Failure("a", "width", "c", "r", permanent=True))


@pytest.mark.parametrize(
    "fault",
    [
        break_off,
        differ,
        reject,
        lambda state: state.census(missing=1),
        lambda state: state.census(writes={}),
        lambda state: state.window(month(6), 7),
    ],
)
def test_anything_that_is_lacking_is_no_pass(reviewed: StageState, fault: Callable[[StageState], None]) -> None:
    assert certified(reviewed).verdict is Verdict.PASS
    fault(reviewed)
    found = certified(reviewed)
    assert found.verdict is not Verdict.PASS
    assert found.cutover is Cutover.NOT_READY
    assert found.blockers
    assert found.meaning.startswith("Nothing is certified")


def find_an_issue(state: StageState) -> None:
    state.spot_check(pair("a"))
    state.review(ReviewedImage("a", fine=False, remark=""))


@pytest.mark.parametrize("review", [lambda _state: None, find_an_issue])
def test_the_verdict_is_of_the_data_and_the_cutover_of_the_review_too(
    state: StageState, review: Callable[[StageState], None]
) -> None:
    review(state)
    found = certified(state)
    assert (found.verdict, found.cutover) == (Verdict.PASS, Cutover.NOT_READY)
    assert (found.blockers, len(found.cutover_blockers)) == ([], 1)
    assert found.meaning.startswith("Every row that was visible")


def test_it_says_why_evidence_does_not_count(reviewed: StageState) -> None:
    reviewed.write(MARCH.partition, "retry", VERIFIED)
    march = certified(reviewed).partitions[0]
    assert march.evidence
    assert march.invalidation
    assert (march.invalidation.reason.value, march.last_write and march.last_write.by) == ("written since", "retry")


def test_what_is_written_reads_back(reviewed: StageState) -> None:
    found = certified(reviewed)
    assert serialize(parse("c", serialize(found)).certificate) == serialize(found)


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'"verdict": "FAIL"', b'"verdict": "PASS"'),
        (b'"NOT READY"', b'"READY"'),
        (b'"rows": 100', b'"rows": 101'),
        (b'"width', b'"height'),
    ],
)
def test_an_altered_certificate_is_refused(reviewed: StageState, before: bytes, after: bytes) -> None:
    differ(reviewed)
    reject(reviewed)
    content = serialize(replace(certified(reviewed), settings={"width": "1"}))
    assert before in content
    with pytest.raises(CertificateRefused, match="c was altered since it was written"):
        parse("c", content.replace(before, after, 1))


def test_one_of_an_earlier_format_is_refused_with_what_to_type(reviewed: StageState) -> None:
    content = serialize(replace(certified(reviewed), format=1))
    with pytest.raises(CertificateRefused, match=r"c is a certificate of format 1.*imgmig report --stage staging$"):
        parse("c", content)


@pytest.mark.parametrize("content", [b"", b"[]", b"{}", b'{"sha256": 1}', b'"text"', b"null"])
def test_what_is_no_certificate_is_refused(content: bytes) -> None:
    with pytest.raises(CertificateRefused, match=r"^c "):
        parse("c", content)


def test_the_last_two_are_found_by_name(reviewed: StageState) -> None:
    with pytest.raises(CertificateRefused, match="there is no latest certificate"):
        kept_certificate(reviewed.store, "latest")
    first = certified(reviewed)
    second = replace(first, made_at="2025-01-03T00:00:00.000+00:00", run_id="second")
    keep_certificate(reviewed.store, first)
    with pytest.raises(CertificateRefused, match="there is no previous certificate"):
        kept_certificate(reviewed.store, "previous")
    keep_certificate(reviewed.store, second)
    assert parse(*kept_certificate(reviewed.store, "previous")).certificate.run_id == "report-run"
    assert parse(*kept_certificate(reviewed.store, "latest")).certificate.run_id == "second"


def changes(before: Certificate, after: Certificate) -> set[tuple[str, str]]:
    return {(each.where, each.what) for each in compare(before, after)}


def test_two_certificates_of_the_same_evidence_do_not_differ(reviewed: StageState) -> None:
    later = replace(FACTS, made_at="2025-01-02T13:00:00.000+00:00", counted_at="2025-01-02T13:00:00.000+00:00")
    assert changes(certified(reviewed), certify(reviewed.report(later))) == set()


def test_a_corruption_and_what_it_changes_are_named(reviewed: StageState) -> None:
    before = parse("before", serialize(certified(reviewed))).certificate
    reviewed.verify(
        MARCH, {"match": 99, "mismatch": 1}, [Mismatch("a", RowVerdict.MISMATCH, "width")], minute=VERIFIED + 1
    )
    reject(reviewed)
    reviewed.census(differing=1)
    reviewed.clean(month(6), 7)

    found = compare(before, parse("after", serialize(certified(reviewed))).certificate)

    assert {(each.where, each.what, each.before, each.after) for each in found} >= {
        ("certificate", "verdict", "PASS", "FAIL"),
        ("certificate", "cutover", "READY", "NOT READY"),
        ("census", "differing", 0, 1),
        ("ledger", "rows", 0, 1),
        ("partition 2024-03-01", "verdict", "PASS", "FAIL"),
        ("partition 2024-03-01", "match", 100, 99),
        ("partition 2024-03-01", "mismatch", None, 1),
        ("partition 2024-06-01", "rows", None, 7),
    }
    assert ("partition 2024-03-01", "verified at") in {(each.where, each.what) for each in found}
    assert not any(each.where == "partition 2024-04-01" for each in found)
