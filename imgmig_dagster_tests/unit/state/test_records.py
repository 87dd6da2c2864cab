"""Results as files, read back as what they were or not at all."""

from dataclasses import replace
from pathlib import Path

import pytest

from imgmig_dagster.errors import StateError
from imgmig_dagster.mapping.transform import Rejection
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines, load_record, save_lines, save_record
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.steps.dry_run import MigrationPlan
from imgmig_dagster.verification.verification_result import Identity, Mismatch, VerificationResult

IDENTITY = Identity("m", "s", "t", "2024", "1", "0.1.0")
RESULT = VerificationResult(
    partition="2024-03-01",
    run_id="run",
    window="[a, b)",
    verdicts={"match": 2, "mismatch": 1, "missing": 0, "unverified": 0},
    rows_in_window=3,
    late=0,
    left_window=0,
    by_attribute={"width": 1},
    mismatches=[Mismatch("a", RowVerdict.MISMATCH, "width", "N:1", "NULL"), Mismatch("b", RowVerdict.MISSING)],
    mismatches_found=2,
    agreed_on_recheck=0,
    inexact_timestamps=0,
    undeclared={},
    digest="-123456789012345678901234567890",
    watermark=None,
    identity=IDENTITY,
    started_at="x",
    finished_at="y",
    duration_s=1.5,
)
PLAN = MigrationPlan(
    partition="p",
    rows=3,
    would_write=1,
    identical=1,
    would_judge=0,
    rejected=1,
    unread=0,
    rejections=[Rejection("a", None, "c", "r")],
    rejected_by_code={"c": 1},
    write_units=5,
    rate=1000.0,
    took_s=0.1,
)


@pytest.mark.parametrize("record", [RESULT, PLAN, IDENTITY])
def test_a_record_comes_back_as_it_was(state: LocalStateStore, record: object) -> None:
    save_record(state, "p/record.json", record)

    assert load_record(state, "p/record.json", type(record)) == record


def test_no_file_is_no_record(state: LocalStateStore) -> None:
    assert load_record(state, names.evidence("p"), VerificationResult) is None
    assert load_lines(state, names.mismatches("p"), Mismatch) == []


@pytest.mark.parametrize("content", [b"", b"{", b"null", b"{}", b"[1]"])
def test_an_unreadable_record_is_an_error_and_not_absent(state: LocalStateStore, content: bytes) -> None:
    save_record(state, "p/record.json", RESULT)
    Path(state.locate("p/record.json")).write_bytes(content)

    with pytest.raises(StateError, match="cannot be read") as caught:
        load_record(state, "p/record.json", VerificationResult)
    assert state.locate("p/record.json") in str(caught.value)


def test_lines_come_back_as_they_were(state: LocalStateStore) -> None:
    mismatches = [replace(RESULT.mismatches[0], found='S:"a\nb\u2028c"'), RESULT.mismatches[1]]

    save_lines(state, "p/mismatches.jsonl", mismatches)

    assert load_lines(state, "p/mismatches.jsonl", Mismatch) == mismatches


def test_torn_lines_are_an_error_that_shows_no_values(state: LocalStateStore) -> None:
    save_lines(state, "p/mismatches.jsonl", [Mismatch("a", RowVerdict.MISMATCH, "userId", "S:private", "absent")])
    path = Path(state.locate("p/mismatches.jsonl"))
    path.write_bytes(path.read_bytes().replace(b'"verdict"', b'"verdikt"'))

    with pytest.raises(StateError, match="cannot be read") as caught:
        load_lines(state, "p/mismatches.jsonl", Mismatch)
    assert "private" not in str(caught.value)


def test_each_file_of_a_partition_has_a_name_of_its_own() -> None:
    own = {names.inventory("p"), names.plan("p"), names.evidence("p"), names.mismatches("p")}

    assert len(own) == 4
    assert all(name.startswith("p/") for name in own)
