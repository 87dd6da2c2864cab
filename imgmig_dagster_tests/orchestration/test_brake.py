"""Deletes that are held back, as a person meets them: in every command, in the report, and in Dagster."""

import json
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster_tests.arrange import item_of, row_id
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, holds
from imgmig_dagster_tests.orchestration.arrange import APRIL, MARCH, Platform, images_of
from imgmig_dagster_tests.orchestration.commands import Imgmig

OF_MARCH, OF_APRIL = 30, 12


@pytest.fixture
def emptied(platform: Platform, proxy: FaultProxy) -> Platform:
    """Two months; while the last row of either is written the table is truncated."""
    platform.source.insert([*images_of(3, range(OF_MARCH)), *images_of(4, range(100, 100 + OF_APRIL))])
    platform.set(IMGMIG_WRITE_MODE="conditional")
    platform.through(proxy.url)
    return platform


def log_of(platform: Platform) -> str:
    found = platform.state.read("migration.log")
    assert found
    return found.content.decode()


def test_a_truncate_during_a_pass_ends_with_1_until_somebody_has_decided(
    emptied: Platform, imgmig: Imgmig, proxy: FaultProxy
) -> None:
    rows = [*images_of(3, range(OF_MARCH)), *images_of(4, range(100, 100 + OF_APRIL))]
    proxy.after(lambda: emptied.source.execute("TRUNCATE {t}"), NEW_ITEMS, when=holds(row_id(OF_MARCH - 1)))

    found = imgmig("migrate", "--partition", MARCH)

    assert found.exit_code == 1
    assert proxy.of("DeleteItem") == []
    assert f"{OF_MARCH} items without a row were not deleted ({row_id(0)}, " in found.stdout
    for cause in ("TRUNCATE", "policy", "restored backup", "another table"):
        assert cause in found.stdout
    retry = f"imgmig retry-failures --partition {MARCH} --stage dev --confirm-deletes {OF_MARCH}"
    assert retry in found.stdout
    departed = f"0 rows vanished, 0 items were deleted with them, 0 left, {OF_MARCH} held back"
    assert f"failed {OF_MARCH} in " in found.stdout
    assert f"success rate 0.00%; {departed}" in found.stdout
    assert f"vanished 0 (items deleted 0, left 0, held back {OF_MARCH})" in log_of(emptied)

    # The same again, with April's rows back, and gone once more.
    emptied.source.insert(rows[OF_MARCH:])
    proxy.after(lambda: emptied.source.execute("TRUNCATE {t}"), NEW_ITEMS, when=holds(row_id(100 + OF_APRIL - 1)))
    both = imgmig("migrate", "--json", "--partition", MARCH, "--partition", APRIL)
    assert (both.exit_code, both.document["held_back"]) == (1, OF_APRIL)
    assert imgmig("retry-failures").exit_code == 1
    refused = imgmig("retry-failures", "--confirm-deletes", str(OF_MARCH))
    assert refused.exit_code == 2
    assert "42 deletes are held back in the ledgers of these partitions. Nothing was done" in refused.stderr
    assert len(emptied.target.items()) == OF_MARCH + OF_APRIL
    imgmig("report")
    report = emptied.state.read("reports/summary.json")
    assert report
    assert [command for each in json.loads(report.content)["blockers"] for command in each["commands"]].count(
        retry
    ) == 1

    confirmed = imgmig("retry-failures", "--confirm-deletes", str(OF_MARCH + OF_APRIL), "--json")

    assert confirmed.exit_code == 0
    assert (confirmed.document["vanished"], confirmed.document["items_deleted"]) == (42, 42)
    assert emptied.target.items() == {}
    assert len(emptied.state.list("audit")) == 2


def test_the_next_migration_takes_the_number_too(emptied: Platform, imgmig: Imgmig, proxy: FaultProxy) -> None:
    proxy.after(lambda: emptied.source.execute("TRUNCATE {t}"), NEW_ITEMS, when=holds(row_id(OF_MARCH - 1)))
    imgmig("migrate", "--partition", MARCH)

    assert imgmig("migrate", "--partition", MARCH).exit_code == 1
    assert imgmig("migrate", "--partition", MARCH, "--confirm-deletes", str(OF_MARCH)).exit_code == 0

    assert emptied.target.items() == {}
    nothing = imgmig("migrate", "--partition", MARCH, "--confirm-deletes", "3")
    assert (nothing.exit_code, "0 deletes are held back" in nothing.stderr) == (2, True)


def test_in_dagster_the_check_is_red_and_the_run_config_takes_the_number(emptied: Platform, proxy: FaultProxy) -> None:
    proxy.after(lambda: emptied.source.execute("TRUNCATE {t}"), NEW_ITEMS, when=holds(row_id(OF_MARCH - 1)))

    held = emptied.run("migrate", MARCH)

    check = check_of(held)
    assert not check.passed
    assert f"--confirm-deletes {OF_MARCH} (in run config: confirm_deletes)" in str(check.description)
    assert check.metadata["deletes_held_back"].value == OF_MARCH
    retried = emptied.run(
        "retry_failures", MARCH, {"migrated_images": {"retry_failures_only": True, "confirm_deletes": OF_MARCH}}
    )
    assert check_of(retried).passed
    (materialization,) = retried.asset_materializations_for_node("migrated_images")
    assert materialization.metadata["retry_items_deleted"].value == OF_MARCH
    assert materialization.metadata["items_deleted"].value == 0, "what the last pass did stays as it was"


def check_of(result: dg.ExecuteInProcessResult) -> Any:
    (found,) = (each for each in result.get_asset_check_evaluations() if each.check_name == "no_failed_items")
    return found


def test_many_orphans_are_deleted_only_by_their_number(platform: Platform, imgmig: Imgmig) -> None:
    platform.source.insert(images_of(3, [1]))
    platform.succeed("migrate", MARCH)
    for number in range(100, 112):
        platform.target.put(item_of(number))
    imgmig("verify")
    census = json.loads(platform.state.read("census.json").content)["finished_at"]  # type: ignore[union-attr]
    apply = "imgmig repair --stage dev --apply --delete-orphans --confirm-deletes 12"

    told = imgmig("repair", "--delete-orphans")
    assert f"Would delete 12 orphans, as the census of {census} saw them; to apply: {apply}" in told.stdout
    for arguments in ((), ("--confirm-deletes", "11")):
        held = imgmig("repair", "--apply", "--delete-orphans", *arguments)
        assert held.exit_code == 1
        assert f"orphans, as the census of {census} saw them: 12 items without a row were not deleted" in held.stdout
        assert apply in held.stdout
        assert len(platform.target.items()) == 13

    assert imgmig("repair", "--apply", "--delete-orphans", "--confirm-deletes", "12").exit_code == 0
    assert len(platform.target.items()) == 1
    assert imgmig("repair", "--confirm-deletes", "12").exit_code == 2
