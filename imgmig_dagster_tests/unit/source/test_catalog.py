"""A source that cannot be migrated safely is refused before anything is read or written."""

from typing import Any

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import MARCH, Source, image
from imgmig_dagster_tests.conftest import NewSource
from imgmig_dagster_tests.images import IMAGE


def refusal(source: Source) -> str:
    with source.reader() as reader, pytest.raises(SourceRefused) as caught:
        list(reader.pages(MARCH, None, 10))
    return str(caught.value)


@pytest.mark.parametrize(
    ("column_type", "id_constraint", "index"),
    [
        ("uuid", "NOT NULL", None),
        ("uuid", "NOT NULL", "CREATE INDEX ON {t} (id)"),
        ("uuid", "NOT NULL", "CREATE UNIQUE INDEX ON {t} (id, created_at)"),
        ("uuid", "NOT NULL", "CREATE UNIQUE INDEX ON {t} (id) WHERE width > 0"),
        ("text", "NOT NULL", "CREATE UNIQUE INDEX ON {t} (lower(id))"),
        ("uuid", "NOT NULL", "CREATE UNIQUE INDEX ON {t} (s3_key)"),
    ],
    ids=["none", "not unique", "two columns", "partial", "expression", "of another column"],
)
def test_a_table_without_a_unique_index_on_a_required_id_is_refused(
    new_source: NewSource, column_type: str, id_constraint: str, index: str | None
) -> None:
    source = new_source(id_type=column_type, id_constraint=id_constraint)
    if index:
        source.execute(index)
    source.insert([image(1)])

    text = refusal(source)

    assert f"{source.schema}.images has no unique index on id" in text
    assert "NOT NULL" in text
    assert "Create a unique index" in text


@pytest.mark.parametrize(
    ("id_constraint", "index"),
    [
        ("NOT NULL UNIQUE", None),
        ("NOT NULL", "CREATE UNIQUE INDEX ON {t} (id) INCLUDE (created_at)"),
        ("NOT NULL", "CREATE UNIQUE INDEX ON {t} (id DESC)"),
    ],
)
def test_any_full_unique_index_on_a_required_id_is_enough(
    new_source: NewSource, id_constraint: str, index: str | None
) -> None:
    source = new_source(id_constraint=id_constraint)
    if index:
        source.execute(index)

    with source.reader() as reader:
        assert reader.table.columns["id"].shown == "uuid"


def test_a_table_partitioned_by_its_id_is_taken(source: Source) -> None:
    source.execute("DROP TABLE {t}")
    source.execute(
        "CREATE TABLE {t} (id uuid PRIMARY KEY, user_id uuid, created_at timestamptz, updated_at timestamptz,"
        " original_filename text, s3_key text, s3_bucket text, thumbnail_s3_key text, mime_type text,"
        " size_bytes bigint, width integer, height integer) PARTITION BY HASH (id)"
    )

    with source.reader() as reader:
        assert reader.table.qualified


def test_a_missing_column_is_named(source: Source) -> None:
    source.execute("ALTER TABLE {t} DROP COLUMN width, DROP COLUMN mime_type")

    text = refusal(source)

    assert "column width is missing" in text
    assert "column mime_type is missing" in text
    assert "height" not in text


@pytest.mark.parametrize(
    ("column", "wrong"),
    [
        ("size_bytes", "money"),
        ("width", "double precision"),
        ("height", "text"),
        ("created_at", "date"),
        ("updated_at", "text"),
        ("updated_at", "time without time zone"),
        ("size_bytes", "real"),
    ],
)
def test_a_column_of_the_wrong_type_is_named_with_both_types(source: Source, column: str, wrong: str) -> None:
    source.execute(f"ALTER TABLE {{t}} DROP COLUMN {column}, ADD COLUMN {column} {wrong}")

    text = refusal(source)

    assert f"column {column} is {wrong}, and the mapping takes " in text
    assert "make a view that casts it, and name that by `table` in the declaration" in text


@pytest.mark.parametrize(("schema", "table"), [("public", "no_such_table"), ("no_such_schema", "images")])
def test_a_missing_table_is_refused_with_the_settings_to_check(source: Source, schema: str, table: str) -> None:
    with SourceReader(ReadOnlyConnections(source.url), schema, table, IMAGE) as reader:
        with pytest.raises(SourceRefused, match=f"there is no table {schema}.{table}") as caught:
            reader.count(MARCH)

        assert "`table` in the declaration" in str(caught.value)


def test_a_table_that_may_not_be_read_is_refused_without_values(source: Source) -> None:
    source.execute("REVOKE ALL ON {t} FROM imgmig_reader")

    assert "SQLSTATE 42501" in refusal(source)


def test_the_identity_names_server_database_and_table(new_source: NewSource) -> None:
    def identity(source: Source) -> Any:
        with source.reader() as reader:
            return reader.table.identity

    one, other = new_source(), new_source()

    assert identity(one) == identity(one)
    assert identity(one).endswith(f"/images/{one.schema}.images")
    assert identity(one).split(":")[1].split("/")[0].isdigit()
    assert identity(one) != identity(other)
