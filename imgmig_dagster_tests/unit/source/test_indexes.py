"""The statements by which a table gets an index that gives its rows in the order of the pages."""

from psycopg import sql

from imgmig_dagster.source.indexes import missing_page_index
from imgmig_dagster_tests.arrange import Source
from imgmig_dagster_tests.unit.source.test_kinds_of_tables import partition


class TestIndexForPages:
    """The doctor's statements are given one by one, as a person would, and then there is nothing left to say."""

    def follow(self, source: Source) -> list[str]:
        with source.reader() as reader:
            fetch = reader._connections.fetch
            statements = list(missing_page_index(fetch, reader.table))
            for statement in statements:
                source.owner.execute(statement)
            assert missing_page_index(fetch, reader.table) == []
        return statements

    def test_a_plain_table_takes_one_statement(self, source: Source) -> None:
        index = sql.Identifier(source.schema, "images_created_at_id_idx")
        source.owner.execute(sql.SQL("DROP INDEX {}").format(index))

        assert len(self.follow(source)) == 1

    def test_a_partitioned_table_takes_one_of_its_own_and_one_of_each_partition_attached(self, source: Source) -> None:
        partition(source, "PRIMARY KEY (id, created_at)")

        statements = self.follow(source)

        assert [statement.partition(" ON ")[0].split(" ")[:3] for statement in statements[:3]] == [
            ["CREATE", "INDEX", '"images_pages"'],
            ["CREATE", "INDEX", "CONCURRENTLY"],
            ["CREATE", "INDEX", "CONCURRENTLY"],
        ]
        ((valid,),) = source.execute(
            "SELECT indisvalid FROM pg_index WHERE indexrelid = %s::regclass", f"{source.schema}.images_pages"
        )
        assert valid

    def test_what_is_there_already_is_attached_and_not_made_again(self, source: Source) -> None:
        partition(source, "PRIMARY KEY (id, created_at)")
        late = sql.Identifier(source.schema, "late")
        source.owner.execute(sql.SQL("CREATE INDEX mine ON {} (created_at, id)").format(late))

        statements = self.follow(source)

        assert len([each for each in statements if each.startswith("CREATE")]) == 2
        assert any(each.endswith(f'ATTACH PARTITION "{source.schema}"."mine"') for each in statements)

    def test_one_of_each_partition_is_enough(self, source: Source) -> None:
        partition(source, "PRIMARY KEY (id, created_at)")
        for name in ("early", "late"):
            source.owner.execute(
                sql.SQL("CREATE INDEX ON {} (created_at DESC, id DESC)").format(sql.Identifier(source.schema, name))
            )

        assert self.follow(source) == []

    def test_partitions_of_partitions_are_attached_from_below(self, source: Source) -> None:
        partition(source, "PRIMARY KEY (id, created_at)")
        below = sql.Identifier(source.schema, "below")
        source.owner.execute(
            sql.SQL(
                "CREATE TABLE {} PARTITION OF {} FOR VALUES FROM ('2025-01-01Z') TO ('2026-01-01Z')"
                " PARTITION BY HASH (id)"
            ).format(below, sql.Identifier(source.schema, "images"))
        )
        for remainder in range(2):
            source.owner.execute(
                sql.SQL("CREATE TABLE {} PARTITION OF {} FOR VALUES WITH (MODULUS 2, REMAINDER {})").format(
                    sql.Identifier(source.schema, f"below_{remainder}"), below, remainder
                )
            )

        assert len(self.follow(source)) == 6 + 5
