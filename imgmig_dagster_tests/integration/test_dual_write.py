"""A migration, and a verification, beside an application that writes to both sides all the while."""

from contextlib import suppress
from dataclasses import replace

from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster_tests.arrange import Migration, image, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import FaultProxy
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.torture.application import (
    beside_the_application,
    connection_of,
    migrate_beside_the_application,
)

ROWS = 500
WRITES_PER_SECOND = 100
# Longer than the application takes from PostgreSQL to DynamoDB, on a busy machine too.
VERIFY_SETTLE_SECONDS = 1.0


def test_nothing_of_the_application_is_overwritten_and_nothing_differs_once_it_stops(
    services: Services, migration: Migration
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    schema = migration.source.schema

    found = migrate_beside_the_application(migration, lambda: connection_of(services.environment, schema), 100)

    assert found.violations == []
    assert all(found.written[kind] for kind in ("insert", "update", "touch", "delete"))
    assert sum(found.written.values()) > ROWS / 10


def test_a_verification_in_between_names_what_was_corrupted_and_raises_no_false_alarm(
    services: Services, migration: Migration, proxy: FaultProxy
) -> None:
    migration.source.insert(image(number) for number in range(ROWS))
    migration.migrate()
    run = replace(migration.verification(proxy.url, page_size=100), recheck_delay_s=VERIFY_SETTLE_SECONDS)
    # Of the last page, which is not read yet when the first reply comes. The application never writes this field, so
    # that nothing repairs it, no matter what else it does to these rows; but it may delete them.
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

    def verify() -> tuple[VerificationResult, CensusResult]:
        return run.verify(), run.census()

    proxy.after(corrupt, "BatchGetItem")
    schema = migration.source.schema
    with run.source:
        journal, (result, census) = beside_the_application(
            migration.target, lambda: connection_of(services.environment, schema), WRITES_PER_SECOND, verify
        )

    assert sum(journal.counts.values()) > ROWS / 10
    assert result.agreed_on_recheck + census.agreed_on_recheck, (
        "nothing moved while it was looked at: the test saw no live write"
    )
    assert result.coverage_is_complete
    assert (census.missing, census.orphans, census.unverified) == (0, 0, 0)
    there = corrupted - journal.deleted
    # The longer it takes, the more of them the application deletes: half of the twenty in 35 s.
    assert there, "the application deleted every row that was corrupted: nothing was left to name"
    assert {(mismatch.verdict, mismatch.attribute) for mismatch in result.mismatches} == {
        (RowVerdict.MISMATCH, "originalFilename")
    }
    for named in ({mismatch.row_id for mismatch in result.mismatches}, set(census.samples["differing"])):
        assert there <= named <= corrupted
    assert census.differing == len(census.samples["differing"])
