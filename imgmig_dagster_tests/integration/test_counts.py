"""The rows are counted in several ways of reading, which are compared with each other."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.counting import RepeatedIds, repeated_on
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.steps.census import take_census
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster_tests.arrange import (
    COLUMNS,
    MARCH,
    Migration,
    Target,
    image,
    item_of,
    migrated,
    month,
    partition_by_time,
    row_id,
)
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.fault_proxy import FaultProxy

# What the planner prefers for large tables.
BY_INDEX = "?options=-cenable_seqscan%3Doff%20-cenable_sort%3Doff%20-cenable_bitmapscan%3Doff"


def corrupt(migration: Migration, create: str, change: str) -> None:
    """Make an index, then tell the catalog something of it that is not so."""
    ((before,),) = migration.source.execute("SELECT array_agg(indexrelid) FROM pg_index")
    migration.source.execute(create)
    owner = migration.source.owner
    owner.execute("SET allow_system_table_mods = on")
    owner.execute(f"UPDATE pg_index SET {change} WHERE NOT indexrelid = ANY(%s)", [before])  # noqa: S608
    owner.execute("RESET allow_system_table_mods")


def without_key(migration: Migration) -> None:
    migration.source.execute("ALTER TABLE {t} DROP CONSTRAINT images_pkey")


def by_index(migration: Migration) -> Migration:
    return replace(migration, source=replace(migration.source, url=migration.source.url + BY_INDEX))


def assert_all_else_is_well(census: CensusResult) -> None:
    assert (census.missing, census.orphans, census.differing, census.unverified, census.rows_outside) == (0,) * 5


def test_the_counts_of_a_clean_table_agree(migration: Migration) -> None:
    migrated(migration, 30)

    census = migration.census()

    assert (census.source_rows, census.rows_counted, census.rows_in_partitions, census.repeated) == (30, 30, 30, 0)
    assert census.counts_agree


@pytest.mark.parametrize("page_size", [2, 100])
def test_two_rows_that_match_one_item_are_no_pass(migration: Migration, page_size: int) -> None:
    """Less than a second apart, each of them is equal to the item by the rules of the comparison."""
    partition_by_time(migration.source)
    migration.source.insert([*map(image, range(5)), image(2, created_at="2024-03-01T00:00:02.0001Z")])
    for number in range(5):
        migration.target.put(item_of(number))

    for read in (migration.migrate, migration.verify):
        with pytest.raises(SourceRefused, match=f"more than one row with the id {row_id(2)}"):
            read(page_size=page_size)
    census = migration.census()
    assert (census.repeated, census.samples["repeated"], census.passed) == (1, [row_id(2)], False)


@pytest.mark.parametrize("page_size", [1, 3, 100])
@pytest.mark.parametrize("column_type", ["uuid", "text"])
def test_a_row_whose_id_is_null_is_named_and_keeps_no_other_from_being_compared(
    new_source: NewSource, target: Target, state: LocalStateStore, page_size: int, column_type: str
) -> None:
    source = new_source(id_type=column_type, id_constraint="UNIQUE")
    source.insert([image(0, id=None), *map(image, range(1, 4)), image(4, id=None)])
    migration = Migration(source, target, state)
    for number in (1, 2, 5):
        target.put(item_of(number))

    run = replace(migration.verification(), page_size=page_size)
    with run.source:
        census = run.census()

    assert (census.source_rows, census.rows_counted, census.counts_agree, census.passed) == (3, 5, False, False)
    assert (census.repeated, census.samples["repeated"]) == (2, ["None", "None"])
    assert (census.samples["missing"], census.samples["orphans"]) == ([row_id(3)], [row_id(5)])
    for read in (migration.migrate, migration.verify):
        with pytest.raises(SourceRefused, match=r"or it is NULL \(2 such in all\): fix them in the source"):
            read(page_size=page_size)


def test_an_id_that_is_in_two_partitions_of_the_source_is_named(migration: Migration) -> None:
    """Neither of them has it twice, and neither has any of our indexes."""
    source, april = migration.source, month(2024, 4)
    partition_by_time(source)
    name = sql.Identifier(source.schema, "april").as_string()
    source.execute(f"CREATE TABLE {name} PARTITION OF {{t}} FOR VALUES FROM ('2024-04-01Z') TO ('2024-05-01Z')")
    source.insert([*map(image, range(5)), image(2, created_at="2024-04-02T00:00:00Z")])
    for number in range(5):
        migration.target.put(item_of(number))
    run = migration.verification()

    with run.source:
        census = run.look(lambda work: take_census(work, [MARCH, april]))
        with run.source.snapshot() as snapshot:
            assert repeated_on(snapshot) == RepeatedIds(1, (row_id(2),))

    assert (census.repeated, census.samples["repeated"], census.passed) == (1, [row_id(2)], False)
    assert (census.rows_in_partitions, sum(group.rows for group in census.groups.values())) == (6, 5)
    for window in (MARCH, april):
        with pytest.raises(SourceRefused, match=f"more than one row with the id {row_id(2)}"):
            replace(migration, window=window).verify()


def test_rows_outside_are_counted_where_the_role_may_read_the_mapped_columns_alone(migration: Migration) -> None:
    migrated(migration, 3)
    migration.source.execute("ALTER TABLE {t} ADD COLUMN secret text")
    migration.source.insert([image(7, created_at=None)])
    migration.source.execute("REVOKE SELECT ON {t} FROM imgmig_reader")
    migration.source.execute(f"GRANT SELECT ({', '.join(COLUMNS)}) ON {{t}} TO imgmig_reader")

    census = migration.census()

    assert (census.rows_counted, census.rows_outside, census.rows_outside_sample) == (4, 1, (row_id(7),))


@pytest.mark.parametrize("ids", [[3], [3, 7]])
def test_an_id_that_is_there_twice_under_a_corrupt_unique_index_is_named(migration: Migration, ids: list[int]) -> None:
    """As a collation that changed with the operating system leaves behind."""
    migrated(migration, 10)
    without_key(migration)
    migration.source.insert(image(number, created_at="2024-03-20T00:00:00Z") for number in ids)
    corrupt(migration, "CREATE INDEX ON {t} (id)", "indisunique = true")

    census = migration.census()

    assert census.repeated == len(ids)
    assert list(census.samples["repeated"]) == [row_id(number) for number in ids]
    assert (census.source_rows, census.rows_counted) == (10, 10 + len(ids))
    assert_all_else_is_well(census)
    assert not census.passed
    with pytest.raises(SourceRefused, match=f"more than one row with the id {row_id(3)}"):
        migration.verify()


@pytest.mark.parametrize("size", [1, 2, 3])
def test_an_id_that_is_there_twice_across_two_pages_is_named_too(migration: Migration, size: int) -> None:
    migrated(migration, 4)
    without_key(migration)
    migration.source.insert([image(1, created_at="2024-03-20T00:00:00Z")])
    corrupt(migration, "CREATE INDEX ON {t} (id)", "indisunique = true")
    run = replace(migration.verification(), page_size=size)

    with run.source:
        census = run.census()

    assert (census.repeated, list(census.samples["repeated"])) == (1, [row_id(1)])
    assert not census.passed


def test_two_rows_of_one_id_that_say_the_same_are_two_all_the_same(migration: Migration) -> None:
    """They match the one item both."""
    migrated(migration, 4)
    without_key(migration)
    migration.source.insert([image(1)])
    corrupt(migration, "CREATE INDEX ON {t} (id)", "indisunique = true")

    census = migration.census()

    assert (census.source_rows, census.rows_counted, census.repeated) == (4, 5, 1)
    assert not census.passed


INDEXES: dict[str, tuple[str, Callable[[Migration], None]]] = {
    "of the pages": ("CREATE INDEX ON {t} (created_at, id) WHERE size_bytes <> 1004", lambda _migration: None),
    "of the id": ("CREATE UNIQUE INDEX ON {t} (id) WHERE size_bytes <> 1004", without_key),
}


@pytest.mark.parametrize("which", INDEXES)
def test_a_row_that_an_index_does_not_know_of_is_missed_by_one_way_and_not_by_all(
    migration: Migration, which: str
) -> None:
    migrated(migration, 10)
    create, prepare = INDEXES[which]
    prepare(migration)
    if which == "of the pages":
        index = sql.Identifier(migration.source.schema, "images_created_at_id_idx")
        migration.source.owner.execute(sql.SQL("DROP INDEX {}").format(index))
    corrupt(migration, create, "indpred = NULL")

    census = by_index(migration).census()

    assert not census.counts_agree
    assert not census.passed
    assert {census.source_rows, census.rows_counted, census.rows_in_partitions} == {9, 10}


def test_rows_that_a_child_table_gets_in_between_are_in_the_plain_count_alone(
    migration: Migration, proxy: FaultProxy
) -> None:
    migrated(migration, 5)
    child = sql.Identifier(migration.source.schema, "child")
    table = sql.Identifier(migration.source.schema, "images")
    owner = migration.source.owner
    owner.execute(sql.SQL("CREATE TABLE {} () INHERITS ({})").format(child, table))
    owner.execute(sql.SQL("GRANT SELECT ON {} TO imgmig_reader").format(child))
    proxy.before(
        lambda: owner.execute(sql.SQL("INSERT INTO {} SELECT * FROM ONLY {} LIMIT 2").format(child, table)), "Scan"
    )

    census = migration.census(proxy.url)

    assert (census.source_rows, census.rows_counted, census.rows_in_partitions) == (5, 7, 5)
    assert not census.passed


class TestWhileTheApplicationWrites:
    """It may go on: rows that come and go are no disagreement."""

    def test_rows_that_come_in_between_are_taken_up(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 20)

        def write() -> None:
            migration.source.insert(image(number) for number in range(20, 25))
            for number in range(20, 25):
                migration.target.put(item_of(number))

        proxy.after(write, "Scan")

        census = migration.census(proxy.url)

        assert (census.source_rows, census.rows_counted, census.rows_in_partitions) == (25, 25, 25)
        assert census.passed

    def test_a_row_that_comes_in_between_without_an_item_is_missing(
        self, migration: Migration, proxy: FaultProxy
    ) -> None:
        migrated(migration, 20)
        proxy.after(lambda: migration.source.insert([image(20)]), "Scan")

        census = migration.census(proxy.url)

        assert census.counts_agree
        assert census.samples == {"missing": [row_id(20)]}

    def test_rows_that_go_in_between_are_no_rows(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 20)

        def write() -> None:
            for number in range(5):
                migration.source.delete(number)
                migration.target.delete(number)

        proxy.after(write, "Scan")

        census = migration.census(proxy.url)

        assert (census.source_rows, census.rows_counted, census.rows_in_partitions) == (15, 15, 15)
        assert census.passed

    def test_an_item_whose_row_goes_in_between_is_an_orphan(self, migration: Migration, proxy: FaultProxy) -> None:
        migrated(migration, 20)
        proxy.after(lambda: migration.source.delete(3), "Scan")

        census = migration.census(proxy.url)

        assert census.counts_agree
        assert census.samples == {"orphans": [row_id(3)]}
