"""A migration beside an application that writes to both sides all the while, as fast as it can."""

from imgmig_dagster_tests.arrange import Migration, image
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.torture.application import connection_of, migrate_beside_the_application

ROWS = 500


def test_nothing_of_the_application_is_undone_and_nothing_differs_once_it_stops(
    services: Services, migration: Migration
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    schema = migration.source.schema

    found = migrate_beside_the_application(migration, lambda: connection_of(services.environment, schema), 100)

    assert found.violations == []
    assert all(found.written[kind] for kind in ("insert", "update", "touch", "delete"))
    assert sum(found.written.values()) > ROWS / 10
