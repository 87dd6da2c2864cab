"""A migration, and a verification, beside an application that writes to both sides all the while."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace

import psycopg

from imgmig_dagster.mapping.image import IMAGE
from imgmig_dagster.sandbox.dual_writer import OWN_ATTRIBUTE, DualWriter, Journal
from imgmig_dagster.verification.census import take_census
from imgmig_dagster.verification.results import CensusResult, Verdict, VerificationResult
from imgmig_dagster_tests.arrange import Migration, image, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import FaultProxy

ROWS = 500
WRITES_PER_SECOND = 100
SETTLE_SECONDS = 0.5
# Longer than the application takes from PostgreSQL to DynamoDB, on a busy machine too.
VERIFY_SETTLE_SECONDS = 1.0


def test_nothing_of_the_application_is_undone_and_nothing_differs_once_it_stops(
    services: Services, migration: Migration
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    run = replace(migration.run(page_size=100), settle_seconds=SETTLE_SECONDS)
    with run.source:
        journal = _beside_the_application(services, migration, run.migrate)
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


def test_a_verification_meanwhile_names_what_was_corrupted_and_raises_no_false_alarm(
    services: Services, migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    migration.migrate()
    run = replace(migration.verification(proxy.url, page_size=100), settle_seconds=VERIFY_SETTLE_SECONDS)
    # Of the last page, which is not read yet when the first reply comes. The application never writes this field, so
    # that nothing mends it, whatever else it does to these rows; but it may delete them.
    corrupted = {row_id(number) for number in range(ROWS - 20, ROWS)}

    def corrupt() -> None:
        for identifier in corrupted:
            with suppress(services.dynamodb.exceptions.ConditionalCheckFailedException):
                services.dynamodb.update_item(
                    TableName=migration.target.name,
                    Key=IMAGE.key(identifier),
                    UpdateExpression="SET originalFilename = :wrong",
                    ConditionExpression="attribute_exists(PK)",
                    ExpressionAttributeValues={":wrong": {"S": "corrupted.jpg"}},
                )

    found: list[tuple[VerificationResult, CensusResult]] = []

    def verify() -> None:
        result = run.verify(migration.window)
        found.append((result, take_census(run, migration.window.start, migration.window.end)))

    proxy.after(corrupt, "BatchGetItem")
    with run.source:
        journal = _beside_the_application(services, migration, verify)

    ((result, census),) = found
    assert sum(journal.counts.values()) > ROWS / 10
    assert result.settled + census.settled, "nothing moved while it was looked at: the test saw no live write"
    assert result.coverage_is_complete
    assert (census.missing, census.orphans, census.unverified) == (0, 0, 0)
    there = corrupted - journal.deleted
    assert len(there) > len(corrupted) / 2
    assert {(mismatch.verdict, mismatch.attribute) for mismatch in result.mismatches} == {
        (Verdict.MISMATCH, "originalFilename")
    }
    for named in ({mismatch.row_id for mismatch in result.mismatches}, set(census.samples["differing"])):
        assert there <= named <= corrupted
    assert census.differing == len(census.samples["differing"])


def _beside_the_application(services: Services, migration: Migration, work: Callable[[], object]) -> Journal:
    """Do the work while the application writes to the same table and items."""
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
            work()
        finally:
            stop.set()
        return writing.result()
