"""Censuses beside an application that writes to both sides all the while: clean where nothing is wrong, never blind."""

from contextlib import suppress
from dataclasses import replace

from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster_tests.arrange import Migration, image, item_of, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.torture.application import beside_the_application, connection_of

ROWS = 1_000
WRITES_PER_SECOND = 100
CENSUSES = 3
# Longer than the application takes from PostgreSQL to DynamoDB, on a busy machine too.
SETTLE_SECONDS = 1.0
# The application knows none of these ids, and never writes this field.
ORPHANS = {row_id(number) for number in (50_001, 50_002)}
CORRUPTED = {row_id(number) for number in range(0, ROWS, 50)}


def plant(migration: Migration) -> None:
    for number in (50_001, 50_002):
        migration.target.put(item_of(number))
    client = migration.target.client
    for identifier in CORRUPTED:
        with suppress(client.exceptions.ConditionalCheckFailedException):  # the application has deleted it
            client.update_item(
                TableName=migration.target.name,
                Key=IMAGE.key(identifier),
                UpdateExpression="SET originalFilename = :wrong",
                ConditionExpression="attribute_exists(PK)",
                ExpressionAttributeValues={":wrong": {"S": "corrupted.jpg"}},
            )


def test_they_are_clean_and_then_name_what_was_planted(services: Services, migration: Migration) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    migration.migrate()
    run = replace(migration.verification(), recheck_delay_s=SETTLE_SECONDS)

    def work() -> tuple[list[CensusResult], list[CensusResult]]:
        clean = [run.census() for _number in range(CENSUSES)]
        plant(migration)
        return clean, [run.census() for _number in range(CENSUSES)]

    schema = migration.source.schema
    with run.source:
        journal, (clean, faulty) = beside_the_application(
            migration.target, lambda: connection_of(services.environment, schema), WRITES_PER_SECOND, work
        )

    assert sum(journal.counts.values()) > ROWS / 2
    assert sum(census.agreed_on_recheck for census in clean), (
        "nothing moved while it was looked at: the test saw no live write"
    )
    for census in clean:
        assert (census.passed, census.samples) == (True, {})
    for census in faulty:
        assert (census.missing, census.unverified, census.counts_agree) == (0, 0, True)
        assert set(census.samples["orphans"]) == ORPHANS
        assert CORRUPTED - journal.deleted <= set(census.samples["differing"]) <= CORRUPTED
