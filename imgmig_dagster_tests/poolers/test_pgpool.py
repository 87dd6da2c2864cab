"""Behind pgpool-II's load balancing every row comes from the primary, whatever it tells of the session."""

from collections.abc import Iterator
from dataclasses import replace

import psycopg
import pytest

from imgmig_dagster.sandbox.postgres import OWNER, READER, SOURCE_DATABASE, url
from imgmig_dagster.sandbox.process import HOST
from imgmig_dagster_tests.arrange import Migration, Source
from imgmig_dagster_tests.integration.test_doctor import of_source
from imgmig_dagster_tests.integration.test_standby import READINGS, ROWS, Pair
from imgmig_dagster_tests.poolers.servers import pgpool


@pytest.fixture(scope="module")
def balanced(pair: Pair) -> Iterator[Source]:
    """The source through pgpool, which sends all reads that it may to the stale standby."""
    with (
        pgpool(pair.port, pair.standby.port, OWNER) as port,
        psycopg.connect(url(pair.port, SOURCE_DATABASE, OWNER), autocommit=True) as owner,
    ):
        yield Source(owner, f"postgresql://{READER}@{HOST}:{port}/{SOURCE_DATABASE}", "public", "images")


def test_another_client_reads_the_standby_there_and_is_told_of_the_primary(balanced: Source) -> None:
    with psycopg.connect(balanced.url, autocommit=True) as client:
        assert client.execute("SELECT pg_is_in_recovery()").fetchone() == (False,)
        assert client.execute("SELECT DISTINCT original_filename LIKE 'IMG%' FROM images").fetchall() == [(True,)]


@pytest.mark.parametrize("reading", sorted(READINGS))
def test_every_way_of_reading_sees_the_primary(pair: Pair, balanced: Source, reading: str) -> None:
    direct = replace(balanced, url=pair.url(pair.port))
    with balanced.reader() as through_pgpool, direct.reader() as reader:
        found, expected = READINGS[reading](through_pgpool), READINGS[reading](reader)

    assert found if reading == "inventory" else found == expected
    if reading == "inventory":
        assert found.digest == expected.digest


def test_what_is_migrated_and_verified_is_what_the_primary_holds(balanced: Source, migration: Migration) -> None:
    through_pgpool = replace(migration, source=balanced)

    assert through_pgpool.migrate(page_size=10).outcomes == {"inserted": ROWS}

    assert {item["originalFilename"]["S"] for item in migration.target.items().values()} == {"changed on the primary"}
    assert through_pgpool.verify().passed


def test_the_doctor_names_it(balanced: Source) -> None:
    assert of_source(balanced)["pooler"].found == "pgpool-II: every statement makes it ask the primary"
