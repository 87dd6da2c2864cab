"""A random sample that can be drawn again."""

from imgmig_dagster.verification.results import SpotCheckResult
from imgmig_dagster.verification.spot_check import spot_check
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error

FOREVER = 10_000


def checked(migration: Migration, count: int, seed: int, url: "str | None" = None) -> SpotCheckResult:
    run = migration.verification(url)
    with run.source:
        return spot_check(run, count, seed)


def migrated(migration: Migration, count: int) -> None:
    migration.source.insert(image(number) for number in range(count))
    for number in range(count):
        migration.target.put(item_of(number))


def test_the_same_seed_draws_the_same_images_and_another_seed_others(migration: Migration) -> None:
    migrated(migration, 80)

    first, again, other = (checked(migration, 10, seed) for seed in (1, 1, 2))

    assert first.pairs == again.pairs
    assert {pair.row_id for pair in first.pairs} != {pair.row_id for pair in other.pairs}
    assert len({pair.row_id for pair in first.pairs}) == 10
    assert (first.seed, first.requested, first.source_rows) == (1, 10, 80)
    assert first.differing == []


def test_more_than_there_are_gives_all_of_them(migration: Migration) -> None:
    migrated(migration, 5)

    result = checked(migration, 50, 0)

    assert {pair.row_id for pair in result.pairs} == {row_id(number) for number in range(5)}
    assert result.requested == 50


def test_both_records_are_side_by_side_and_differences_are_marked(migration: Migration) -> None:
    migrated(migration, 3)
    migration.target.put(item_of(1, width={"N": "1"}))
    migration.target.delete(2)

    result = checked(migration, 3, 0)

    pairs = {pair.row_id: pair for pair in result.pairs}
    assert ("width", "N:640", "N:1", False) in pairs[row_id(1)].fields
    assert ("height", "N:480", "N:480", True) in pairs[row_id(1)].fields
    assert not pairs[row_id(2)].has_item
    assert pairs[row_id(0)].agrees
    assert sorted(result.differing) == [row_id(1), row_id(2)]


def test_an_image_whose_item_could_not_be_read_does_not_agree(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 3)
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", FOREVER)

    assert len(checked(migration, 3, 0, proxy.url).differing) == 3


def test_a_row_of_nothing_but_nulls_without_an_item_does_not_agree(migration: Migration) -> None:
    nothing = dict.fromkeys(image(1)) | {"id": row_id(1)}
    migration.source.insert([nothing])

    assert checked(migration, 1, 0).differing == [row_id(1)]


def test_an_empty_source_has_an_empty_sample(migration: Migration) -> None:
    assert checked(migration, 5, 0).pairs == []
