"""Several partitions of one run at a time: one way to the target, and each partition's own lock, counts and failure."""

import asyncio
from collections.abc import Coroutine
from typing import Any

from imgmig_dagster.errors import PartitionBusy
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import WritingWork
from imgmig_dagster.steps.migrate import migrate
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.steps.verify import verify
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import MARCH, Migration, image, month
from imgmig_dagster_tests.fault_proxy import FaultProxy

MONTHS = (month(2024, 2), MARCH, month(2024, 4))


def fill(migration: Migration) -> None:
    """200 rows in each month, their numbers one after the other."""
    for number, window in enumerate(MONTHS):
        at = window.start.replace(hour=1).isoformat()
        migration.source.insert(image(row, created_at=at) for row in range(200 * number, 200 * (number + 1)))


async def together(*work: Coroutine[Any, Any, Any]) -> list[Any]:
    return await asyncio.gather(*work, return_exceptions=True)


def pass_over(work: WritingWork, window: Window) -> Coroutine[Any, Any, MigrationResult]:
    return migrate(work, window, WriteMode.CONDITIONAL)


def test_each_partition_counts_its_own_rows_and_requests(migration: Migration, proxy: FaultProxy) -> None:
    fill(migration)
    run = migration.run(proxy.url, page_size=50)

    async def all_of_them(work: WritingWork) -> tuple[list[MigrationResult], list[VerificationResult]]:
        migrated = await together(*(pass_over(work, window) for window in MONTHS))
        verified = await together(*(verify(work, window) for window in MONTHS))
        counted = [each.traffic.latency() for each in (*migrated, *verified)]
        of_partitions = sum(kind.requests for latency in counted for kind in latency.values())
        assert work.target.sender.traffic.requests == of_partitions, "all requests were of some partition"
        return migrated, verified

    with run.source:
        migrated, verified = run.do(all_of_them)

    assert [result.outcomes for result in migrated] == [{"inserted": 200}] * 3
    assert [result.traffic.latency()["write"].requests for result in migrated] == [8] * 3
    assert [result.write_units for result in migrated] == [200.0] * 3
    assert all(result.passed and result.looked_at == 200 for result in verified)
    assert len(proxy.of("DescribeTable")) == 1, "what the table is was asked once for all"
    assert sum(len(call.keys) for call in proxy.writes) == 600


def test_a_partition_that_is_taken_fails_alone(migration: Migration) -> None:
    fill(migration)
    run = migration.run(page_size=50)

    with run.source:
        twice = run.do(lambda work: together(*(pass_over(work, window) for window in (MARCH, MARCH, MONTHS[0]))))

    busy = [found for found in twice if isinstance(found, PartitionBusy)]
    done = [found for found in twice if isinstance(found, MigrationResult)]
    assert (len(busy), len(done)) == (1, 2)
    assert {result.partition for result in done} == {MARCH.partition, MONTHS[0].partition}
    assert len(migration.target.items()) == 400
