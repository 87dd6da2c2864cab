"""Each check is made to fail once, and names the keys and fields at fault."""

import json
from collections.abc import Callable
from typing import Any

import dagster as dg
import pytest

from imgmig_dagster.defs.claims import CLAIMS
from imgmig_dagster.remedies import CHECKS
from imgmig_dagster_tests.arrange import image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, holds
from imgmig_dagster_tests.orchestration.arrange import (
    APRIL,
    MARCH,
    Platform,
    checks_of,
    facts_of,
    images_of,
    metadata_of,
    verdicts_of,
)


def failed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    return {name for name, holds in verdicts_of(result).items() if not holds}


def blocked(result: dg.ExecuteInProcessResult) -> str:
    """The error of the run whose blocking check did not hold."""
    (failure,) = [event.step_failure_data for event in result.all_events if event.is_step_failure]
    assert failure.error
    assert failure.error.cls_name == "ChecksDoNotHold"
    return failure.error.message


@pytest.fixture
def migrated(platform: Platform) -> Platform:
    """Thirty images in March, all migrated."""
    platform.source.insert(image(number) for number in range(30))
    platform.succeed("migrate", MARCH)
    return platform


def test_rows_are_mappable_and_no_failed_items_name_a_rejected_row_until_it_is_mended(platform: Platform) -> None:
    platform.source.insert(image(number) for number in range(5))
    platform.source.insert([image(5, updated_at="infinity")])
    result = platform.succeed("migrate", MARCH)
    assert verdicts_of(result) == {
        "rows_are_mappable": False,
        "ids_are_unique": True,
        "columns_are_declared": True,
        "every_row_is_accounted_for": True,
        "no_failed_items": False,
    }
    mappable, failed = facts_of(result, "rows_are_mappable"), facts_of(result, "no_failed_items")
    assert mappable["unmappable_rows"] == 1
    assert [(each["key"], each["field"]) for each in mappable["rejections"]] == [(row_id(5), "updated_at")]
    assert failed["in_ledger"] == 1
    assert [(each["key"], each["field"], each["kind"]) for each in failed["failures"]] == [
        (row_id(5), "updated_at", "permanent")
    ]
    assert len(platform.target.items()) == 5

    retried = platform.succeed("retry_failures", MARCH)
    assert failed_checks(retried) == {"no_failed_items"}
    platform.source.update(5)
    assert verdicts_of(platform.succeed("retry_failures", MARCH)) == {
        "every_row_is_accounted_for": True,
        "no_failed_items": True,
    }
    assert len(platform.target.items()) == 6


def test_every_row_is_accounted_for_holds_when_rows_come_behind_the_cursor(
    platform: Platform, proxy: FaultProxy
) -> None:
    platform.source.insert(image(number) for number in range(1, 31))
    platform.through(proxy.url)
    proxy.before(lambda: platform.source.insert([image(0)]), "BatchWriteItem")
    result = platform.succeed("migrate", MARCH)
    assert facts_of(result, "every_row_is_accounted_for") == {
        "rows": 31,
        "rows_in_window": 31,
        "late": 1,
        "left_window": 0,
    }
    assert len(platform.target.items()) == 31


@pytest.fixture
def miscounted(platform: Platform, proxy: FaultProxy) -> Platform:
    """A partition whose next pass counts a row twice: somebody edits the ids that it has seen so far."""
    platform.source.insert(image(number) for number in range(1_300))
    platform.set(IMGMIG_PAGE_SIZE="100")
    platform.through(proxy.url)

    def drop_an_id() -> None:
        (name,) = platform.state.list(f"{MARCH}/seen")
        found = platform.state.read(name)
        assert found is not None
        document = json.loads(found.content)
        document["ids"]["written"].remove(row_id(7))
        platform.state.write(name, json.dumps(document).encode())

    # By then the first thousand is in a checkpoint.
    proxy.before(drop_an_id, "BatchWriteItem", when=holds(row_id(1_299)))
    return platform


def test_every_row_is_accounted_for_blocks_when_the_sum_is_not_the_windows(miscounted: Platform) -> None:
    result = miscounted.run("migrate", MARCH)
    assert not result.success
    assert "every_row_is_accounted_for" in blocked(result)
    assert failed_checks(result) == {"every_row_is_accounted_for"}
    assert facts_of(result, "every_row_is_accounted_for") == {
        "rows": 1_301,
        "rows_in_window": 1_300,
        "late": 1,
        "left_window": 0,
    }
    assert verdicts_of(miscounted.succeed("migrate", MARCH))["every_row_is_accounted_for"]


def test_a_blocking_check_skips_what_is_downstream_in_its_run(miscounted: Platform) -> None:
    result = dg.materialize(
        [each for each in miscounted.definitions.assets or () if isinstance(each, dg.AssetsDefinition)],
        selection=["migrated_images", "verification_report"],
        partition_key=MARCH,
        resources=miscounted.definitions.resources,
        instance=miscounted.instance,
        raise_on_error=False,
    )
    assert not result.success
    assert failed_checks(result) == {"every_row_is_accounted_for"}
    assert {event.step_key for event in result.all_events if event.is_step_start} == {"migrated_images"}
    assert miscounted.state.read(f"{MARCH}/evidence.json") is None


def test_zero_mismatches_fails_the_run_with_key_and_field(migrated: Platform) -> None:
    migrated.change_item(7, "width", {"N": "1"})
    migrated.target.delete(11)
    result = migrated.run("verify", MARCH)
    assert not result.success
    assert "zero_mismatches" in blocked(result)
    assert failed_checks(result) == {"zero_mismatches"}
    found = checks_of(result)["zero_mismatches"]
    assert found.severity is dg.AssetCheckSeverity.ERROR
    said, _, advice = str(found.description).partition(". Next: ")
    assert said == f"1 of 30 rows differ and 1 are missing, with 2 faults: {row_id(7)}: width; {row_id(11)}: missing"
    where = f"--stage dev --partition {MARCH}"
    assert advice == (
        f"`imgmig repair {where}` shows what a repair would do; `imgmig repair {where} --apply` does it "
        "(docs/runbook.md, Checks). In the UI: job plan_repair, then repair"
    )
    links = [value.job_name for value in found.metadata.values() if isinstance(value, dg.DagsterJobMetadataValue)]
    assert links == ["plan_repair", "repair"]
    assert f"`imgmig repair {where} --apply`" in str(found.metadata["what_to_do"].value)
    assert facts_of(result, "zero_mismatches") == {
        "faults_found": 2,
        "faults": [
            {"key": row_id(7), "verdict": "mismatch", "field": "width"},
            {"key": row_id(11), "verdict": "missing", "field": "the whole item"},
        ],
    }


def test_coverage_is_complete_blocks_when_items_could_not_be_read(migrated: Platform, proxy: FaultProxy) -> None:
    migrated.through(proxy.url)
    proxy.inject(error("InternalServerError", 500), "BatchGetItem", times=1_000)
    result = migrated.run("verify", MARCH)
    assert "coverage_is_complete" in blocked(result)
    assert facts_of(result, "coverage_is_complete")["unverified"] == 30


def test_timestamps_are_exact_warns_of_other_milliseconds_and_lets_the_run_succeed(migrated: Platform) -> None:
    migrated.change_item(3, "updatedAt", {"S": "2024-05-06T07:08:09.623Z"})
    result = migrated.succeed("verify", MARCH)
    assert failed_checks(result) == {"timestamps_are_exact"}
    assert checks_of(result)["timestamps_are_exact"].severity is dg.AssetCheckSeverity.WARN
    assert facts_of(result, "timestamps_are_exact") == {"inexact_timestamps": 1}


def lose_an_item(platform: Platform) -> None:
    platform.target.delete(4)


def add_an_orphan(platform: Platform) -> None:
    platform.target.put(item_of(77))


def change_an_item(platform: Platform) -> None:
    platform.change_item(4, "s3Key", {"S": "elsewhere"})


def add_a_row_outside(platform: Platform) -> None:
    created_at = "2019-12-31T23:59:59.999999Z"
    platform.source.insert([image(88, created_at=created_at)])
    platform.target.put(item_of(88, createdAt={"S": "2019-12-31T23:59:59.999Z"}))


@pytest.mark.parametrize(
    ("fault", "check", "facts"),
    [
        (
            lose_an_item,
            "no_missing_items",
            {"missing": 1, "faults": [{"key": row_id(4), "partition": MARCH, "field": "the whole item"}]},
        ),
        (
            add_an_orphan,
            "no_orphan_items",
            {"orphans": 1, "faults": [{"key": row_id(77), "partition": "none", "field": "the whole item"}]},
        ),
        (
            change_an_item,
            "no_differing_items",
            {"differing": 1, "faults": [{"key": row_id(4), "partition": MARCH, "field": "s3Key"}]},
        ),
        (
            add_a_row_outside,
            "no_rows_outside_partitions",
            {"rows_outside": 1, "outside_ids": [{"key": row_id(88)}]},
        ),
    ],
)
def test_each_check_of_the_census_names_its_own_fault(
    migrated: Platform, fault: Callable[[Platform], None], check: str, facts: dict[str, Any]
) -> None:
    everything = {
        *("no_missing_items", "no_orphan_items", "no_differing_items", "no_rows_outside_partitions"),
        *("no_repeated_ids", "counts_agree"),
    }
    assert verdicts_of(migrated.succeed("census")) == dict.fromkeys(everything, True)
    fault(migrated)
    result = migrated.succeed("census")
    assert failed_checks(result) == {check}
    found = facts_of(result, check)
    assert {name: found[name] for name in facts} == facts
    if check in ("no_missing_items", "no_differing_items"):
        assert f"--stage dev --partition {MARCH}" in str(checks_of(result)[check].description)


def test_spot_check_is_clean_only_if_it_drew_images_and_all_agree(platform: Platform) -> None:
    both = {"spot_check_is_clean", "pictures_are_as_declared"}
    assert failed_checks(platform.succeed("draw_spot_check")) == both, "nothing was drawn"
    platform.source.insert(image(number) for number in range(10))
    platform.succeed("migrate", MARCH)
    result = platform.succeed("draw_spot_check")
    assert failed_checks(result) == {"pictures_are_as_declared"}, "S3 has none of them"
    assert checks_of(result)["pictures_are_as_declared"].severity is dg.AssetCheckSeverity.WARN
    missing = {"key": row_id(0), "field": "picture: missing, thumbnail: missing"}
    assert missing in facts_of(result, "pictures_are_as_declared")["faults"]
    platform.change_item(4, "height", {"N": "1"})
    result = platform.succeed("draw_spot_check")
    assert failed_checks(result) == both
    assert facts_of(result, "spot_check_is_clean")["faults"] == [{"key": row_id(4), "field": "height"}]


def test_ready_for_cutover_holds_only_while_all_evidence_counts(platform: Platform) -> None:
    platform.source.insert([*images_of(3, range(5)), *images_of(4, range(10, 15))])
    for partition in (MARCH, APRIL):
        platform.succeed("migrate", partition)
        platform.succeed("verify", partition)
    assert failed_checks(platform.succeed("report")) == {"ready_for_cutover"}, "there is no census"
    platform.succeed("census")
    report = platform.succeed("report")
    draw = "imgmig spot-check --stage dev"
    found = {
        "verdict": "PASS",
        "cutover": "NOT READY",
        "blockers": 1,
        "what_blocks": [{"what": "There is no spot check", "type next": f"{draw}, then {draw} --review FILE"}],
    }
    assert facts_of(report, "ready_for_cutover") == found
    assert {name: metadata_of(report, "migration_report")[name] for name in found} == found, "check and asset agree"
    platform.source.update(10, width=10)
    platform.succeed("migrate", APRIL)
    result = platform.succeed("report")
    assert failed_checks(result) == {"ready_for_cutover"}
    found = facts_of(result, "ready_for_cutover")
    assert [found[name] for name in ("verdict", "cutover", "blockers")] == ["NOT VERIFIED", "NOT READY", 3]
    told = checks_of(result)["ready_for_cutover"].description or ""
    assert f"imgmig verify --partition {APRIL} --stage dev" in told, "each blocker, and what to type"


def test_execute_on_its_page_makes_a_new_report_and_judges_that(platform: Platform) -> None:
    platform.source.insert(images_of(3, range(5)))
    platform.succeed("report")
    alone = dg.AssetSelection.checks(dg.AssetCheckKey(dg.AssetKey("migration_report"), "ready_for_cutover"))
    executed = dg.Definitions.merge(
        platform.definitions, dg.Definitions(jobs=[dg.define_asset_job("executed_alone", alone)])
    )

    result = executed.resolve_job_def("executed_alone").execute_in_process(instance=platform.instance)

    asset = metadata_of(result, "migration_report")
    check = facts_of(result, "ready_for_cutover")
    assert {name: asset[name] for name in check} == check, "check and asset agree"
    assert asset["to_open_it"] == "`imgmig report --stage dev --open`"


def test_the_jobs_that_checks_name_are_there(platform: Platform) -> None:
    jobs = {job.name for job in platform.definitions.resolve_all_job_defs()}
    named = {job for claim in CLAIMS for job in CHECKS[claim.name].jobs}
    assert named <= jobs
    assert len(named) > 5
