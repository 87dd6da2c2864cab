"""A verification that was interrupted is resumed, and what did not match is looked at again."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from imgmig_dagster.errors import StateChanged, TargetUnavailable
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.verification.verification_result import Mismatch, VerificationResult
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, reset_before

FOREVER = 1_000_000
ROWS = 1_300


def migrated(migration: Migration, rows: int = ROWS) -> None:
    migration.source.insert(image(number) for number in range(rows))
    migration.migrate()


def interrupted(migration: Migration, proxy: FaultProxy) -> None:
    """Let a verification die once its first thousand rows are in a checkpoint."""
    proxy.inject(reset_before, "BatchGetItem", FOREVER, when=lambda _call: len(proxy.of("BatchGetItem")) > 12)
    proxy.inject(reset_before, "DescribeTable", FOREVER, when=lambda _call: len(proxy.of("BatchGetItem")) > 12)
    with pytest.raises(TargetUnavailable):
        migration.verify(proxy.url, page_size=100)
    assert migration.state.read("2024-03-01/verification-progress.json") is not None
    assert migration.state.read("2024-03-01/evidence.json") is None
    proxy.clear()


def test_an_interrupted_verification_resumes_behind_its_checkpoint(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration)
    migration.target.put(item_of(3, width={"N": "1"}))
    interrupted(migration, proxy)

    result = migration.verify(proxy.url, page_size=100)

    assert (result.resumes, result.looked_at, result.rows_in_window) == (1, ROWS, ROWS)
    assert [found.label for found in result.mismatches] == [f"{row_id(3)}: width"]
    assert proxy.looked_up == [row_id(number) for number in range(1_000, ROWS)]
    assert migration.state.list("2024-03-01/verified") == []
    assert migration.state.read("2024-03-01/verification-progress.json") is None


def test_what_was_verified_before_a_pass_wrote_is_verified_again(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration)
    interrupted(migration, proxy)
    migration.target.put(item_of(7, width={"N": "1"}))
    migration.migrate(run_id="run-2")

    result = migration.verify(proxy.url)

    assert (result.resumes, result.looked_at) == (0, ROWS)
    assert len(proxy.looked_up) == ROWS


def test_rows_that_changed_since_the_interruption_are_verified_again(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration)
    interrupted(migration, proxy)
    migration.source.update(7, width=7)

    result = migration.verify(proxy.url, page_size=100)

    assert (result.resumes, result.match, result.mismatch) == (1, ROWS - 1, 1)
    assert proxy.looked_up == [row_id(number) for number in (7, *range(1_000, ROWS))]


def test_a_damaged_checkpoint_begins_the_verification_again(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration)
    interrupted(migration, proxy)
    migration.state.write("2024-03-01/verification-progress.json", b"torn")

    assert (migration.verify().resumes, migration.verify().passed) == (0, True)


def test_the_evidence_and_the_values_are_written_by_the_verification_itself(migration: Migration) -> None:
    migrated(migration, 10)
    migration.target.put(item_of(3, width={"N": "1"}))

    result = migration.verify()

    evidence = load_record(migration.state, "2024-03-01/evidence.json", VerificationResult)
    assert evidence is not None
    assert evidence.verdicts == result.verdicts
    assert evidence.mismatches == []
    assert load_lines(migration.state, "2024-03-01/mismatches.jsonl", Mismatch) == result.mismatches


class TestOnlyFailed:
    def test_only_the_rows_that_did_not_match_are_looked_at(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 50)
        migration.target.put(item_of(3, width={"N": "1"}, height={"N": "2"}))
        migration.target.put(item_of(4, mimeType={"S": "x"}))
        migration.target.delete(5)
        first = migration.verify()
        migration.target.put(item_of(3))
        migration.target.put(item_of(5))

        result = migration.verify(proxy.url, only_failed=True)

        assert proxy.looked_up == [row_id(3), row_id(4), row_id(5)]
        assert result.verdicts == {"match": 49, "mismatch": 1, "missing": 0, "unverified": 0}
        assert [found.label for found in result.mismatches] == [f"{row_id(4)}: mimeType"]
        assert (result.mismatches_found, result.by_attribute) == (1, {"mimeType": 1})
        assert result.started_at > first.finished_at
        migration.target.put(item_of(4))
        assert migration.verify(only_failed=True).passed

    def test_rows_that_have_changed_in_the_source_are_looked_at_too(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        migrated(migration, 50)
        migration.target.delete(5)
        migration.verify()
        migration.source.update(7, width=7)

        result = migration.verify(proxy.url, only_failed=True)

        assert proxy.looked_up == [row_id(5), row_id(7)]
        assert (result.verdicts["mismatch"], result.verdicts["missing"]) == (1, 1)

    def test_everything_is_looked_at_where_a_pass_wrote_since(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 50)
        migration.target.delete(5)
        migration.verify()
        migration.migrate(run_id="run-2")

        assert migration.verify(proxy.url, only_failed=True).passed
        assert len(proxy.looked_up) == 50

    def test_everything_is_looked_at_without_evidence(self, migration: Migration) -> None:
        migrated(migration, 50)

        assert migration.verify(only_failed=True).looked_at == 50

    def test_evidence_that_another_run_wrote_in_between_is_not_replaced(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        """As where the lock was lost, and the write that was checked before arrives after it."""
        migrated(migration, 50)
        migration.target.delete(5)
        migration.verify()
        held = proxy.hold(1, "BatchGetItem")

        with ThreadPoolExecutor(1) as pool:
            verification = pool.submit(migration.verify, proxy.url, only_failed=True)
            held.wait_for_all()
            migration.state.write("2024-03-01/evidence.json", b"a successor's")
            held.let_in()
            with pytest.raises(StateChanged):
                verification.result()

        evidence = migration.state.read("2024-03-01/evidence.json")
        assert evidence is not None
        assert evidence.content == b"a successor's"
