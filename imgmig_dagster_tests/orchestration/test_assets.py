"""What each asset's run leaves in Dagster and in the state store."""

from collections.abc import Iterator

import dagster as dg
import orjson
import pytest

from imgmig_dagster_tests.arrange import image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, error
from imgmig_dagster_tests.orchestration.arrange import (
    APRIL,
    MARCH,
    Platform,
    checks_of,
    images_of,
    metadata_of,
    verdicts_of,
)

CANARY = "canary-of-a-file-name"


def test_a_migration_records_what_it_read_and_wrote(platform: Platform) -> None:
    platform.source.insert(image(number, width=None) for number in range(30))
    result = platform.succeed("migrate", MARCH)
    inventory = metadata_of(result, "source_images")
    assert {
        name: inventory[name] for name in ("dagster/row_count", "rows", "unmappable_rows", "nulls", "watermark")
    } == {
        "dagster/row_count": 30,
        "rows": 30,
        "unmappable_rows": 0,
        "nulls": {"width": 30},
        "watermark": "2024-05-06T07:08:09.123456+00:00",
    }
    counts = metadata_of(result, "migrated_images")
    assert {
        name: counts[name] for name in ("rows", "rows_in_window", "migrated", "skipped", "failed", "success_percent")
    } == {"rows": 30, "rows_in_window": 30, "migrated": 30, "skipped": 0, "failed": 0, "success_percent": 100.0}
    assert counts["outcomes"] == [{"outcome": "written", "rows": 30}]
    assert counts["rate_rows_per_s"] > 0
    assert set(platform.target.items()) == {f"IMAGE#{row_id(number)}" for number in range(30)}

    again = metadata_of(platform.succeed("migrate", MARCH), "migrated_images")
    assert again["outcomes"] == [{"outcome": "identical", "rows": 30}]


def test_why_items_go_one_by_one_is_logged_though_the_run_ends_early(platform: Platform, proxy: FaultProxy) -> None:
    platform.source.insert(image(number) for number in range(3))
    platform.through(proxy.url)
    platform.set(IMGMIG_WRITE_MODE="conditional")
    proxy.inject(error("AccessDeniedException"), NEW_ITEMS, times=100)

    assert not platform.run("migrate", MARCH).success

    log = platform.state.read("migration.log")
    assert log is not None
    assert log.content.count(b"allow dynamodb:PartiQLInsert on the table") == 1


def test_a_verification_records_its_verdicts(platform: Platform) -> None:
    platform.source.insert(image(number) for number in range(30))
    platform.succeed("migrate", MARCH)
    found = metadata_of(platform.succeed("verify", MARCH), "verification_report")
    assert {name: found[name] for name in ("rows", "match", "mismatch", "missing", "unverified", "verdict")} == {
        "rows": 30,
        "match": 30,
        "mismatch": 0,
        "missing": 0,
        "unverified": 0,
        "verdict": "PASS",
    }


@pytest.fixture
def new_instance(platform: Platform) -> Iterator[dg.DagsterInstance]:
    """An instance without runs of other tests."""
    with dg.DagsterInstance.ephemeral() as instance:
        platform.instance = instance
        yield instance


def test_each_check_is_recorded_with_the_partition_of_its_run(
    platform: Platform, new_instance: dg.DagsterInstance
) -> None:
    """Dagster's preview feature that the Partitions tab of a check rests on."""
    platform.source.insert([*images_of(3, range(3)), *images_of(4, range(10, 13))])
    for partition in (MARCH, APRIL):
        migrated = platform.succeed("migrate", partition)
        assert {found.partition for found in checks_of(migrated).values()} == {partition}
        events = migrated.asset_materializations_for_node("migrated_images")
        assert [(event.asset_key.to_user_string(), event.partition) for event in events] == [
            ("source_images", partition),
            ("migrated_images", partition),
        ]
    platform.target.delete(11)
    assert platform.run("verify", MARCH).success
    assert not platform.run("verify", APRIL).success

    def statuses(asset: str, check: str) -> dict[str | None, str]:
        found = new_instance.event_log_storage.get_asset_check_partition_info(
            [dg.AssetCheckKey(dg.AssetKey(asset), check)]
        )
        assert all(each.is_current for each in found)
        return {each.partition_key: each.latest_execution_status.value for each in found}

    both = {MARCH: "SUCCEEDED", APRIL: "SUCCEEDED"}
    assert statuses("source_images", "rows_are_mappable") == both
    assert statuses("migrated_images", "every_row_is_accounted_for") == both
    assert statuses("verification_report", "coverage_is_complete") == both
    assert statuses("verification_report", "zero_mismatches") == {MARCH: "SUCCEEDED", APRIL: "FAILED"}


def test_a_dry_run_tells_what_would_happen_and_makes_no_write_call(platform: Platform, proxy: FaultProxy) -> None:
    platform.source.insert(image(number) for number in range(30))
    platform.source.insert([image(30, updated_at="infinity")])
    platform.target.put(item_of(0))
    platform.target.put(item_of(1, width={"N": "1"}))
    before = platform.target.items()
    platform.through(proxy.url)
    found = metadata_of(platform.succeed("dry_run", MARCH), "dry_run_plan")
    assert {
        name: found[name] for name in ("rows", "would_write", "identical", "would_judge", "rejected", "write_units")
    } == {"rows": 31, "would_write": 28, "identical": 1, "would_judge": 1, "rejected": 1, "write_units": 29}
    assert [(each["key"], each["field"]) for each in found["rejections"]] == [(row_id(30), "updated_at")]
    assert proxy.of("BatchGetItem"), "it looks at the target"
    assert {call.operation for call in proxy.calls} <= {"BatchGetItem", "GetItem", "Query", "Scan", "DescribeTable"}
    assert platform.target.items() == before
    assert platform.state.read(f"{MARCH}/migration-progress.json") is None
    assert platform.state.list(f"{MARCH}/passes") == []


def test_the_summary_is_written_though_checks_failed(platform: Platform) -> None:
    platform.source.insert(image(number) for number in range(5))
    platform.source.insert([image(5, updated_at="infinity")])
    platform.succeed("migrate", MARCH)
    platform.target.delete(3)
    assert not platform.run("verify", MARCH).success
    assert not verdicts_of(platform.succeed("census"))["no_missing_items"]
    found = metadata_of(platform.succeed("report"), "migration_report")
    assert (found["verdict"], found["rows"], found["migrated"], found["failed"]) == ("FAIL", 6, 5, 1)
    names = ("summary.json", "summary.md", "summary.html")
    assert all(platform.state.read(f"reports/{name}") for name in names)
    stored = platform.state.read("reports/summary.json")
    assert stored
    assert orjson.loads(stored.content)["verdict"] == "FAIL"


def test_no_value_of_a_row_reaches_dagster_the_log_or_the_summary(platform: Platform) -> None:
    platform.source.insert(image(number, original_filename=f"{CANARY}-{number}") for number in range(8))
    platform.source.insert([image(8, original_filename=f"{CANARY}-8", updated_at="infinity")])
    platform.source.insert([image(9, original_filename=CANARY * 25_000)])
    platform.succeed("dry_run", MARCH)
    platform.succeed("migrate", MARCH)
    platform.change_item(1, "originalFilename", {"S": f"another-{CANARY}"})
    platform.change_item(2, "width", {"S": CANARY})
    platform.change_item(3, CANARY.replace("-", "_"), {"S": CANARY})
    platform.target.put({"PK": {"S": "IMAGE#an-orphan"}, "SK": {"S": "METADATA"}, "originalFilename": {"S": CANARY}})
    assert not platform.run("verify", MARCH).success
    for job in ("census", "draw_spot_check", "report"):
        platform.succeed(job)
    log = platform.event_log()
    assert row_id(1) in log
    assert "originalFilename" in log
    assert CANARY not in log
    shown = [name for name in platform.state.list("") if name.endswith((".log", ".json")) or "/summary" in name]
    for name in [name for name in shown if name not in ("spot-check.json",)]:
        stored = platform.state.read(name)
        assert stored
        assert CANARY.encode() not in stored.content, name
    # The full values are where they belong, for whoever may read the state.
    mismatches = platform.state.read(f"{MARCH}/mismatches.jsonl")
    assert mismatches
    assert CANARY.encode() in mismatches.content


def test_a_spot_check_draws_as_many_images_as_asked_and_the_same_by_its_seed(platform: Platform) -> None:
    platform.source.insert(image(number) for number in range(40))
    platform.succeed("migrate", MARCH)

    def drawn() -> list[str]:
        stored = platform.state.read("spot-check.json")
        assert stored
        return [pair["row_id"] for pair in orjson.loads(stored.content)["pairs"]]

    first = platform.run("draw_spot_check", config={"spot_check": {"count": 7}})
    seed = metadata_of(first, "spot_check")["seed"]
    chosen = drawn()
    assert len(set(chosen)) == 7
    platform.run("draw_spot_check", config={"spot_check": {"count": 7, "seed": seed}})
    assert drawn() == chosen
    platform.run("draw_spot_check", config={"spot_check": {"count": 7, "seed": seed + 1}})
    assert drawn() != chosen
    assert metadata_of(platform.succeed("draw_spot_check"), "spot_check")["images"] == 40, "50 by default"


def test_starting_over_forgets_a_refused_checkpoint(platform: Platform) -> None:
    platform.source.insert(image(number) for number in range(3))
    platform.state.write(f"{MARCH}/migration-progress.json", b"{torn")
    refused = platform.run("migrate", MARCH)
    assert not refused.success
    assert platform.target.items() == {}
    assert platform.run("migrate", MARCH, {"migrated_images": {"start_over": True}}).success
    assert len(platform.target.items()) == 3
