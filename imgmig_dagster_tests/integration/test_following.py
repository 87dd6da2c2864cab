"""Evidence is kept true by looking at what changed, and at that alone; a certificate brings all of it to one moment."""

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from typing import Any

import orjson
import pytest

from imgmig_dagster.batches import batched
from imgmig_dagster.errors import TargetUnavailable
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.rules.invalidation import Reason
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.steps.certify import Certified, certify
from imgmig_dagster.verification.evidence import why_invalid
from imgmig_dagster.verification.row_parts import EvidencePartStore, ids_at_fault
from imgmig_dagster.verification.verification_result import Mismatch, VerificationResult
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import Action, Call, FaultProxy, Forward, Reply, reset_before

ROWS = 2_300
SCATTERED = range(7, ROWS, 100)
# What `Source.update` sets.
NOW = "2024-06-01T00:00:00.000Z"


def write_both_sides(migration: Migration, numbers: Iterable[int], width: int) -> None:
    for number in numbers:
        migration.source.update(number, width=width)
        migration.target.put(item_of(number, width={"N": str(width)}, updatedAt={"S": NOW}))


def before_each_look(do: Callable[[], None]) -> Action:
    async def respond(call: Call, forward: Forward) -> Reply:
        await asyncio.to_thread(do)
        return await forward(call.body)

    return respond


def verified(migration: Migration, rows: int = ROWS) -> VerificationResult:
    migration.source.insert(image(number) for number in range(rows))
    migration.migrate()
    result = migration.verify()
    assert result.passed
    return result


def evidence(migration: Migration) -> VerificationResult:
    found = load_record(migration.state, "2024-03-01/evidence.json", VerificationResult)
    assert found is not None
    return found


def certified(migration: Migration, url: str | None = None) -> Certified:
    run = migration.run(url, run_id="report-1")
    with run.source:
        return run.look(lambda work: certify(work, [migration.window], lambda _line: None))


class TestFollowing:
    def test_of_scattered_changes_only_the_rows_that_changed_are_looked_at(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        before = verified(migration)
        write_both_sides(migration, SCATTERED, 9)

        result = migration.verify(proxy.url, only_failed=True)

        assert result.passed
        assert proxy.looked_up == [row_id(number) for number in SCATTERED]
        assert (result.match, result.rows_in_window) == (ROWS, ROWS)
        assert result.digest != before.digest
        assert result.items_digest == result.digest

    def test_a_corruption_among_what_changed_is_named_with_its_segment(self, migration: Migration) -> None:
        verified(migration)
        write_both_sides(migration, SCATTERED, 9)
        migration.target.put(item_of(1_107, width={"N": "2"}, updatedAt={"S": NOW}))

        result = migration.verify(only_failed=True)

        assert [found.label for found in result.mismatches] == [f"{row_id(1_107)}: width"]
        assert (result.mismatches[0].segment or "").endswith(f"/{row_id(1_999)}")
        assert (result.match, result.mismatch) == (ROWS - 1, 1)

    def test_a_row_that_came_behind_the_last_one_and_has_no_item_is_missing(self, migration: Migration) -> None:
        verified(migration, 20)
        migration.source.insert([image(500), image(21)])
        migration.target.put(item_of(500))

        result = migration.verify(only_failed=True)

        assert [(found.row_id, found.verdict) for found in result.mismatches] == [(row_id(21), RowVerdict.MISSING)]
        assert (result.match, result.missing, result.rows_in_window) == (21, 1, 22)

    def test_an_item_that_outlives_its_row_is_named_until_it_is_gone(self, migration: Migration) -> None:
        verified(migration, 20)
        migration.source.delete(3)
        migration.source.delete(4)
        migration.target.delete(4)

        result = migration.verify(only_failed=True)

        assert not result.passed
        assert (result.orphans, result.match, result.rows_in_window) == ([row_id(3)], 18, 18)
        assert migration.verify(only_failed=True).orphans == [row_id(3)], "nothing has changed"
        migration.target.delete(3)
        assert migration.verify(only_failed=True).passed

    def test_a_row_that_moves_within_the_window_is_one_row(self, migration: Migration) -> None:
        verified(migration, 20)
        migration.source.update(3, created_at="2024-03-30T00:00:00Z")
        migration.target.put(item_of(3, createdAt={"S": "2024-03-30T00:00:00.000Z"}, updatedAt={"S": NOW}))

        result = migration.verify(only_failed=True)

        assert (result.passed, result.match, result.rows_in_window) == (True, 20, 20)

    def test_what_is_kept_of_a_row_that_was_looked_at_again_is_what_was_seen_then(self, migration: Migration) -> None:
        verified(migration, 20)
        write_both_sides(migration, [3], 1)
        migration.verify(only_failed=True)
        migration.source.update(3, width=640)

        result = migration.verify(only_failed=True)

        assert [found.label for found in result.mismatches] == [f"{row_id(3)}: width"]

    def test_files_that_no_evidence_names_are_removed(self, migration: Migration) -> None:
        verified(migration)
        migration.source.update(3, width=1)
        migration.verify(only_failed=True)

        store = EvidencePartStore(migration.state, "2024-03-01", "another")
        index = store.index(evidence(migration).segments)
        kept = {segment.file for segment in index.segments} | {evidence(migration).segments}
        kept |= {f"{index.segments[0].file.removesuffix('.json')}-faults.jsonl"}
        assert set(migration.state.list("2024-03-01/segments")) == kept
        assert sum(len(store.rows(segment).digests()) for segment in index.segments) == ROWS

    def test_evidence_whose_segments_are_gone_is_made_again(self, migration: Migration, proxy: FaultProxy) -> None:
        result = verified(migration, 20)
        earlier = replace(result, segments="", as_of="", mismatches=[])
        migration.state.write("2024-03-01/evidence.json", orjson.dumps(earlier))

        assert migration.verify(proxy.url, only_failed=True).passed
        assert len(proxy.looked_up) == 20


class TestCertifying:
    def test_a_quiet_table_costs_one_round_and_no_read_of_the_target(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        verified(migration, 20)

        found = certified(migration, proxy.url)

        assert (found.rounds.rounds, found.rounds.looked_again, found.rounds.moving) == (1, 0, [])
        assert found.digests == {"2024-03-01": evidence(migration).digest}
        assert proxy.looked_up == []

    def test_what_changed_since_the_verification_is_looked_at(self, migration: Migration, proxy: FaultProxy) -> None:
        verified(migration, 200)
        write_both_sides(migration, [7], 7)
        migration.source.update(8, width=8)

        certified(migration, proxy.url)

        assert proxy.looked_up == [row_id(7), row_id(8)]
        assert (evidence(migration).match, evidence(migration).mismatch) == (199, 1)

    def test_a_row_that_never_stops_changing_is_named_as_moving(self, migration: Migration, proxy: FaultProxy) -> None:
        """The application writes both sides between the snapshot and the look, each time."""
        verified(migration, 20)
        write_both_sides(migration, [7], 1)
        widths = iter(range(2, 1_000))
        proxy.inject(before_each_look(lambda: write_both_sides(migration, [7], next(widths))), "BatchGetItem", 1_000)

        found = certified(migration, proxy.url)

        assert evidence(migration).passed, "seen equal each time, after its last change before the snapshot"
        assert list(found.rounds.moving) == [row_id(7)]
        assert found.rounds.rounds > 1
        assert found.rounds.behind is None

    def test_many_rows_that_never_stop_changing_are_more_than_can_be_followed(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        many = range(120)
        verified(migration, 200)
        write_both_sides(migration, many, 1)
        widths, turn = iter(range(2, 1_000)), threading.Lock()

        def write() -> None:
            with turn:
                width = next(widths)
                migration.source.execute("UPDATE {t} SET width = %s WHERE size_bytes < 1120", width)
                items = [item_of(number, width={"N": str(width)}, updatedAt={"S": NOW}) for number in many]
                for some in batched(items, 25):
                    puts = [{"PutRequest": {"Item": item}} for item in some]
                    migration.target.client.batch_write_item(RequestItems={migration.target.name: puts})

        proxy.inject(before_each_look(write), "BatchGetItem", 1_000)

        found = certified(migration, proxy.url)

        assert found.rounds.behind is not None
        assert "faster than it can be followed" in found.rounds.behind

    def test_partitions_without_evidence_are_counted_and_no_more(self, migration: Migration) -> None:
        migration.source.insert([image(1), image(2, created_at="2019-01-01Z")])

        found = certified(migration)

        assert (found.digests, found.counts.rows_per_window, found.counts.outside.rows) == ({}, {"2024-03-01": 1}, 1)

    def test_evidence_that_our_own_write_invalidated_is_not_followed(self, migration: Migration) -> None:
        verified(migration, 20)
        migration.source.update(7, width=7)
        migration.migrate(run_id="run-2")

        assert certified(migration).digests == {}

    def test_a_row_that_did_not_match_yet_and_is_deleted_leaves_no_item_unseen(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        """Its item is behind in the first looks; the row goes, and the item stays."""
        verified(migration, 20)
        migration.source.update(3, width=1)
        looks = iter(range(1_000))

        def delete_late() -> None:
            if next(looks) == 1:
                migration.source.delete(3)

        proxy.inject(before_each_look(delete_late), "BatchGetItem", 1_000)

        certified(migration, proxy.url)

        assert evidence(migration).orphans == [row_id(3)]
        assert not evidence(migration).passed
        assert not evidence(migration).recheck_unfinished

    def test_a_fault_is_judged_in_the_last_round_and_costs_no_more(self, migration: Migration) -> None:
        verified(migration, 20)
        migration.source.update(3, width=1)

        found = certified(migration)

        assert found.rounds.rounds == 4
        assert found.rounds.behind is None
        assert [found.label for found in load_lines(migration.state, "2024-03-01/mismatches.jsonl", Mismatch)] == [
            f"{row_id(3)}: updatedAt",
            f"{row_id(3)}: width",
        ]

    def test_what_a_report_that_broke_off_has_left_is_no_verdict_until_the_next_one(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        verified(migration, 20)
        migration.source.update(3, width=1)
        proxy.inject(reset_before, "BatchGetItem", 1_000, when=lambda _call: len(proxy.of("BatchGetItem")) > 2)
        proxy.inject(reset_before, "DescribeTable", 1_000, when=lambda _call: len(proxy.of("BatchGetItem")) > 2)
        with pytest.raises(TargetUnavailable):
            certified(migration, proxy.url)
        with migration.source.reader() as reader:
            left, today = evidence(migration), migration.today(reader)
        assert left.recheck_unfinished
        invalidation = why_invalid(migration.state, migration.window, left, today, left.rows_in_window, None)
        assert invalidation is not None
        assert invalidation.reason is Reason.RECHECK_UNFINISHED

        migration.target.put(item_of(3, width={"N": "1"}, updatedAt={"S": NOW}))
        certified(migration)

        assert evidence(migration).passed
        assert not evidence(migration).recheck_unfinished


class TestAnotherVerification:
    def test_an_item_that_outlived_its_row_stays_named(self, migration: Migration) -> None:
        verified(migration, 20)
        migration.source.delete(3)
        assert migration.verify(only_failed=True).orphans == [row_id(3)]

        assert migration.verify().orphans == [row_id(3)]

    def test_rows_that_the_evidence_before_it_knew_are_looked_for(self, migration: Migration) -> None:
        verified(migration, 20)
        migration.source.delete(3)
        migration.source.delete(4)
        migration.target.delete(4)

        assert migration.verify().orphans == [row_id(3)]

    def test_a_row_that_is_deleted_after_it_was_seen_leaves_no_item_unseen(self, migration: Migration) -> None:
        migration.source.insert(image(number) for number in range(150))
        migration.migrate()
        run = migration.verification(page_size=100)
        pages = run.source.pages

        def read(*arguments: Any) -> Iterator[Any]:
            for page in pages(*arguments):
                yield page
                migration.source.delete(3)

        run.source.pages = read  # type: ignore[method-assign,assignment]
        with run.source:
            result = run.verify()

        assert (result.orphans, result.match, result.passed) == ([row_id(3)], 149, False)


def test_more_faults_than_a_person_reads_are_all_known_to_a_repair(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(10_010))

    result = migration.verify()

    assert (result.missing, result.mismatches_found, len(result.mismatches)) == (10_010, 10_010, 10_000)
    assert ids_at_fault(migration.state, evidence(migration)) == [row_id(number) for number in range(10_010)]
