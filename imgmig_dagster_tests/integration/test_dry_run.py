"""The dry run tells what would happen, and never writes."""

import json

import pytest

from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.steps.dry_run import MigrationPlan
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, holds
from imgmig_dagster_tests.images import IMAGE

FOREVER = 10_000


def planned(migration: Migration, proxy: FaultProxy, page_size: int = 10, rate: float | None = None) -> MigrationPlan:
    run = migration.run(proxy.url, page_size=page_size, rate=rate)
    with run.source:
        return run.plan()


def test_every_row_is_planned_and_nothing_is_written(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(40))
    migration.source.insert([image(40, original_filename="x" * 5_000), image(41, created_at="2024-04-01Z")])
    migration.source.insert([image(50, mime_type=None), image(51, updated_at="infinity"), image(52, user_id=None)])
    for number in range(5):
        migration.target.put(item_of(number))
    migration.target.put(item_of(5, originalFilename={"S": "differs"}))
    before = migration.target.items()

    found = planned(migration, proxy)

    assert proxy.writes == [], "a dry run never writes"
    assert {call.operation for call in proxy.calls} == {"BatchGetItem"}
    assert migration.target.items() == before
    assert (found.rows, found.would_write, found.identical, found.would_judge) == (44, 35, 5, 1)
    assert (found.rejected, found.unread) == (3, 0)
    assert found.rows == found.would_write + found.identical + found.would_judge + found.rejected + found.unread
    assert found.rejected_by_code == {"null_in_required_field": 2, "timestamp_out_of_range": 1}
    assert {(rejection.row_id, rejection.field) for rejection in found.rejections} == {
        (row_id(50), "mime_type"),
        (row_id(51), "updated_at"),
        (row_id(52), "user_id"),
    }


def test_its_prediction_is_what_the_migration_then_does(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number, original_filename="x" * (number * 300)) for number in range(30))
    migration.source.insert([image(50, mime_type=None)])

    found = planned(migration, proxy)
    result = migration.migrate()

    assert result.outcomes == {"inserted": found.would_write, "rejected": found.rejected}
    # Names 106 bytes, values of fixed length 205, four numbers of 3, 3, 2 and 2 bytes at most, and the name itself.
    assert found.write_units == sum(-(-(310 + number * 300) // 1_024) for number in range(30))


@pytest.mark.parametrize("write_mode", list(WriteMode))
def test_it_says_of_existing_items_what_a_first_pass_then_does(
    migration: Migration, proxy: FaultProxy, write_mode: WriteMode
) -> None:
    migration.source.insert(image(number) for number in range(40))
    tagged = {"tags": {"SS": ["kept"]}, "version": {"N": "7"}}
    for number in range(8):
        migration.target.put(item_of(number, **tagged))
    for number in range(8, 12):
        migration.target.put(item_of(number, originalFilename={"S": "old.jpg"}, **tagged))

    found = planned(migration, proxy)
    outcomes = migration.migrate(write_mode=write_mode).outcomes

    written = outcomes.get("written", 0) + outcomes.get("inserted", 0)
    assert (written, outcomes["identical"], outcomes["updated"]) == (
        found.would_write,
        found.identical,
        found.would_judge,
    )
    for number in range(12):
        item = migration.target.item(number) or {}
        assert (item["tags"], item["version"]) == ({"SS": ["kept"]}, {"N": "7" if number < 8 else "8"})


@pytest.mark.parametrize(("rate", "seconds"), [(None, 0.03), (300.0, 0.1)])
def test_cost_and_duration_follow_from_the_units(
    migration: Migration, proxy: FaultProxy, rate: float | None, seconds: float
) -> None:
    migration.source.insert(image(number) for number in range(30))

    found = planned(migration, proxy, rate=rate)

    assert found.write_units == 30
    assert found.dollars == pytest.approx(30 * 0.625 / 1_000_000)
    assert found.duration_s == pytest.approx(seconds)


def test_an_empty_window_costs_nothing(migration: Migration, proxy: FaultProxy) -> None:
    found = planned(migration, proxy)

    assert (found.rows, found.write_units, found.dollars, found.duration_s) == (0, 0, 0.0, 0.0)


def test_what_could_not_be_looked_up_is_said_and_not_taken_for_absent(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number) for number in range(15))
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", FOREVER, holds(row_id(12)))

    found = planned(migration, proxy)

    assert (found.would_write, found.unread) == (10, 5)


def test_rejections_are_all_counted_and_the_first_hundred_listed(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert(image(number, mime_type=None) for number in range(130))

    found = planned(migration, proxy, page_size=60)

    assert (found.rejected, len(found.rejections)) == (130, 100)


def test_it_shows_no_values(migration: Migration, proxy: FaultProxy) -> None:
    migration.source.insert([image(1, original_filename="private" * 100_000)])

    assert "private" not in json.dumps([rejection.reason for rejection in planned(migration, proxy).rejections])


def test_the_mapping_under_test_is_the_declared_one(migration: Migration) -> None:
    assert migration.target.settings().mapping is IMAGE
