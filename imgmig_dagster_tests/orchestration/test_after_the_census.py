"""What happens to the source after a census is in the next report: rows in no partition, and rows that left."""

from collections.abc import Sequence

import pytest

from imgmig_dagster_tests.arrange import image, row_id
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Finished, Imgmig


@pytest.fixture
def verified(platform: Platform, imgmig: Imgmig) -> Platform:
    """Three months, migrated and verified: PASS."""
    platform.set(IMGMIG_PARTITION_START=FEBRUARY)
    platform.source.insert([*images_of(2, range(5)), *images_of(3, range(10, 15)), *images_of(4, range(20, 25))])
    for partition in (FEBRUARY, MARCH, APRIL):
        platform.succeed("migrate", partition)
    assert imgmig("verify").exit_code == 0
    return platform


def blockers(finished: Finished) -> Sequence[str]:
    return [found["what"] for found in finished.document["blockers"]]


def test_rows_in_no_partition_that_come_after_the_census_stand_between_it_and_pass(
    verified: Platform, imgmig: Imgmig
) -> None:
    moments = ["2019-01-01T00:00:00Z", "2131-01-01T00:00:00Z", None, "infinity"]
    verified.source.insert(image(50 + number, created_at=moment) for number, moment in enumerate(moments))

    report = imgmig("report", "--json")

    assert report.exit_code == 1
    assert any(line.startswith("4 rows are in no partition") for line in blockers(report))


def test_a_first_partition_that_begins_later_stands_between_the_census_and_pass(
    verified: Platform, imgmig: Imgmig
) -> None:
    verified.set(IMGMIG_PARTITION_START=MARCH)

    report = imgmig("report", "--json")

    assert report.exit_code == 1
    assert any(line.startswith("5 rows are in no partition") for line in blockers(report))
    assert any(
        line.startswith("The census no longer counts: the first partition began at 2024-02-01")
        for line in blockers(report)
    )


def test_an_item_whose_row_is_deleted_after_the_census_fails_the_report_until_it_is_deleted(
    verified: Platform, imgmig: Imgmig
) -> None:
    verified.source.delete(12)
    for number in (13, 22):  # as the application does: on both sides
        verified.source.delete(number)
        verified.target.delete(number)

    report = imgmig("report", "--json")

    assert report.exit_code == 1
    assert any(
        line.startswith(
            f"Of the 3 rows that have left the source since the census: the items of 1 ({row_id(12)}) still exist"
        )
        for line in blockers(report)
    )
    assert f"orphan: {row_id(12)}; --delete-orphans deletes it" in imgmig("repair").stdout
    assert imgmig("repair", "--apply", "--delete-orphans").exit_code == 0
    assert verified.target.item(12) is None
    assert imgmig("verify").exit_code == 0
