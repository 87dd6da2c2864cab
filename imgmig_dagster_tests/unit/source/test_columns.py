"""Which columns of a real table, partitioned table or view no item carries."""

from collections.abc import Mapping

import pytest
from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import Source, image
from imgmig_dagster_tests.images import IMAGE


def look(
    source: Source, table: str = "images", mapping: TableMapping = IMAGE, ignored: Mapping[str, str] | None = None
) -> NotMigrated:
    with SourceReader(ReadOnlyConnections(source.url), source.schema, table, mapping.ignoring(ignored or {})) as reader:
        found = reader.table.not_migrated
        assert reader.columns_not_migrated() == found
    return found


@pytest.mark.parametrize(
    ("definition", "name"),
    [
        ("caption text", "caption"),
        ('"Width" integer', "Width"),
        ('"a ""b"", c" text', 'a "b", c'),
        ("number bigint GENERATED ALWAYS AS IDENTITY", "number"),
        ("area integer GENERATED ALWAYS AS (width * height) STORED", "area"),
        ("exif jsonb", "exif"),
        ("hash bytea NOT NULL DEFAULT ''", "hash"),
        ("tags text[]", "tags"),
        ("ctid_ text", "ctid_"),
    ],
)
def test_each_other_column_is_named_as_it_is_spelled_for_any_type_and_also_where_it_holds_nothing(
    source: Source, definition: str, name: str
) -> None:
    source.insert([image(1)])
    source.execute(f"ALTER TABLE {{t}} ADD COLUMN {definition}")

    assert look(source).unmapped == (name,)
    assert look(source, ignored={name: "not needed"}) == NotMigrated(ignored={name: "not needed"})
    assert look(source, ignored={name.swapcase(): "misspelled"}) == NotMigrated((name,), {}, (name.swapcase(),))


def test_a_dropped_column_and_postgresqls_own_are_none(source: Source) -> None:
    source.execute("ALTER TABLE {t} ADD COLUMN caption text")
    source.execute("ALTER TABLE {t} DROP COLUMN caption")

    assert look(source) == NotMigrated()
    assert look(source, ignored={"caption": "dropped"}).absent == ("caption",)


def test_a_column_of_a_domain_is_named_once(source: Source) -> None:
    schema = sql.Identifier(source.schema)
    source.owner.execute(sql.SQL("CREATE DOMAIN {}.short AS varchar(9)").format(schema))
    source.owner.execute(sql.SQL("CREATE DOMAIN {0}.shorter AS {0}.short").format(schema))
    source.owner.execute(sql.SQL("ALTER TABLE {0}.images ADD COLUMN code {0}.shorter").format(schema))

    assert look(source).unmapped == ("code",)


def test_they_are_in_the_tables_order(source: Source) -> None:
    source.execute("ALTER TABLE {t} ADD zebra text, ADD apple text")

    assert look(source).unmapped == ("zebra", "apple")


def test_a_view_has_its_own(source: Source) -> None:
    source.execute("ALTER TABLE {t} ADD COLUMN caption text, ADD COLUMN secret text")
    schema, mapped = sql.Identifier(source.schema), sql.SQL(", ").join(map(sql.Identifier, IMAGE.columns))
    statement = "CREATE VIEW {0}.shown AS SELECT {1}, caption AS text_below, width * height AS area FROM {0}.images"
    source.owner.execute(sql.SQL(statement).format(schema, mapped))
    source.owner.execute(sql.SQL("GRANT SELECT ON {}.shown TO imgmig_reader").format(schema))

    assert look(source, "shown").unmapped == ("text_below", "area")
    assert look(source, "shown", ignored={"area": "computed"}).ignored == {"area": "computed"}


def test_a_partitioned_table_has_those_of_all_its_partitions(source: Source) -> None:
    source.execute("ALTER TABLE {t} RENAME TO plain")
    schema = sql.Identifier(source.schema)
    for statement in (
        "CREATE TABLE {0}.images (LIKE {0}.plain, caption text, PRIMARY KEY (id, created_at))"
        " PARTITION BY RANGE (created_at)",
        "CREATE TABLE {0}.part PARTITION OF {0}.images DEFAULT",
        "GRANT SELECT ON {0}.images TO imgmig_reader",
        "ALTER TABLE {0}.images ADD COLUMN added text",
    ):
        source.owner.execute(sql.SQL(statement).format(schema))

    assert look(source).unmapped == ("caption", "added")


def test_a_column_that_is_added_renamed_or_dropped_while_a_reader_is_open_is_seen(source: Source) -> None:
    source.insert([image(1)])
    with source.reader() as reader:
        assert reader.table.not_migrated == NotMigrated()
        source.execute("ALTER TABLE {t} ADD COLUMN caption text")
        assert reader.columns_not_migrated().unmapped == ("caption",)
        source.execute("ALTER TABLE {t} RENAME COLUMN caption TO legend")
        assert reader.columns_not_migrated().unmapped == ("legend",)
        source.execute("ALTER TABLE {t} RENAME COLUMN width TO breadth")
        assert reader.columns_not_migrated().unmapped == ("breadth", "legend")
        with pytest.raises(SourceRefused, match="column width is missing"):
            reader.rows([str(image(1)["id"])])
        source.execute("ALTER TABLE {t} RENAME COLUMN breadth TO width")
        source.execute("ALTER TABLE {t} DROP COLUMN legend")
        assert reader.columns_not_migrated() == NotMigrated()


def test_a_column_that_the_role_may_not_read_is_named_too(source: Source) -> None:
    source.execute("ALTER TABLE {t} ADD COLUMN caption text")
    source.execute(
        f"REVOKE ALL ON {{t}} FROM imgmig_reader; GRANT SELECT ({', '.join(IMAGE.columns)}) ON {{t}} TO imgmig_reader"
    )

    assert look(source).unmapped == ("caption",)
