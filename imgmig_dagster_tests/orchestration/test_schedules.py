"""What the schedules ask for, evaluated on a real source and a real state store."""

from collections.abc import Sequence
from datetime import datetime, timedelta, timezone
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.errors import SourceRefused
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, Platform, images_of

TICK = datetime(2025, 3, 2, 4, tzinfo=timezone.utc)
# A day on which the third partition has its turn.
DUE = datetime(2025, 3, 6, 4, tzinfo=timezone.utc)
JANUARY, MAY = "2024-01-01", "2024-05-01"


def requests_of(
    platform: Platform, schedule: str, tick_at: datetime = TICK
) -> tuple[Sequence[dg.RunRequest], str | None]:
    """The runs that the schedule asks for, and why there are none."""
    repository = platform.definitions.get_repository_def()
    context = dg.build_schedule_context(
        repository_def=repository,
        instance=platform.instance,
        resources=dict(platform.definitions.resources or {}),
        scheduled_execution_time=tick_at,
    )
    with context:
        tick = repository.get_schedule_def(schedule).evaluate_tick(context)
    return tick.run_requests or [], tick.skip_message


def partitions_of(platform: Platform, schedule: str) -> list[str | None]:
    return [request.partition_key for request in requests_of(platform, schedule)[0]]


def test_without_a_row_both_skip_and_say_why(platform: Platform) -> None:
    assert requests_of(platform, "verify_changed") == ([], "the evidence of every partition counts")
    assert requests_of(platform, "verify_all") == ([], "no partition that is due was migrated")


def test_verify_changed_asks_for_exactly_the_partitions_whose_evidence_no_longer_holds(platform: Platform) -> None:
    for month in (1, 2, 3, 4):
        platform.source.insert(images_of(month, range(10 * month, 10 * month + 3)))
    verified = [JANUARY, FEBRUARY, MARCH, APRIL]
    assert partitions_of(platform, "verify_changed") == [], "never migrated: the first night after a deployment"
    for partition in verified:
        platform.succeed("migrate", partition)
    assert partitions_of(platform, "verify_changed") == verified, "never verified"
    for partition in verified:
        platform.succeed("verify", partition)
    assert requests_of(platform, "verify_changed") == ([], "the evidence of every partition counts")

    platform.source.execute("UPDATE {t} SET width = 1 WHERE size_bytes = 1011")  # updated_at stays
    assert partitions_of(platform, "verify_changed") == [JANUARY]
    platform.source.delete(21)
    assert partitions_of(platform, "verify_changed") == [JANUARY, FEBRUARY]
    platform.succeed("migrate", MARCH)
    assert partitions_of(platform, "verify_changed") == [JANUARY, FEBRUARY, MARCH]
    platform.source.insert(images_of(5, [50]))
    platform.succeed("migrate", MAY)
    assert partitions_of(platform, "verify_changed") == [JANUARY, FEBRUARY, MARCH, MAY]

    # Evidence counts again once it is new, whatever the verdict was.
    assert not platform.run("verify", JANUARY).success
    assert partitions_of(platform, "verify_changed") == [FEBRUARY, MARCH, MAY]


def round_of(platform: Platform, first: datetime = TICK) -> list[str | None]:
    """The partitions that six ticks of `verify_all` ask for."""
    ticks = [requests_of(platform, "verify_all", first + timedelta(days=day))[0] for day in range(6)]
    return [request.partition_key for requests in ticks for request in requests]


def test_verify_all_asks_in_six_days_once_for_every_partition_that_was_migrated(platform: Platform) -> None:
    platform.source.insert([*images_of(2, [1]), *images_of(3, [3]), *images_of(4, [2])])
    platform.succeed("migrate", FEBRUARY)
    platform.succeed("migrate", APRIL)
    platform.succeed("verify", APRIL)
    platform.source.delete(2)
    assert sorted(map(str, round_of(platform))) == [FEBRUARY, APRIL]
    assert sorted(map(str, round_of(platform, TICK + timedelta(days=3)))) == [FEBRUARY, APRIL], "any six days"


def test_verify_all_spreads_the_partitions_over_the_days(platform: Platform) -> None:
    for month in range(1, 11):
        platform.state.write(f"2024-{month:02}-01/passes/1.json", b"{}")
    days = [len(requests_of(platform, "verify_all", TICK + timedelta(days=day))[0]) for day in range(6)]
    assert sorted(days) == [1, 1, 2, 2, 2, 2]


def test_the_census_and_the_spot_check_are_asked_for_whatever_is_known(platform: Platform) -> None:
    for schedule in ("census_weekly", "spot_check_daily"):
        ((request,), _) = requests_of(platform, schedule)
        assert request.partition_key is None


def test_a_request_is_one_run_of_one_partition_and_never_the_same_twice(platform: Platform) -> None:
    platform.source.insert(images_of(3, [1]))
    platform.succeed("migrate", MARCH)
    for schedule, tick_at in (("verify_changed", TICK), ("verify_all", DUE)):
        ((request,), _) = requests_of(platform, schedule, tick_at)
        # Only runs with this tag record the partition of an asset check.
        assert request.tags["dagster/partition"] == MARCH
        assert request.run_key == f"{MARCH}@{tick_at.isoformat()}"


def test_what_is_in_the_queue_already_is_not_asked_for_again(platform: Platform, tmp_path: Path) -> None:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as platform.instance:
        asked_once(platform)


def asked_once(platform: Platform) -> None:
    platform.source.insert(images_of(3, [1]))
    platform.succeed("migrate", MARCH)
    job = platform.definitions.resolve_job_def("verify")
    run = platform.instance.create_run_for_job(job, tags={"dagster/partition": MARCH})
    for schedule, tick_at in (("verify_changed", TICK), ("verify_all", DUE)):
        assert requests_of(platform, schedule, tick_at)[0] == []
    platform.instance.report_run_failed(run)
    assert partitions_of(platform, "verify_changed") == [MARCH]


def test_a_tick_without_its_source_fails_and_names_it(platform: Platform) -> None:
    platform.set(IMGMIG_SOURCE_TABLE="no_such_table")
    with pytest.raises(dg.DagsterError) as raised:
        requests_of(platform, "verify_changed")
    assert isinstance(raised.value.__cause__, SourceRefused)
    assert "no_such_table" in str(raised.value.__cause__)
