"""What the source table may be: a table of its own rows, a partitioned one, a view; and what is refused by its name."""

import re
from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest
from psycopg import sql

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import MARCH, Source, image, month, row_id
from imgmig_dagster_tests.conftest import NewSource, Services
from imgmig_dagster_tests.images import IMAGE, PICTURE

COLUMNS = (
    "id uuid NOT NULL, user_id uuid, created_at timestamptz NOT NULL, updated_at timestamptz, original_filename text,"
    " s3_key text, s3_bucket text, thumbnail_s3_key text, mime_type text, size_bytes bigint, width integer,"
    " height integer"
)


def refusal(source: Source, table: str = "images") -> str:
    reader = SourceReader(ReadOnlyConnections(source.url), source.schema, table, IMAGE)
    with reader, pytest.raises(SourceRefused) as caught:
        list(reader.pages(MARCH, None, 10))
    return str(caught.value)


def ids(reader: SourceReader) -> list[str]:
    return [row.id for page in reader.pages(MARCH, None, 2) for row in page]


def inherit(source: Source, child: str, parent: str = "images") -> sql.Identifier:
    name = sql.Identifier(source.schema, child)
    source.owner.execute(
        sql.SQL("CREATE TABLE {} () INHERITS ({})").format(name, sql.Identifier(source.schema, parent))
    )
    source.owner.execute(sql.SQL("GRANT SELECT ON {} TO imgmig_reader").format(name))
    return name


class TestInheritance:
    def test_rows_of_a_child_are_refused_by_the_childs_name(self, source: Source) -> None:
        source.insert(image(number) for number in range(3))
        inherit(source, "images_2023")
        archive = inherit(source, "archive", "images_2023")
        source.owner.execute(
            sql.SQL("INSERT INTO {} SELECT * FROM ONLY {} LIMIT 1").format(
                archive, sql.Identifier(source.schema, "images")
            )
        )

        text = refusal(source)

        assert f"{source.schema}.images has tables that inherit from it and hold rows" in text
        assert f"{source.schema}.archive" in text
        assert "images_2023" not in text

    def test_a_child_without_rows_is_taken_and_rows_that_it_gets_later_are_never_read(self, source: Source) -> None:
        source.insert(image(number) for number in range(3))
        child = inherit(source, "images_2023")

        with source.reader() as reader:
            assert reader.count(MARCH) == 3
            source.owner.execute(
                sql.SQL("INSERT INTO {} SELECT * FROM ONLY {}").format(child, sql.Identifier(source.schema, "images"))
            )
            assert ids(reader) == [row_id(number) for number in range(3)]
            assert reader.count_all() == reader.inventory(MARCH).rows == reader.count(MARCH) == 3
            assert reader.rows_per_window([MARCH]) == {MARCH.partition: 3}
            assert len([row for page in reader.all_rows(2) for row in page]) == 3
            assert len(reader.rows([row_id(1), row_id(2)])) == 2
            assert len(reader.sample(5, 1, PICTURE, [MARCH])) == 3
            with reader.window_ids(MARCH) as ids_between:
                assert len(ids_between(None, None)) == 3
        # The next reader of the table gets the error.
        assert "hold rows" in refusal(source)

    def test_a_child_that_the_role_may_not_read_is_refused_with_the_grant(self, source: Source) -> None:
        child = inherit(source, "secret")
        source.owner.execute(sql.SQL("REVOKE SELECT ON {} FROM imgmig_reader").format(child))

        assert f"GRANT SELECT ON {source.schema}.secret" in refusal(source)

    def test_a_table_that_inherits_itself_is_one_of_its_own_rows(self, source: Source) -> None:
        inherit(source, "child")
        source.execute("INSERT INTO {t} (id, created_at) VALUES (gen_random_uuid(), '2024-03-01Z')")
        source.owner.execute(
            sql.SQL("ALTER TABLE {0} ADD PRIMARY KEY (id)").format(sql.Identifier(source.schema, "child"))
        )

        with SourceReader(ReadOnlyConnections(source.url), source.schema, "child", IMAGE) as reader:
            assert reader.count(MARCH) == 0


def partition(source: Source, key: str, extra: str = "") -> None:
    """The table, partitioned by month of created_at, with two partitions and a default one."""
    source.execute("DROP TABLE {t}")
    source.execute(f"CREATE TABLE {{t}} ({COLUMNS}, {key}) PARTITION BY RANGE (created_at)")
    for name, bounds in {
        "early": "FROM ('2024-01-01Z') TO ('2024-03-10Z')",
        "late": "FROM ('2024-03-10Z') TO ('2025-01-01Z')",
    }.items():
        source.owner.execute(
            sql.SQL(f"CREATE TABLE {{}} PARTITION OF {{}} FOR VALUES {bounds} {extra}").format(
                sql.Identifier(source.schema, name), sql.Identifier(source.schema, "images")
            )
        )
    source.execute("GRANT SELECT ON {t} TO imgmig_reader")


class TestPartitionedTables:
    def test_a_key_of_id_and_created_at_is_taken(self, source: Source) -> None:
        partition(source, "PRIMARY KEY (id, created_at)")
        source.insert(image(number, created_at=f"2024-03-{number + 6:02}T00:00:00Z") for number in range(9))

        with source.reader() as reader:
            assert ids(reader) == [row_id(number) for number in range(9)]
            assert not reader.table.id_is_indexed
            assert reader.repeated_ids(MARCH).ids == reader.repeated_ids().ids == 0
            assert reader.counts([MARCH]).everything == 9

    def test_an_id_that_is_in_two_partitions_is_found_from_either_window(self, source: Source) -> None:
        partition(source, "UNIQUE (created_at, id)")
        source.insert([image(1), image(2), image(3), image(2, created_at="2024-06-01T00:00:00Z")])

        with source.reader() as reader:
            for window in (MARCH, month(2024, 6), None):
                found = reader.repeated_ids(window)
                assert (found.ids, found.sample_ids) == (1, (row_id(2),))
            assert reader.repeated_ids(month(2024, 5)).ids == 0
            with pytest.raises(SourceRefused, match=f"more than one row with the id {row_id(2)}"):
                reader.rows([row_id(1), row_id(2)])

    @pytest.mark.parametrize("at", ["2024-03-01T00:00:02.0001Z", "2024-03-20T00:00:00Z", "2024-06-01T00:00:00Z"])
    def test_an_id_that_is_there_twice_is_never_accounted_for(self, source: Source, at: str) -> None:
        """On one page, on two, in two windows."""
        partition(source, "PRIMARY KEY (id, created_at)")
        source.insert([image(1), image(2), image(3), image(2, created_at=at)])

        with source.reader() as reader:
            with (
                pytest.raises(SourceRefused, match=f"more than one row with the id {row_id(2)}, or it is NULL"),
                reader.window_ids(MARCH),
            ):
                pass
            with reader.window_ids(month(2024, 5)) as ids_between:
                assert ids_between(None, None) == []

    def test_no_key_that_contains_the_id_is_refused_with_advice_that_can_be_followed(self, source: Source) -> None:
        partition(source, "UNIQUE (created_at, s3_key)")

        text = refusal(source)

        assert "no primary key or unique index that contains id" in text
        assert "the columns by which the table is partitioned" in text

    def test_a_partition_that_is_a_foreign_table_is_refused_by_its_name(
        self, source: Source, foreign_server: str
    ) -> None:
        partition(source, "CHECK (id IS NOT NULL)")
        source.owner.execute(
            sql.SQL(
                "CREATE FOREIGN TABLE {} PARTITION OF {} FOR VALUES FROM ('2025-01-01Z') TO (MAXVALUE) SERVER {}"
            ).format(
                sql.Identifier(source.schema, "remote"),
                sql.Identifier(source.schema, "images"),
                sql.Identifier(foreign_server),
            )
        )

        assert f"{source.schema}.remote, which is a foreign table" in refusal(source)


@pytest.fixture
def foreign_server(services: Services) -> Any:
    """A server that nobody can reach: a foreign table is refused before it is read."""
    services.owner.execute("CREATE FOREIGN DATA WRAPPER nowhere")
    services.owner.execute("CREATE SERVER nowhere FOREIGN DATA WRAPPER nowhere")
    yield "nowhere"
    services.owner.execute("DROP FOREIGN DATA WRAPPER nowhere CASCADE")


def view(source: Source, query: str, name: str = "a_view", kind: str = "VIEW") -> None:
    named = sql.Identifier(source.schema, name)
    table = sql.Identifier(source.schema, "images")
    source.owner.execute(sql.SQL(f"CREATE {kind} {{}} AS {query}").format(named, t=table))
    source.owner.execute(sql.SQL("GRANT SELECT ON {} TO imgmig_reader").format(named))


class TestViews:
    def test_a_view_is_read_like_a_table(self, source: Source) -> None:
        source.insert(image(number) for number in range(5))
        view(source, "SELECT * FROM {t} WHERE size_bytes < 1004")

        with closing(SourceReader(ReadOnlyConnections(source.url), source.schema, "a_view", IMAGE)) as reader:
            assert ids(reader) == [row_id(number) for number in range(4)]
            assert len([row for page in reader.all_rows(3) for row in page]) == 4
            assert reader.repeated_ids(MARCH).ids == 0
            assert reader.inventory(MARCH).rows == 4

    def test_it_casts_a_column_that_the_mapping_does_not_take(self, new_source: NewSource) -> None:
        source = new_source(time_type="bigint")
        source.insert([image(1, created_at=1_709_251_200_000, updated_at=1_709_251_200_123)])
        assert "column created_at is bigint" in refusal(source)
        assert "make a view that casts it" in refusal(source)
        view(
            source,
            "SELECT id, user_id, original_filename, s3_key, s3_bucket, thumbnail_s3_key, mime_type, size_bytes, width,"
            " height, to_timestamp(created_at / 1000.0) AS created_at, to_timestamp(updated_at / 1000.0) AS updated_at"
            " FROM {t}",
        )

        with SourceReader(ReadOnlyConnections(source.url), source.schema, "a_view", IMAGE) as reader:
            assert ids(reader) == [row_id(1)]

    def test_ids_that_are_there_twice_and_ids_that_are_null_are_found(self, source: Source) -> None:
        source.insert(image(number) for number in range(3))
        view(
            source,
            "SELECT * FROM {t} UNION ALL SELECT CASE WHEN size_bytes = 1000 THEN id END, user_id, created_at,"
            " updated_at, original_filename, s3_key, s3_bucket, thumbnail_s3_key, mime_type, size_bytes, width, height"
            " FROM {t} WHERE size_bytes < 1002",
        )

        with SourceReader(ReadOnlyConnections(source.url), source.schema, "a_view", IMAGE) as reader:
            found = reader.repeated_ids(MARCH)

        assert (found.ids, found.sample_ids) == (2, (row_id(0), "None"))

    @pytest.mark.parametrize(
        ("query", "told"),
        [
            (
                "SELECT * FROM {t} WHERE random() < 0.5",
                r"calls random\(\), which is volatile.*: make a view without it$",
            ),
            ("SELECT * FROM {t} TABLESAMPLE BERNOULLI (50)", "draws its rows by TABLESAMPLE"),
            ("SELECT * FROM {t} WHERE {s}.unsaid(id)", r"calls test_\w+.unsaid\(uuid\).*or ALTER FUNCTION \S+ STABLE"),
            ("SELECT * FROM {s}.hiding()", r"calls test_\w+.hiding\(\), which sets row_security.*RESET row_security$"),
        ],
    )
    def test_what_gives_other_rows_each_time_is_refused_behind_another_view_too(
        self, source: Source, query: str, told: str
    ) -> None:
        names = {"s": sql.Identifier(source.schema), "t": sql.Identifier(source.schema, "images")}
        for function in (
            "unsaid(uuid) RETURNS boolean LANGUAGE sql AS 'SELECT true'",
            "hiding() RETURNS SETOF {t} LANGUAGE sql STABLE SET row_security = on AS 'SELECT * FROM {t}'",
        ):
            source.owner.execute(sql.SQL("CREATE FUNCTION {s}." + function).format(**names))
        view(source, sql.SQL(query).format(**names).as_string(), "inner_view")
        view(source, sql.SQL("SELECT * FROM {}").format(sql.Identifier(source.schema, "inner_view")).as_string())

        for name in ("inner_view", "a_view"):
            text = refusal(source, name)
            assert re.search(f"view {source.schema}.inner_view {told}", text), text

    def test_what_gives_the_same_within_a_statement_is_taken(self, source: Source) -> None:
        source.insert(image(number) for number in range(3))
        view(
            source,
            "SELECT * FROM {t} WHERE created_at < now() AND upper(mime_type) = (SELECT max(upper(mime_type)) FROM {t})",
        )

        with replace(source, table="a_view").reader() as reader:
            assert len(ids(reader)) == 3

    def test_another_query_of_the_view_is_another_source(self, source: Source) -> None:
        def identity() -> str:
            with SourceReader(ReadOnlyConnections(source.url), source.schema, "a_view", IMAGE) as reader:
                return reader.table.identity

        view(source, "SELECT * FROM {t}", "inner_view")
        inner = sql.Identifier(source.schema, "inner_view")
        view(source, sql.SQL("SELECT * FROM {}").format(inner).as_string())
        before = identity()
        assert before == identity()

        source.owner.execute(
            sql.SQL("CREATE OR REPLACE VIEW {} AS SELECT * FROM {} WHERE width > 0").format(
                inner, sql.Identifier(source.schema, "images")
            )
        )

        assert identity() != before

    def test_a_materialized_view_is_refused_as_what_it_is_behind_a_view_too(self, source: Source) -> None:
        view(source, "SELECT * FROM {t}", "copy", "MATERIALIZED VIEW")
        view(source, sql.SQL("SELECT * FROM {}").format(sql.Identifier(source.schema, "copy")).as_string())

        assert f"{source.schema}.copy is a materialized view: its rows are those of its last refresh" in refusal(
            source, "copy"
        )
        assert f"{source.schema}.copy, which is a materialized view" in refusal(source, "a_view")

    def test_a_foreign_table_is_refused_as_what_it_is(self, source: Source, foreign_server: str) -> None:
        source.owner.execute(
            sql.SQL("CREATE FOREIGN TABLE {} (id uuid) SERVER {}").format(
                sql.Identifier(source.schema, "remote"), sql.Identifier(foreign_server)
            )
        )

        text = refusal(source, "remote")

        assert "remote is a foreign table" in text
        assert "point url in [source] at that server" in text

    def test_anything_else_that_has_that_name_is_called_by_its_kind(self, source: Source) -> None:
        source.owner.execute(sql.SQL("CREATE SEQUENCE {}").format(sql.Identifier(source.schema, "numbers")))

        assert "numbers is a sequence: check `table` in the declaration" in refusal(source, "numbers")


class TestAlteredDuringTheRead:
    @pytest.mark.parametrize(
        ("change", "fault"),
        [
            ("RENAME COLUMN width TO breadth", "column width is missing"),
            ("DROP COLUMN mime_type", "column mime_type is missing"),
            ("ALTER COLUMN width TYPE text", "column width is text"),
        ],
    )
    def test_a_column_that_no_longer_fits_is_named_and_reading_goes_on_once_it_does(
        self, source: Source, change: str, fault: str
    ) -> None:
        source.insert(image(number) for number in range(4))
        with source.reader() as reader:
            pages = reader.pages(MARCH, None, 2)
            first = next(pages)
            source.execute(f"ALTER TABLE {{t}} {change}")

            if "TYPE" not in change:
                with pytest.raises(SourceRefused, match=fault):
                    next(pages)
                if "RENAME" in change:
                    source.execute("ALTER TABLE {t} RENAME COLUMN breadth TO width")
                    (rest,) = reader.pages(MARCH, first.until, 3)
                    assert [row[0] for row in rest] == [row_id(2), row_id(3)]
        if "RENAME" not in change:
            assert fault in refusal(source)

    def test_a_wider_type_is_read_on(self, new_source: NewSource) -> None:
        source = new_source(id_type="integer")
        source.insert(image(number, id=number) for number in range(4))
        with source.reader() as reader:
            pages = reader.pages(MARCH, None, 2)
            next(pages)
            source.execute("ALTER TABLE {t} ALTER COLUMN id TYPE bigint, ALTER COLUMN width TYPE bigint")
            source.insert([image(9, id=2**40)])

            assert [row[0] for page in pages for row in page] == ["2", "3", str(2**40)]
            assert list(reader.rows([str(2**40)])) == [str(2**40)]
