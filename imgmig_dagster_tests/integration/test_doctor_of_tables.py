"""What the doctor says of tables that are not quite as the mapping would have them."""

from dataclasses import replace

from psycopg import sql

from imgmig_dagster.doctor.diagnosis import Diagnosis, Health, examine
from imgmig_dagster.doctor.source_checks import source_examinations
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import MARCH, Source, image, row_id
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import IMAGE


def diagnoses(source: Source, zone: str = "UTC") -> dict[str, Diagnosis]:
    connection = ReadOnlyConnections(source.url)
    with SourceReader(connection, source.schema, source.table, IMAGE, zone) as reader:
        found = examine(source_examinations(connection.fetch, reader, [MARCH], str))
    return {each.thing: each for each in found}


def test_a_child_without_rows_is_a_warning_and_one_with_rows_a_failure(source: Source) -> None:
    child = sql.Identifier(source.schema, "images_2023")
    table = sql.Identifier(source.schema, source.table)
    source.owner.execute(sql.SQL("CREATE TABLE {} () INHERITS ({})").format(child, table))
    source.owner.execute(sql.SQL("GRANT SELECT ON {} TO imgmig_reader").format(child))

    empty = diagnoses(source)
    source.owner.execute(sql.SQL("INSERT INTO {} (id) VALUES (gen_random_uuid())").format(child))
    full = diagnoses(source)

    assert (empty["table"].health, empty["inheritance"].health) == (Health.OK, Health.WARN)
    assert f"{source.schema}.images_2023 inherit from it, without a row" in empty["inheritance"].found
    assert full["table"].health is Health.FAIL
    assert "inherit from it and hold rows" in full["table"].found


def test_a_view_is_told_to_have_no_index_and_its_ids_are_looked_at(source: Source) -> None:
    source.insert([image(1), image(2)])
    view = sql.Identifier(source.schema, "a_view")
    table = sql.Identifier(source.schema, source.table)
    source.owner.execute(sql.SQL("CREATE VIEW {} AS SELECT * FROM {}").format(view, table))
    source.owner.execute(sql.SQL("GRANT SELECT ON {} TO imgmig_reader").format(view))
    of_view = replace(source, table="a_view")

    unique = diagnoses(of_view)
    source.owner.execute(
        sql.SQL("CREATE OR REPLACE VIEW {0} AS SELECT * FROM {1} UNION ALL SELECT * FROM {1} WHERE width > 0").format(
            view, table
        )
    )
    repeated = diagnoses(of_view)["unique ids"]

    assert unique["index for pages"].health is Health.WARN
    assert "a view has none" in unique["index for pages"].found
    assert unique["unique ids"].health is Health.OK
    assert (repeated.health, repeated.found) == (
        Health.FAIL,
        f"2 are repeated or NULL, such as {row_id(1)}, {row_id(2)}",
    )


def test_the_zone_in_which_local_times_are_read_is_shown_and_another_one_of_the_database_a_warning(
    new_source: NewSource,
) -> None:
    source = new_source(time_type="timestamp")

    same = diagnoses(source)["time zone"]
    other = diagnoses(replace(source, url=f"{source.url}?options=-cTimeZone%3DAmerica/New_York"))["time zone"]
    declared = diagnoses(
        replace(source, url=f"{source.url}?options=-cTimeZone%3DAmerica/New_York"), "America/New_York"
    )["time zone"]

    assert (same.health, same.found) == (Health.OK, "created_at, updated_at without a zone, read as UTC")
    assert other.health is Health.WARN
    assert other.found.endswith("read as UTC; this role's sessions write in America/New_York")
    assert "time_zone in [source]" in other.remedy
    assert declared.health is Health.OK
    assert diagnoses(new_source())["time zone"].found == "every timestamp has its zone"
