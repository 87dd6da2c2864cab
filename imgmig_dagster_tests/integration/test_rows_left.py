"""Rows that leave the source after the census: the items of all of them have to be gone."""

import gzip
from collections.abc import Sequence
from pathlib import Path

import orjson
import pytest

from imgmig_dagster.batches import batched
from imgmig_dagster.errors import StateError
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.verification.census_results import CensusResult, listed_orphans
from imgmig_dagster_tests.arrange import Migration, ids, image, item_of, month, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, holds

FOREVER = 10_000


def counted(migration: Migration, count: int) -> CensusResult:
    migration.source.insert(image(number) for number in range(count))
    for number in range(count):
        migration.target.put(item_of(number))
    return migration.census()


def delete(migration: Migration, *numbers: int) -> None:
    """As the application does: on both sides."""
    for number in numbers:
        migration.source.delete(number)
        migration.target.delete(number)


def listed(migration: Migration) -> list[str]:
    census = load_record(migration.state, names.CENSUS, CensusResult)
    assert census
    return sorted(listed_orphans(migration.state, census))


def test_an_item_whose_row_was_deleted_after_the_census_is_named(migration: Migration) -> None:
    census = counted(migration, 10)
    migration.source.delete(3)
    delete(migration, 4, 5)

    left = migration.rows_left()

    assert census.passed
    assert (left.census, left.rows, left.orphans, left.unverified) == (census.run_id, 3, 1, 0)
    assert left.samples == {"orphans": [row_id(3)]}
    assert listed(migration) == [row_id(3)]


def test_where_nothing_left_nothing_is_asked(migration: Migration, proxy: FaultProxy) -> None:
    counted(migration, 10)
    migration.source.insert([image(11)])
    migration.source.update(2, width="7")

    left = migration.rows_left(proxy.url)

    assert (left.rows, left.orphans, left.samples) == (0, 0, {})
    assert proxy.of("BatchGetItem") == []


def test_each_row_that_left_is_found_among_many_that_came(migration: Migration) -> None:
    """Where a row goes for each that comes, counts are the same."""
    counted(migration, 300)
    gone = range(0, 300, 7)
    for number in gone:
        migration.source.delete(number)
    migration.source.insert(image(number) for number in range(1_000, 1_000 + len(gone)))

    left = migration.rows_left()

    assert left.rows == left.orphans == len(gone)
    assert listed(migration) == ids(gone)


def test_a_row_that_went_to_another_window_or_outside_has_not_left(migration: Migration) -> None:
    counted(migration, 5)
    migration.source.update(1, created_at="2031-01-01T00:00:00Z")
    migration.source.update(2, created_at=None)

    assert migration.rows_left().rows == 0


def test_rows_that_no_partition_holds_are_known_too(migration: Migration) -> None:
    migration.source.insert([image(1), image(2, created_at=None), image(3, created_at="infinity")])
    for number in (1, 2, 3):
        migration.target.put(item_of(number))
    migration.census()
    migration.source.delete(2)
    migration.source.delete(3)

    assert migration.rows_left().samples == {"orphans": ids([2, 3])}


def test_a_partition_that_begins_later_today_hides_none_of_its_rows(migration: Migration) -> None:
    counted(migration, 5)
    migration.source.delete(3)
    migration.window = month(2024, 4)

    assert migration.rows_left().samples == {"orphans": [row_id(3)]}


def test_a_delete_that_is_on_its_way_is_no_orphan(migration: Migration, proxy: FaultProxy) -> None:
    counted(migration, 5)
    migration.source.delete(3)
    proxy.after(lambda: migration.target.delete(3), "BatchGetItem")

    left = migration.rows_left(proxy.url)

    assert (left.rows, left.orphans, left.unverified) == (1, 0, 0)


def test_an_item_that_cannot_be_read_is_unverified(migration: Migration, proxy: FaultProxy) -> None:
    counted(migration, 5)
    migration.source.delete(3)
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", FOREVER, holds(row_id(3)))

    left = migration.rows_left(proxy.url)

    assert (left.orphans, left.unverified, left.samples) == (0, 1, {"unverified": [row_id(3)]})


def test_an_orphan_that_was_mended_since_is_listed_no_longer(migration: Migration) -> None:
    counted(migration, 5)
    migration.source.delete(3)
    assert migration.rows_left().orphans == 1
    migration.target.delete(3)

    assert migration.rows_left().orphans == 0
    assert listed(migration) == []


def test_a_new_census_takes_the_place_of_the_lists_of_the_last_one(migration: Migration) -> None:
    counted(migration, 5)
    migration.source.delete(3)
    migration.rows_left()
    before = migration.state.list(names.CENSUSES)
    run = migration.run(run_id="verify-2")

    with run.source:
        census = run.census()

    assert (census.orphans, listed(migration)) == (1, [row_id(3)])
    assert before
    assert {name.split("/")[1] for name in migration.state.list(names.CENSUSES)} == {"verify-2"}


@pytest.mark.parametrize("fault", ["gone", "cut short", "other ids", "no text"])
def test_ids_that_are_not_those_of_the_census_are_refused(migration: Migration, tmp_path: Path, fault: str) -> None:
    census = counted(migration, 5)
    migration.source.delete(3)
    path = tmp_path / "state" / names.part_of_list(names.census_ids(census.run_id, "2024-03-01"), 0)
    content = path.read_bytes()
    if fault == "gone":
        path.unlink()
    elif fault == "cut short":
        path.write_bytes(content[:-9])
    else:
        kept = orjson.loads(gzip.decompress(content))
        path.write_bytes(gzip.compress(orjson.dumps([*kept[:-1], "x" if fault == "other ids" else 7])))

    with pytest.raises(StateError, match="imgmig verify"):
        migration.rows_left()


def put_many(migration: Migration, items: Sequence[Item]) -> None:
    for some in batched(items, 25):
        puts = [{"PutRequest": {"Item": item}} for item in some]
        migration.target.client.batch_write_item(RequestItems={migration.target.name: puts})


def test_more_rows_than_one_question_holds(migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(2_500))
    put_many(migration, [item_of(number) for number in range(2_500)])
    migration.census()
    migration.source.execute("DELETE FROM {t} WHERE size_bytes >= 1100")

    assert migration.rows_left().orphans == 2_400
    assert listed(migration) == ids(range(100, 2_500))


def test_a_census_lists_every_orphan_it_found(migration: Migration) -> None:
    """However many: a list that ends before the last hides the others from a repair."""
    migration.source.insert([image(1)])
    migration.target.put(item_of(1))
    strangers = [str(row_id(number)) for number in range(100, 10_105)]
    put_many(migration, [{"PK": {"S": f"IMAGE#{found}"}, "SK": {"S": "METADATA"}} for found in strangers])

    census = migration.census()

    assert (census.orphans, len(census.samples["orphans"])) == (10_005, 20)
    assert listed(migration) == strangers


def test_a_row_that_came_while_the_census_looked_is_known(migration: Migration, proxy: FaultProxy) -> None:
    migration.target.put(item_of(7))
    proxy.before(lambda: migration.source.insert([image(7)]), "BatchGetItem")
    run = migration.verification(proxy.url)
    with run.source:
        census = run.census()
    migration.source.delete(7)

    assert census.passed
    assert migration.rows_left().samples == {"orphans": [row_id(7)]}
