"""What a pass does about rows that fail, when too many do, and when it must not begin or go on."""

import pytest

from imgmig_dagster.errors import PartitionBusy, StateChanged, TargetRefused, TooManyFailures
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import (
    Migration,
    Target,
    image,
    item_of,
    month,
    row_id,
)
from imgmig_dagster_tests.conformance.outcomes import by_key, written
from imgmig_dagster_tests.fault_proxy import (
    NEW_ITEMS,
    FaultProxy,
    error,
    holds,
    reset_after,
)

FOREVER = 100_000
MODES = list(WriteMode)


class TestRetryFailures:
    @pytest.mark.parametrize("write_mode", MODES)
    def test_exactly_the_ledgers_keys_are_taken_up_and_struck_out(
        self, migration: Migration, proxy: FaultProxy, write_mode: WriteMode
    ) -> None:
        migration.source.insert(image(number) for number in range(50))
        bad = {row_id(number) for number in (7, 30)}
        operation = "BatchWriteItem" if write_mode is WriteMode.BATCH else NEW_ITEMS
        proxy.inject(
            error("InternalServerError", 500), operation, FOREVER, when=lambda call: not bad.isdisjoint(call.ids)
        )
        first = migration.migrate(proxy.url, write_mode=write_mode)
        failed = set(migration.ledger)
        assert bad <= failed
        assert first.outcomes["failed"] == len(failed)
        assert {(entry.code, entry.permanent) for entry in migration.ledger.values()} == {
            ("InternalServerError", False)
        }
        proxy.clear()

        result = migration.retry_failures(proxy.url, write_mode=write_mode)

        assert {identifier for call in proxy.calls for identifier in call.ids} == failed
        assert written(result) == len(failed)
        assert result.every_row_is_accounted_for
        assert migration.ledger == {}
        assert migration.target.items() == by_key([item_of(number) for number in range(50)])
        assert migration.verify().passed

    def test_rows_that_fail_again_stay_and_rows_that_are_gone_do_not(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        migration.source.insert(
            [
                image(1, updated_at="infinity"),
                image(2, updated_at="infinity"),
                image(3, mime_type=None),
                image(4, mime_type=None),
            ]
        )
        assert migration.migrate().outcomes == {"rejected": 4}
        migration.source.update(1, updated_at="2024-05-06T07:08:09.123456Z")
        migration.source.delete(3)
        proxy.inject(reset_after, NEW_ITEMS)

        result = migration.retry_failures(proxy.url)

        assert result.outcomes == {"identical": 1, "rejected": 2, "vanished": 1}
        assert result.every_row_is_accounted_for
        assert migration.ledger.keys() == {row_id(2), row_id(4)}
        assert migration.target.items() == by_key([item_of(1)])

    def test_without_failures_nothing_is_asked_or_written(self, migration: Migration, proxy: FaultProxy) -> None:
        migration.source.insert([image(1)])

        assert migration.retry_failures(proxy.url).outcomes == {}
        assert proxy.calls == []

    def test_a_pass_that_finds_a_failed_row_in_order_strikes_it_out(self, migration: Migration) -> None:
        migration.source.insert([image(1), image(2, mime_type=None)])
        migration.migrate()
        migration.source.update(2, mime_type="image/png")

        migration.migrate()

        assert migration.ledger == {}


class TestTooManyFailures:
    @pytest.mark.parametrize("write_mode", MODES)
    def test_a_pass_in_which_everything_fails_stops_itself(
        self, migration: Migration, proxy: FaultProxy, write_mode: WriteMode
    ) -> None:
        migration.source.insert(image(number) for number in range(800))
        proxy.inject(error("ValidationException"), times=FOREVER, when=lambda call: call in proxy.writes)

        with pytest.raises(TooManyFailures, match=r"2024-03-01: 1\d\d of 1\d\d rows failed") as caught:
            migration.migrate(proxy.url, write_mode=write_mode, page_size=100)

        assert caught.value.exit_code == 1
        assert "migration-failures.json" in str(caught.value)
        assert len(migration.ledger) == 100
        assert migration.checkpoint is not None
        assert len({i for call in proxy.writes for i in call.ids}) <= 300

    def test_once_the_cause_is_gone_the_pass_resumes_to_its_end(self, migration: Migration, proxy: FaultProxy) -> None:
        migration.source.insert(image(number) for number in range(800))
        proxy.inject(error("ValidationException"), times=FOREVER, when=lambda call: call in proxy.writes)
        with pytest.raises(TooManyFailures):
            migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=100)

        result = migration.migrate(write_mode=WriteMode.BATCH, page_size=100, run_id="run-2")

        assert result.outcomes == {"rejected": 100, "written": 700}
        assert migration.retry_failures(write_mode=WriteMode.BATCH).outcomes == {"written": 100}
        assert migration.verify().passed

    def test_few_failures_do_not_stop_a_pass(self, migration: Migration) -> None:
        migration.source.insert(image(number, mime_type=None if number < 99 else "image/png") for number in range(120))

        assert migration.migrate(page_size=20).outcomes == {"rejected": 99, "inserted": 21}


class TestRefused:
    """Nothing is written before the source, the target and the state are in order."""

    def test_a_target_that_does_not_exist(self, migration: Migration, state: LocalStateStore) -> None:
        migration.source.insert([image(1)])
        missing = Target(migration.target.client, "no-such-table", migration.target.url)

        with pytest.raises(TargetRefused, match="no-such-table"):
            Migration(migration.source, missing, state).migrate()

    def test_a_partition_that_another_run_works_on(self, migration: Migration, proxy: FaultProxy) -> None:
        migration.source.insert([image(1)])

        with migration.state.exclusive("2024-03-01/run.lock"):
            with pytest.raises(PartitionBusy):
                migration.migrate(proxy.url)
            with pytest.raises(PartitionBusy):
                migration.retry_failures(proxy.url)
            # Another partition is free.
            april = Migration(migration.source, migration.target, migration.state, month(2024, 4))
            assert april.migrate().total == 0

        assert proxy.writes == []

    def test_a_run_whose_checkpoint_was_taken_over_stops_and_leaves_it_to_its_successor(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        """As on a store whose lock a dead run's successor waited out."""
        migration.source.insert(image(number) for number in range(1_500))

        def take_over() -> None:
            checkpoint = migration.checkpoint
            assert checkpoint is not None
            CheckpointFile(migration.state, "2024-03-01").open("successor", checkpoint["fingerprint"], "now")

        proxy.before(take_over, "BatchWriteItem", when=holds(row_id(0)))

        with pytest.raises(StateChanged):
            migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=250, run_id="orphan")

        assert migration.checkpoint is not None
        assert migration.checkpoint["run_id"] == "successor"
        assert len(migration.target.items()) < 1_500

    @pytest.mark.parametrize("code", ["AccessDeniedException", "ResourceNotFoundException"])
    def test_a_target_that_refuses_every_write_stops_the_pass_at_once(
        self, migration: Migration, proxy: FaultProxy, code: str
    ) -> None:
        migration.source.insert(image(number) for number in range(500))
        proxy.inject(error(code), times=FOREVER, when=lambda call: call in proxy.writes)

        with pytest.raises(TargetRefused, match=code):
            migration.migrate(proxy.url)

        # Ten are under way at a time. Whether it is the operation alone that is refused, a few single items find out.
        assert len(proxy.writes) <= 50
        assert migration.ledger == {}
