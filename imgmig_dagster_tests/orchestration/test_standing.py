"""What an asset's Partitions tab shows of each partition: no green of what its materialization no longer proves."""

import dagster as dg
import pytest

from imgmig_dagster.defs.build import tables_of
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.arrange import row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, holds
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, RANGE, Platform

GREEN = "MATERIALIZED"


@pytest.fixture
def verified(ranged: Platform) -> Platform:
    assert ranged.run_range("migrate", FEBRUARY, APRIL).success
    assert ranged.run_range("verify", FEBRUARY, APRIL).success
    return ranged


def shown(platform: Platform, asset: str, keys: list[str] | None = None) -> dict[str, str | None]:
    """The status of each partition, by the function that the UI asks."""
    partitions = tables_of(Stage.DEV)[0].definition
    found = platform.instance.get_status_by_partition(dg.AssetKey(asset), keys or RANGE, partitions)
    assert found
    return {key: status.value if status else None for key, status in found.items()}


def why(platform: Platform, asset: str = "verification_report", partition: str = MARCH) -> str:
    """What the partition's last observation says."""
    wanted = dg.AssetRecordsFilter(dg.AssetKey(asset), asset_partitions=[partition])
    (record,) = platform.instance.fetch_observations(wanted, limit=1).records
    assert record.asset_observation
    return record.asset_observation.description or ""


def all_green(platform: Platform, asset: str) -> bool:
    return set(shown(platform, asset).values()) == {GREEN}


def test_a_partition_whose_blocking_check_does_not_hold_is_failed_and_its_check_keeps_the_verdict(
    verified: Platform,
) -> None:
    assert all_green(verified, "verification_report")
    verified.change_item(31, "width", {"N": "1"})

    result = verified.run_range("verify", FEBRUARY, APRIL)

    assert not result.success
    assert shown(verified, "verification_report") == {FEBRUARY: GREEN, MARCH: "FAILED", APRIL: GREEN}
    key = dg.AssetCheckKey(dg.AssetKey("verification_report"), "zero_mismatches")
    found = verified.instance.event_log_storage.get_asset_check_partition_info([key])
    assert all(each.is_current for each in found)
    assert {each.partition_key: each.latest_execution_status.value for each in found} == {
        FEBRUARY: "SUCCEEDED",
        MARCH: "FAILED",
        APRIL: "SUCCEEDED",
    }
    assert all_green(verified, "migrated_images")

    assert verified.run("repair", MARCH).success
    assert all_green(verified, "verification_report"), "it was verified again, and matches"


def test_a_later_write_takes_the_green_from_the_verification_until_it_is_made_anew(verified: Platform) -> None:
    assert verified.run("migrate", MARCH).success
    assert all_green(verified, "verification_report"), "nothing was written"
    verified.source.update(31, width=1)

    assert verified.run("migrate", MARCH).success

    assert shown(verified, "verification_report") == {FEBRUARY: GREEN, MARCH: "FAILED", APRIL: GREEN}
    assert all_green(verified, "migrated_images")
    assert "the verification no longer counts, because a migration wrote after it began" in why(verified)
    assert verified.run("verify", MARCH).success
    assert all_green(verified, "verification_report")


def test_a_repair_that_leaves_a_fault_leaves_no_green(verified: Platform) -> None:
    item = verified.target.item(31)
    assert item
    verified.target.put({**item, "width": {"N": "1"}, "updatedAt": {"S": "2030-01-01T00:00:00.000Z"}})
    assert not verified.run("verify", MARCH).success

    assert verified.run("repair", MARCH).success, "the item is newer than the row: it is left alone"

    assert shown(verified, "verification_report")[MARCH] == "FAILED"
    assert "the last verification found rows and items that differ" in why(verified)


def test_a_pass_that_an_error_ended_leaves_no_green(verified: Platform, proxy: FaultProxy) -> None:
    verified.source.update(31, width=1)
    verified.through(proxy.url)
    proxy.inject(error("AccessDeniedException"), times=1_000, when=holds(row_id(31)))

    assert not verified.run("migrate", MARCH).success

    assert shown(verified, "migrated_images")[MARCH] == "FAILED"
    assert shown(verified, "verification_report")[MARCH] == "FAILED"


def test_the_report_takes_the_green_from_what_it_judges_otherwise(verified: Platform) -> None:
    verified.source.execute("UPDATE {t} SET width = 1 WHERE id::text = %s", row_id(31))
    verified.state.write(f"{APRIL}/migration-progress.json", b"{torn")
    assert all_green(verified, "verification_report")

    assert verified.run("report").success

    assert shown(verified, "verification_report") == {FEBRUARY: GREEN, MARCH: "FAILED", APRIL: "FAILED"}
    assert shown(verified, "migrated_images") == {FEBRUARY: GREEN, MARCH: GREEN, APRIL: "FAILED"}
    assert "the last verification found rows and items that differ" in why(verified)
    assert "a migration pass was begun and has not finished" in why(verified, "migrated_images", APRIL)
    assert verified.run("report").success
    shown_once = dg.AssetRecordsFilter(dg.AssetKey("verification_report"), asset_partitions=[MARCH])
    assert len(verified.instance.fetch_observations(shown_once, limit=9).records) == 1
