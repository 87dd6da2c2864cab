"""What the schedules ask for, and what the runs then verify, on a real source and a real state store."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta, timezone

import dagster as dg
import pytest

from imgmig_dagster.state import names
from imgmig_dagster_tests.fault_proxy import FaultProxy, error
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, failure_of, images_of

TICK = datetime(2025, 3, 2, 4, tzinfo=timezone.utc)
JANUARY, MAY = "2024-01-01", "2024-05-01"
REPORT = dg.AssetKey("verification_report")


@pytest.fixture
def recorded(platform: Platform) -> Iterator[Platform]:
    """A stage whose instance holds no runs of other tests."""
    with dg.DagsterInstance.ephemeral() as platform.instance:
        yield platform


def request_of(platform: Platform, schedule: str, tick_at: datetime = TICK) -> dg.RunRequest:
    """The one run that a tick of the schedule asks for; the tick has no resources, so that it can ask no service."""
    repository = platform.definitions.get_repository_def()
    definition = repository.get_schedule_def(schedule)
    with dg.build_schedule_context(repository_def=repository, scheduled_execution_time=tick_at) as context:
        (request,) = definition.evaluate_tick(context).run_requests or []
    return request


def launched(platform: Platform, schedule: str, tick_at: datetime = TICK) -> dg.ExecuteInProcessResult:
    """The run that a tick asks for, executed."""
    request = request_of(platform, schedule, tick_at)
    config = {op: each["config"] for op, each in request.run_config.get("ops", {}).items()}
    return platform.run("verify_due", config=config)


def verified_by(platform: Platform, result: dg.ExecuteInProcessResult) -> list[str]:
    """The partitions that a run recorded a verification of."""
    (job,) = {run.job_name for run in platform.instance.get_runs(dg.RunsFilter(run_ids=[result.run_id]))}
    assert job == "verify_due"
    events = [event.materialization for event in result.get_asset_materialization_events()]
    assert {event.asset_key for event in events} <= {REPORT}
    return sorted(str(event.partition) for event in events)


def verdicts(platform: Platform, check: str = "zero_mismatches") -> dict[str, str]:
    """What the check's Partitions tab shows."""
    storage = platform.instance.event_log_storage
    found = storage.get_asset_check_partition_info([dg.AssetCheckKey(REPORT, check)])
    assert all(each.is_current for each in found)
    return {str(each.partition_key): each.latest_execution_status.value for each in found}


def test_a_tick_asks_for_one_run_of_no_partition_and_asks_no_service(platform: Platform) -> None:
    for schedule, job in (
        ("verify_changed", "verify_due"),
        ("verify_all", "verify_due"),
        ("census_weekly", "census"),
        ("spot_check_daily", "draw_spot_check"),
    ):
        assert platform.definitions.get_repository_def().get_schedule_def(schedule).job_name == job
        assert request_of(platform, schedule).partition_key is None


def test_without_a_row_nothing_is_due(recorded: Platform) -> None:
    for schedule in ("verify_changed", "verify_all"):
        result = launched(recorded, schedule)
        assert (result.success, verified_by(recorded, result)) == (True, [])


def test_verify_changed_verifies_exactly_the_partitions_whose_evidence_no_longer_holds(recorded: Platform) -> None:
    def changed() -> list[str]:
        return verified_by(recorded, launched(recorded, "verify_changed"))

    for month in (1, 2, 3, 4):
        recorded.source.insert(images_of(month, range(10 * month, 10 * month + 3)))
    migrated: list[str] = [JANUARY, FEBRUARY, MARCH, APRIL]
    assert changed() == [], "never migrated: the first night after a deployment"
    assert recorded.run_range("migrate", JANUARY, APRIL).success
    assert changed() == migrated, "never verified"
    assert verdicts(recorded) == dict.fromkeys(migrated, "SUCCEEDED")
    assert changed() == []

    recorded.source.execute("UPDATE {t} SET width = 1 WHERE size_bytes = 1011")  # updated_at stays
    recorded.source.delete(21)
    recorded.source.update(30, width=2)
    recorded.succeed("migrate", MARCH)
    recorded.source.insert(images_of(5, [50]))
    recorded.succeed("migrate", MAY)
    result = launched(recorded, "verify_changed")
    assert verified_by(recorded, result) == [JANUARY, FEBRUARY, MARCH, MAY]
    assert not result.success
    assert verdicts(recorded) == {**dict.fromkeys([*migrated, MAY], "SUCCEEDED"), JANUARY: "FAILED"}
    # Evidence counts again once it is new, whatever the verdict was.
    assert changed() == []


def test_blocking_checks_that_do_not_hold_fail_the_run_and_name_their_partitions(recorded: Platform) -> None:
    recorded.source.insert([*images_of(2, [20]), *images_of(3, [30])])
    assert recorded.run_range("migrate", FEBRUARY, MARCH).success
    recorded.target.delete(30)
    failure = failure_of(launched(recorded, "verify_changed"))
    assert failure.error.cls_name == "ChecksDoNotHold"
    assert failure.user_failure_data.metadata["checks_that_do_not_hold"].value == {MARCH: ["zero_mismatches"]}


def test_a_run_that_failed_chooses_again_and_takes_up_what_is_left(recorded: Platform, proxy: FaultProxy) -> None:
    recorded.source.insert([*images_of(2, [20]), *images_of(3, [30])])
    assert recorded.run_range("migrate", FEBRUARY, MARCH).success
    recorded.through(proxy.url)
    proxy.inject(error("AccessDeniedException"), "BatchGetItem")
    failed = launched(recorded, "verify_changed")
    assert failure_of(failed).error.cls_name == "PartitionsFailed"
    again = launched(recorded, "verify_changed")
    assert sorted([*verified_by(recorded, failed), *verified_by(recorded, again)]) == [FEBRUARY, MARCH]


def test_a_partition_that_another_run_is_verifying_is_left_to_it(recorded: Platform) -> None:
    recorded.source.insert([*images_of(2, [20]), *images_of(3, [30])])
    assert recorded.run_range("migrate", FEBRUARY, MARCH).success
    with recorded.state.exclusive(names.verification_lock(MARCH)):
        result = launched(recorded, "verify_changed")
    assert (result.success, verified_by(recorded, result)) == (True, [FEBRUARY])
    assert verified_by(recorded, launched(recorded, "verify_changed")) == [MARCH]


def test_verify_all_verifies_in_any_six_days_once_every_partition_that_was_migrated(recorded: Platform) -> None:
    recorded.source.insert([*images_of(2, [1]), *images_of(3, [3]), *images_of(4, [2])])
    recorded.succeed("migrate", FEBRUARY)
    recorded.succeed("migrate", APRIL)
    recorded.succeed("verify", APRIL)
    for first in (TICK, TICK + timedelta(days=3)):
        days = [launched(recorded, "verify_all", first + timedelta(days=day)) for day in range(6)]
        assert sorted(key for day in days for key in verified_by(recorded, day)) == [FEBRUARY, APRIL]


def test_verify_all_spreads_the_partitions_over_the_days(recorded: Platform) -> None:
    recorded.source.insert([row for month in range(1, 11) for row in images_of(month, [month])])
    assert recorded.run_range("migrate", JANUARY, "2024-10-01").success
    runs = [launched(recorded, "verify_all", TICK + timedelta(days=day)) for day in range(6)]
    days = [verified_by(recorded, run) for run in runs]
    assert sorted(map(len, days)) == [1, 1, 2, 2, 2, 2]
    assert set(Counter(key for day in days for key in day).values()) == {1}


def test_a_run_without_its_source_fails_and_names_it(recorded: Platform) -> None:
    recorded.set(IMGMIG_SOURCE_TABLE="no_such_table")
    failure = failure_of(launched(recorded, "verify_changed"))
    assert "SourceRefused" in failure.error.to_string()
    assert "no_such_table" in failure.error.to_string()
