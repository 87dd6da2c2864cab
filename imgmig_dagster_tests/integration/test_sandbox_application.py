"""The sandbox's application writes both sides alike, and does not stand still in silence."""

import psycopg
import pytest

from imgmig_dagster.sandbox.dual_writer import DualWriter
from imgmig_dagster_tests.arrange import Migration, image
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.torture.application import connection_of

WRITES_PER_SECOND = 1_000
SECONDS = 3


@pytest.fixture
def application(services: Services, migration: Migration) -> DualWriter:
    migration.source.insert(image(number) for number in range(50))
    schema = migration.source.schema
    target = migration.target
    return DualWriter(lambda: connection_of(services.environment, schema), target.client, target.name)


def test_what_it_wrote_agrees_on_both_sides_once_it_has_stopped_and_it_can_begin_again(
    migration: Migration, application: DualWriter
) -> None:
    migration.migrate()

    for _time in range(2):
        journal = application.run(WRITES_PER_SECOND, SECONDS)

    assert set(journal.counts) == {"insert", "update", "touch", "delete"}
    assert journal.lowered == []
    assert migration.verify().passed
    assert migration.census().passed


def test_an_error_of_its_database_ends_it(migration: Migration, application: DualWriter) -> None:
    migration.source.execute("ALTER TABLE {t} DROP COLUMN thumbnail_s3_key")

    with pytest.raises(psycopg.errors.UndefinedColumn):
        application.run(WRITES_PER_SECOND, 60)
