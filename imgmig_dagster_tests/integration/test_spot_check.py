"""A random sample that can be drawn again, spread over time and rare shapes."""

import uuid
from collections.abc import Sequence
from dataclasses import replace

from imgmig_dagster.source.sampling import SampledRow, Shape
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import MARCH, Migration, Source, image, item_of, migrated, month, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error
from imgmig_dagster_tests.images import IMAGE

FOREVER = 10_000


def sampled(source: Source, size: int, seed: int = 0, windows: Sequence[Window] = (MARCH,)) -> list[SampledRow]:
    with source.reader() as reader:
        return reader.sample(size, seed, source.mapping.pictures, windows)


def shapes(found: list[SampledRow]) -> dict[str, Shape]:
    return {each.row.id: each.shape for each in found}


def test_the_same_seed_draws_the_same_images_and_another_seed_others(migration: Migration) -> None:
    migrated(migration, 80)

    first, again, other = (migration.spot_check(10, seed) for seed in (1, 1, 2))

    assert first.pairs == again.pairs
    assert {pair.row_id for pair in first.pairs} != {pair.row_id for pair in other.pairs}
    assert len({pair.row_id for pair in first.pairs}) == 10
    assert (first.seed, first.requested, first.source_rows) == (1, 10, 80)
    assert first.differing == []


def test_more_than_there_are_gives_all_of_them(migration: Migration) -> None:
    migrated(migration, 5)

    result = migration.spot_check(50, 0)

    assert {pair.row_id for pair in result.pairs} == {row_id(number) for number in range(5)}
    assert (result.requested, result.bound) == (50, 0.0)


def test_those_drawn_at_random_come_each_from_another_stretch_of_time(source: Source) -> None:
    source.insert(
        image(number, created_at=f"2024-{number // 100 + 1:02}-01T00:00:{number % 60:02}Z") for number in range(1000)
    )

    months = [month(2024, number) for number in range(1, 11)]
    for seed in range(3):
        chosen = sorted(uuid.UUID(each.row.id).int for each in sampled(source, 10, seed, months))
        assert [number // 100 for number in chosen] == list(range(10)), seed


def test_a_quarter_is_drawn_for_rare_shapes(source: Source) -> None:
    source.insert(image(number) for number in range(500))
    source.insert([image(500 + number, thumbnail_s3_key=None) for number in range(2)])
    source.insert([image(510, original_filename="caf\u00e9.jpg"), image(511, original_filename="a\tb.jpg")])
    source.insert([image(520, size_bytes=2**63 - 1), image(521, size_bytes=2**53 + 1)])

    found = shapes(sampled(source, 24))

    assert found[row_id(500)] == found[row_id(501)] == Shape.NO_THUMBNAIL
    assert found[row_id(510)] == found[row_id(511)] == Shape.NAME
    assert found[row_id(520)] == found[row_id(521)] == Shape.LARGEST
    assert list(found.values()).count(Shape.RANDOM) == 18
    assert len(found) == 24


def test_an_image_of_several_shapes_is_drawn_once_and_another_takes_the_place(source: Source) -> None:
    source.insert(image(number) for number in range(100))
    source.insert([image(200, thumbnail_s3_key=None, original_filename="\u00e9", size_bytes=2**40)])

    found = shapes(sampled(source, 12))

    assert len(found) == 12
    assert [shape for shape in found.values() if shape is not Shape.RANDOM] == [found[row_id(200)]]


def test_rows_that_no_partition_holds_can_be_drawn(source: Source) -> None:
    source.insert([image(1, created_at=None), image(2, created_at="infinity"), image(3)])

    assert shapes(sampled(source, 3)).keys() == {row_id(number) for number in (1, 2, 3)}


def test_both_records_are_side_by_side_and_differences_are_marked(migration: Migration) -> None:
    migrated(migration, 3)
    migration.target.put(item_of(1, width={"N": "1"}))
    migration.target.delete(2)

    result = migration.spot_check(3, 0)

    pairs = {pair.row_id: pair for pair in result.pairs}
    assert ("width", "N:640", "N:1", False) in pairs[row_id(1)].fields
    assert ("height", "N:480", "N:480", True) in pairs[row_id(1)].fields
    assert not pairs[row_id(2)].has_item
    assert pairs[row_id(0)].agrees
    assert sorted(result.differing) == [row_id(1), row_id(2)]
    assert result.bound is None


def test_an_image_that_is_changed_or_deleted_in_between_is_no_false_alarm(
    migration: Migration, proxy: FaultProxy
) -> None:
    migrated(migration, 4)
    migration.target.put(item_of(1, width={"N": "1"}))
    migration.target.put(item_of(2, width={"N": "1"}))

    def change() -> None:
        migration.target.put(item_of(1))
        migration.source.delete(2)

    proxy.after(change, "BatchGetItem")

    result = migration.spot_check(4, 0, proxy.url)

    assert {pair.row_id for pair in result.pairs} == {row_id(number) for number in (0, 1, 3)}
    assert result.differing == []


def test_an_image_that_is_changed_at_each_look_is_looked_at_until_it_has_held_still(
    migration: Migration, proxy: FaultProxy
) -> None:
    migrated(migration, 3)
    migration.target.put(item_of(1, width={"N": "1"}))
    migration.target.put(item_of(2, width={"N": "1"}))
    widths = iter(range(2, 5))

    def change() -> None:
        """The row of 1, whose item is one step behind each time; 2 stays wrong."""
        width = next(widths)
        migration.source.update(1, width=width, updated_at=image(1)["updated_at"])
        migration.target.put(item_of(1, width={"N": str(width if width == 4 else width - 1)}))

    proxy.after(change, "BatchGetItem", times=3)

    assert migration.spot_check(3, 0, proxy.url).differing == [row_id(2)]


def test_an_image_whose_item_could_not_be_read_does_not_agree(migration: Migration, proxy: FaultProxy) -> None:
    migrated(migration, 3)
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", FOREVER)

    assert len(migration.spot_check(3, 0, proxy.url).differing) == 3


def test_a_row_of_nothing_but_nulls_without_an_item_does_not_agree(migration: Migration) -> None:
    nothing = dict.fromkeys(image(1)) | {"id": row_id(1)}
    migration.source.insert([nothing])

    assert migration.spot_check(1, 0).differing == [row_id(1)]


def test_an_empty_source_has_an_empty_sample(migration: Migration) -> None:
    assert migration.spot_check(5, 0).pairs == []


WITHOUT_PICTURES = replace(IMAGE, pictures=None)


def test_a_table_without_pictures_is_checked_by_its_records_alone(migration: Migration) -> None:
    migrated(migration, 3)
    migration.target.put(item_of(1, width={"N": "1"}))
    plain = replace(
        migration,
        source=replace(migration.source, mapping=WITHOUT_PICTURES),
        target=replace(migration.target, mapping=WITHOUT_PICTURES),
    )

    result = plain.spot_check(3, 0)

    assert [(pair.picture, pair.thumbnail, pair.object_faults) for pair in result.pairs] == [(None, None, [])] * 3
    assert (result.differing, result.has_pictures, result.object_faults) == ([row_id(1)], False, {})
    assert migration.spot_check(3, 0).has_pictures


def test_without_pictures_what_is_rare_is_a_null_a_text_beyond_ascii_and_a_long_row(source: Source) -> None:
    source.insert(image(number) for number in range(500))
    source.insert([image(500 + number, width=None) for number in range(2)])
    source.insert([image(510, mime_type="caf\u00e9"), image(511, s3_key="a\tb.jpg")])
    source.insert([image(520, s3_bucket="b" * 900), image(521, original_filename="n" * 800)])

    found = shapes(sampled(replace(source, mapping=WITHOUT_PICTURES), 24))

    assert found[row_id(500)] == found[row_id(501)] == Shape.NULL
    assert found[row_id(510)] == found[row_id(511)] == Shape.TEXT
    assert found[row_id(520)] == found[row_id(521)] == Shape.LARGEST
    assert list(found.values()).count(Shape.RANDOM) == 18
