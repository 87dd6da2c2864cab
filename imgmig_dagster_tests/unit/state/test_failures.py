"""The failure ledger: one entry per key, and never mistaken for an empty one."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from imgmig_dagster.errors import CheckpointRefused
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.store import LocalStateStore


def failure(row_id: str, code: str = "InternalServerError", permanent: bool = False) -> Failure:
    return Failure(row_id, None, code, "retries used up", permanent)


@pytest.fixture
def ledger(state: LocalStateStore) -> FailureLedger:
    return FailureLedger(state, "2024-03-01")


def test_a_ledger_that_was_never_written_is_empty(ledger: FailureLedger) -> None:
    assert ledger.entries() == {}


def test_failures_are_kept_by_key_with_the_latest_cause(ledger: FailureLedger) -> None:
    ledger.record([failure("b"), failure("a")])
    ledger.record([failure("a", "ValidationException", permanent=True), failure("c")])

    assert list(ledger.entries()) == ["a", "b", "c"]
    assert ledger.entries()["a"] == failure("a", "ValidationException", permanent=True)


def test_resolved_rows_are_struck_out_and_the_others_stay(ledger: FailureLedger) -> None:
    ledger.record([failure(row_id) for row_id in "abcd"])

    ledger.record([], resolved_ids=iter(["a", "c", "never failed"]))

    assert list(ledger.entries()) == ["b", "d"]


def test_a_key_that_fails_again_while_it_is_resolved_stays(ledger: FailureLedger) -> None:
    ledger.record([failure("a")])

    ledger.record([failure("a", "ThrottlingException")], resolved_ids=["a"])

    assert ledger.entries()["a"].code == "ThrottlingException"


def test_the_last_resolved_row_leaves_an_empty_ledger(ledger: FailureLedger) -> None:
    ledger.record([failure("a")])
    ledger.record([], resolved_ids=["a"])

    assert ledger.entries() == {}


def test_entries_of_two_runs_at_once_are_all_kept(state: LocalStateStore) -> None:
    """As when an orphan of a killed run goes on beside its successor on S3, where no lock dies with a process."""

    def record(run: int) -> None:
        for number in range(20):
            FailureLedger(state, "2024-03-01").record([failure(f"{run}-{number}")])

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(record, range(4)))

    assert len(FailureLedger(state, "2024-03-01").entries()) == 80


def test_recording_nothing_writes_nothing(ledger: FailureLedger, state: LocalStateStore) -> None:
    ledger.record([], resolved_ids=["a"])

    assert state.read(ledger.name) is None


@pytest.mark.parametrize(
    "content", [b"", b"{", b"[]", b"{}", b"null", b'{"failures": [{"row_id": "a"}]}', b'{"failures": 7}', b"\xff"]
)
def test_an_unreadable_ledger_is_refused_with_the_way_out(
    ledger: FailureLedger, state: LocalStateStore, content: bytes
) -> None:
    ledger.record([failure("a")])
    Path(state.locate(ledger.name)).write_bytes(content)

    with pytest.raises(CheckpointRefused, match=r"cannot be read\. Move it away") as caught:
        ledger.entries()
    assert "add --partition 2024-03-01 to imgmig migrate" in str(caught.value)
    with pytest.raises(CheckpointRefused):
        ledger.record([failure("b")])
    assert Path(state.locate(ledger.name)).read_bytes() == content


def test_ten_thousand_entries_are_updated_in_no_time(ledger: FailureLedger) -> None:
    ledger.record([failure(str(number)) for number in range(10_000)])

    ledger.record([], resolved_ids=[str(number) for number in range(1_000)])

    assert len(ledger.entries()) == 9_000
