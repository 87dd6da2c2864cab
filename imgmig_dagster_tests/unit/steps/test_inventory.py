"""The source's inventory of a partition."""

from imgmig_dagster.progress import Progress
from imgmig_dagster_tests.arrange import MARCH, Migration, image, row_id


def test_rows_that_can_never_be_written_are_counted_by_code_and_listed(migration: Migration) -> None:
    source = migration.source
    source.insert(image(number) for number in range(20))
    source.insert([image(30, mime_type=None), image(31, updated_at="infinity"), image(32, created_at="2024-04-01Z")])
    told = list[Progress]()

    run = migration.run(page_size=7, told=told)
    with run.source:
        found = run.take_inventory()
        assert found.digest == run.source.inventory(MARCH).digest

    assert (found.partition, found.rows, found.rejected, found.nulls) == ("2024-03-01", 22, 2, {"mime_type": 1})
    assert found.rejected_by_code == {"null_in_required_field": 1, "timestamp_out_of_range": 1}
    assert {(rejection.row_id, rejection.field) for rejection in found.rejections} == {
        (row_id(30), "mime_type"),
        (row_id(31), "updated_at"),
    }
    assert (told[-1].done, told[-1].total, told[-1].failures) == (22, 22, 2)


def test_rejections_are_all_counted_and_the_first_hundred_listed(migration: Migration) -> None:
    migration.source.insert(image(number, user_id=None) for number in range(130))

    run = migration.run(page_size=60)
    with run.source:
        found = run.take_inventory()

    assert (found.rejected, len(found.rejections)) == (130, 100)
