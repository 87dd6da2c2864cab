"""What SQLAlchemy's inspector tells of odd tables, on PostgreSQL's own."""

import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reflection import Reflected, reflect
from imgmig_dagster_tests.arrange import Source
from imgmig_dagster_tests.conftest import NewSource


def reflected(source: Source) -> Reflected:
    connections = ReadOnlyConnections(source.url, RetryPolicy(delays=()))
    try:
        return reflect(connections, source.schema, source.table)
    finally:
        connections.close()


def test_keys_indexes_and_comments_by_names_that_need_quotes(new_source: NewSource) -> None:
    source = new_source(table='share % "of"')
    source.execute('ALTER TABLE {t} ADD COLUMN "Owner.Id" int, ADD COLUMN "100 %" text')
    source.execute('CREATE UNIQUE INDEX ON {t} ("Owner.Id", "100 %")')
    source.execute("CREATE UNIQUE INDEX ON {t} (s3_key) WHERE width > 0")
    source.execute("CREATE UNIQUE INDEX ON {t} (lower(s3_key))")
    source.execute("CREATE UNIQUE INDEX ON {t} (width) INCLUDE (height)")
    source.execute("COMMENT ON COLUMN {t}.width IS 'in pixels'")

    found = reflected(source)

    assert found.primary_key == ("id",)
    assert found.unique == (("Owner.Id", "100 %"), ("width",))
    assert found.leading == {"created_at", "id", "Owner.Id", "width"}
    assert found.comments["width"] == "in pixels"


def test_types_that_sqlalchemy_does_not_know_are_no_matter(source: Source) -> None:
    source.execute("ALTER TABLE {t} ADD place point, ADD position pg_lsn")

    assert reflected(source).primary_key == ("id",)


def test_a_table_that_is_not_there_is_refused(source: Source) -> None:
    source.execute("DROP TABLE {t}")

    with pytest.raises(SourceRefused, match="there is no table"):
        reflected(source)
