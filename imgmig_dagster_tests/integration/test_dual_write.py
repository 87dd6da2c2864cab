"""A migration beside an application that writes to both sides all the while."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import psycopg

from imgmig_dagster.migration.passes import MigrationRun
from imgmig_dagster.sandbox.dual_writer import OWN_ATTRIBUTE, DualWriter, Journal
from imgmig_dagster_tests.arrange import Migration, image
from imgmig_dagster_tests.conftest import Services

ROWS = 500
WRITES_PER_SECOND = 100
SETTLE_SECONDS = 0.5


def test_nothing_of_the_application_is_undone_and_nothing_differs_once_it_stops(
    services: Services, migration: Migration
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    run = replace(migration.run(page_size=100), settle_seconds=SETTLE_SECONDS)
    with run.source:
        journal = _beside_the_application(services, migration, run)
        # Rows that were committed behind the cursor: the next pass finds them.
        run.migrate()

    assert migration.verify().passed
    assert migration.census().passed
    items = migration.target.items()
    assert sum(journal.counts.values()) > ROWS / 10
    assert not journal.lowered
    assert not [row_id for row_id in journal.deleted if f"IMAGE#{row_id}" in items]
    versions = {row_id: int(items[f"IMAGE#{row_id}"]["version"]["N"]) for row_id in journal.versions}
    assert all(versions[row_id] >= version for row_id, version in journal.versions.items())
    own = {row_id: items[f"IMAGE#{row_id}"][OWN_ATTRIBUTE]["S"] for row_id in journal.own}
    assert own == journal.own


def _beside_the_application(services: Services, migration: Migration, run: MigrationRun) -> Journal:
    """Migrate once while the application writes to the same table and items."""
    environment = services.environment

    def connect() -> "psycopg.Connection[tuple[object, ...]]":
        return psycopg.connect(
            host=environment["PGHOST"],
            port=environment["PGPORT"],
            user=environment["PGUSER"],
            dbname=environment["PGDATABASE"],
            options=f"-c search_path={migration.source.schema}",
        )

    application = DualWriter(connect, services.dynamodb, migration.target.name)
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(application.run, WRITES_PER_SECOND, 120.0, stop)
        try:
            run.migrate()
        finally:
            stop.set()
        return writing.result()
