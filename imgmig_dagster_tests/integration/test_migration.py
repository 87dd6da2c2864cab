"""A pass on real servers: every row ends in exactly one outcome, and its item is what the application would write."""

import json
from pathlib import Path

import pytest

from imgmig_dagster.progress import Progress
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import (
    Migration,
    Target,
    image,
    item_of,
    row_id,
)
from imgmig_dagster_tests.conformance.outcomes import by_key, written
from imgmig_dagster_tests.fault_proxy import (
    FaultProxy,
    error,
    unprocessed,
)

FOREVER = 100_000
MODES = list(WriteMode)


@pytest.mark.parametrize("write_mode", MODES)
def test_a_second_pass_finds_everything_and_writes_nothing(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    migration.source.insert(image(number) for number in range(60))
    migration.migrate(write_mode=write_mode)
    before = migration.target.items()

    result = migration.migrate(proxy.url, write_mode=write_mode, run_id="run-2", page_size=25)

    assert result.outcomes == {"identical": 60}
    assert (result.migrated, result.skipped) == (0, 60)
    assert proxy.writes == []
    assert migration.target.items() == before


@pytest.mark.parametrize("write_mode", MODES)
def test_a_later_pass_writes_only_what_is_new(migration: Migration, proxy: FaultProxy, write_mode: WriteMode) -> None:
    migration.source.insert(image(number) for number in range(0, 40, 2))
    migration.migrate(write_mode=write_mode)
    migration.source.insert(image(number) for number in range(1, 40, 2))

    result = migration.migrate(proxy.url, write_mode=write_mode)

    assert (written(result), result.outcomes["identical"]) == (20, 20)
    assert sorted(i for call in proxy.writes for i in call.ids) == [row_id(number) for number in range(1, 40, 2)]


@pytest.mark.parametrize("write_mode", MODES)
def test_an_empty_window_is_a_finished_pass(migration: Migration, proxy: FaultProxy, write_mode: WriteMode) -> None:
    result = migration.migrate(proxy.url, write_mode=write_mode)

    assert (result.outcomes, result.total, result.success_rate) == ({}, 0, 1.0)
    assert result.every_row_is_accounted_for
    assert proxy.writes == []
    assert migration.checkpoint is None


def test_unprocessed_items_are_resent_until_they_are_written(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(100))
    proxy.inject(unprocessed(5), "BatchWriteItem", times=4)

    result = migration.migrate(proxy.url, write_mode=WriteMode.BATCH)

    assert result.outcomes == {"written": 100}
    assert result.throttles == 4
    assert len(migration.target.items()) == 100


@pytest.mark.parametrize("write_mode", MODES)
def test_an_item_that_dynamodb_rejects_is_in_the_ledger_and_the_rest_of_its_batch_is_written(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    migration.source.insert(image(number) for number in range(25))
    proxy.inject(
        error("ValidationException"), times=FOREVER, when=lambda call: row_id(3) in call.ids and call in proxy.writes
    )

    result = migration.migrate(proxy.url, write_mode=write_mode)

    assert (written(result), result.outcomes["rejected"]) == (24, 1)
    assert len(migration.target.items()) == 24
    ((key, entry),) = migration.ledger.items()
    assert (key, entry.code, entry.permanent) == (row_id(3), "ValidationException", True)
    assert "secret" not in entry.reason


def test_an_item_over_the_servers_own_limit_is_rejected_by_the_server(migration: Migration) -> None:
    """moto takes 405,000 bytes, DynamoDB 409,600: between the two, the server speaks and not the transformation."""
    migration.source.insert([image(1), image(2, original_filename="x" * 407_000), image(3)])

    result = migration.migrate(write_mode=WriteMode.BATCH)

    assert result.outcomes == {"written": 2, "rejected": 1}
    assert migration.ledger[row_id(2)].code == "ValidationException"
    assert migration.target.items() == by_key([item_of(1), item_of(3)])


class RecordingStore(LocalStateStore):
    """Notes how many items stood in the target at each save of the checkpoint, and what it claimed."""

    def __init__(self, root: Path, target: Target) -> None:
        super().__init__(root)
        self.saves: list[tuple[int, int]] = []
        self._target = target

    def write(self, name: str, content: bytes, replacing: str | None = None) -> str:
        if name.endswith("migration-progress.json"):
            claimed = sum(json.loads(content)["checkpoint"]["outcomes"].values())
            count = self._target.client.scan(TableName=self._target.name, Select="COUNT", ConsistentRead=True)["Count"]
            self.saves.append((claimed, count))
        return super().write(name, content, replacing)


def test_the_checkpoint_moves_every_1000_rows_and_only_over_rows_that_stand(
    migration: Migration, tmp_path: Path
) -> None:
    migration.source.insert(image(number) for number in range(2_300))
    store = RecordingStore(tmp_path / "recorded", migration.target)

    Migration(migration.source, migration.target, store).migrate(write_mode=WriteMode.BATCH, page_size=250)

    assert [claimed for claimed, _standing in store.saves] == [0, 1_000, 2_000, 2_300]
    # A scan's COUNT is of one page of 1 MB at most, which is more than 2,300 of these items.
    assert all(standing >= claimed for claimed, standing in store.saves)


def test_progress_is_told_for_every_row_with_the_total(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number, mime_type=None if number == 3 else "image/png") for number in range(60))
    proxy.inject(error("InternalServerError", 500), "BatchWriteItem")
    told: list[Progress] = []

    migration.migrate(proxy.url, write_mode=WriteMode.BATCH, page_size=20, told=told)

    assert told[-1].done == told[-1].total == 60
    assert [progress.done for progress in told] == sorted(progress.done for progress in told)
    assert told[-1].line() == "Migrated 60/60 images (100.0%)"
    assert told[-1].failures <= 1
