"""Commands that a person would take for complete name what no migration reaches."""

import pytest
from psycopg import sql

from imgmig_dagster_tests.arrange import image, row_id
from imgmig_dagster_tests.orchestration.arrange import APRIL, MARCH, Platform, facts_of, images_of, verdicts_of
from imgmig_dagster_tests.orchestration.commands import Imgmig


def add_rows_outside(platform: Platform) -> None:
    platform.source.insert(
        [image(90, created_at=None), image(91, created_at="infinity"), image(92, created_at="2019-01-01Z")]
    )


@pytest.mark.parametrize("command", ["dry-run", "migrate"])
def test_rows_that_no_partition_holds_are_the_last_thing_that_a_person_reads(
    platform: Platform, imgmig: Imgmig, command: str
) -> None:
    platform.source.insert(images_of(3, range(5)))
    add_rows_outside(platform)

    finished = imgmig(command)

    assert finished.exit_code == 1
    last = finished.stdout.strip().splitlines()[-1]
    assert last.startswith(f"3 rows are in no partition, and are not migrated, such as {row_id(90)}, {row_id(91)}")
    assert "set IMGMIG_PARTITION_START to a day before theirs, or fix rows whose created_at is NULL" in last
    document = imgmig(command, "--json").document
    assert (document["rows_outside"], document["rows_outside_sample"]) == (3, [row_id(n) for n in (90, 91, 92)])


def test_a_choice_of_partitions_names_them_and_ends_by_what_was_chosen(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, range(5)))
    add_rows_outside(platform)

    finished = imgmig("migrate", "--partition", MARCH)

    assert finished.exit_code == 0
    assert "3 rows are in no partition" in finished.stdout


@pytest.fixture
def by_month(platform: Platform) -> Platform:
    """The source partitioned by month, with the key that PostgreSQL allows there."""
    table = sql.Identifier(platform.source.schema, "images")
    owner = platform.source.owner
    owner.execute(sql.SQL("ALTER TABLE {} RENAME TO plain").format(table))
    owner.execute(
        sql.SQL("CREATE TABLE {} (LIKE {}, PRIMARY KEY (id, created_at)) PARTITION BY RANGE (created_at)").format(
            table, sql.Identifier(platform.source.schema, "plain")
        )
    )
    for month in (3, 4):
        owner.execute(
            sql.SQL(
                f"CREATE TABLE {{}} PARTITION OF {{}} FOR VALUES FROM ('2024-{month}-01Z') TO ('2024-{month + 1}-01Z')"
            ).format(sql.Identifier(platform.source.schema, f"month_{month}"), table)
        )
    owner.execute(sql.SQL("GRANT SELECT ON {} TO imgmig_reader").format(table))
    return platform


def test_a_partitioned_table_is_migrated_and_certified_once_no_id_stands_twice(
    by_month: Platform, imgmig: Imgmig
) -> None:
    by_month.source.insert([*images_of(3, range(5)), *images_of(4, range(10, 15))])

    assert imgmig("migrate").exit_code == 0
    verified = imgmig("verify", "--json")

    assert (verified.exit_code, verified.document["verdict"]) == (0, "PASS")


def test_an_id_that_stands_twice_stops_its_partitions_and_no_other(by_month: Platform, imgmig: Imgmig) -> None:
    by_month.source.insert([*images_of(3, range(5)), *images_of(4, range(10, 15)), *images_of(4, [2])])

    finished = imgmig("migrate")

    assert finished.exit_code == 1
    for partition in (MARCH, APRIL):
        told = f"{partition}: 1 ids are in the table more than once, or NULL, such as {row_id(2)}"
        assert told in finished.stdout
    assert by_month.target.items() == {}
    result = by_month.run("migrate", MARCH)
    assert not verdicts_of(result)["ids_are_unique"]
    assert facts_of(result, "ids_are_unique") == {"repeated": 1, "repeated_ids": [{"key": row_id(2)}]}
    found = verdicts_of(by_month.run("census"))
    assert (found["no_repeated_ids"], found["counts_agree"]) == (False, False)
    assert imgmig("verify").exit_code != 0
    by_month.source.execute("DELETE FROM {t} WHERE id = %s AND created_at > '2024-04-01Z'", row_id(2))
    assert imgmig("migrate").exit_code == 0
    assert imgmig("verify").exit_code == 0


def test_local_times_are_named_in_certificate_and_report(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.execute(
        "ALTER TABLE {t} ALTER created_at TYPE timestamp USING created_at AT TIME ZONE 'America/New_York',"
        " ALTER updated_at TYPE timestamp USING updated_at AT TIME ZONE 'America/New_York'"
    )
    platform.source.insert(images_of(3, range(5)))
    platform.set(IMGMIG_SOURCE_TIME_ZONE="America/New_York")
    assert imgmig("migrate").exit_code == 0
    assert platform.target.items()[f"IMAGE#{row_id(0)}"]["createdAt"] == {"S": "2024-03-10T05:00:00.000Z"}
    assert imgmig("verify").exit_code == 0

    shown = imgmig("certificate", "show").stdout

    assert "created_at, updated_at have no time zone in the source, and hold the time of America/New_York" in shown
    platform.set(IMGMIG_SOURCE_TIME_ZONE="UTC")
    reported = imgmig("report")
    assert reported.exit_code == 1
    assert "it is of another source" in reported.stdout
