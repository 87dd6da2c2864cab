"""Partitions are adjoining time windows from the start, moved back, to today."""

from datetime import date, datetime, timedelta, timezone
from itertools import pairwise
from typing import get_args

import dagster as dg
import pytest

from imgmig_dagster.defs.table import definition_of
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.declaration import DeclaredPartitions, Grain
from imgmig_dagster.mapping.spec import Order
from imgmig_dagster.stage.config import load_table_settings
from imgmig_dagster.stage.partitions import partitions_of
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.table_settings import TableSettings
from imgmig_dagster.window import UNDATED_WINDOW, Window

ORDER = Order("created_at")

pytestmark = pytest.mark.usefixtures("clean_environment")


def windows(grain: Grain, start: str) -> list[Window]:
    return list(partitions_of(DeclaredPartitions(grain, date.fromisoformat(start)), ORDER).windows())


def utc(year: int, month: int, day: int) -> datetime:
    return datetime(year, month, day, tzinfo=timezone.utc)


@pytest.mark.parametrize(
    ("grain", "start", "first", "end"),
    [
        ("monthly", "2024-02-29", "2024-02-01", utc(2024, 3, 1)),
        ("monthly", "2023-12-01", "2023-12-01", utc(2024, 1, 1)),
        ("weekly", "2024-03-15", "2024-03-10", utc(2024, 3, 17)),  # a Friday goes back to its Sunday
        ("weekly", "2024-03-10", "2024-03-10", utc(2024, 3, 17)),  # a Sunday stays
        ("weekly", "2024-03-16", "2024-03-10", utc(2024, 3, 17)),  # a Saturday is the last day of its week
        ("weekly", "2024-01-02", "2023-12-31", utc(2024, 1, 7)),
        ("daily", "2024-02-29", "2024-02-29", utc(2024, 3, 1)),
    ],
)
def test_the_first_partition_holds_the_whole_of_the_start(grain: Grain, start: str, first: str, end: datetime) -> None:
    window = windows(grain, start)[0]
    assert (window.partition, window.start, window.end) == (
        first,
        datetime.combine(date.fromisoformat(first), datetime.min.time(), timezone.utc),
        end,
    )


@pytest.mark.parametrize("grain", get_args(Grain))
def test_windows_adjoin_in_the_order_of_their_keys_and_the_current_one_is_the_last(grain: Grain) -> None:
    found = windows(grain, "2024-02-29")
    now = datetime.now(tz=timezone.utc)
    assert all(earlier.end == later.start for earlier, later in pairwise(found))
    assert all(window.start.utcoffset() == timedelta(0) for window in found)
    assert [window.partition for window in found] == sorted(window.partition for window in found)
    assert found[-1].start <= now < found[-1].end


@pytest.mark.parametrize("grain", get_args(Grain))
def test_a_migration_that_begins_today_has_one_partition(grain: Grain) -> None:
    today = datetime.now(tz=timezone.utc).date()
    assert len(windows(grain, today.isoformat())) == 1


@pytest.mark.parametrize("start", ["1999-12-31", "2020-02-29", "2023-01-01", "2024-12-30"])
@pytest.mark.parametrize("grain", get_args(Grain))
def test_dagster_has_the_same_partitions(grain: Grain, start: str) -> None:
    partitions = partitions_of(DeclaredPartitions(grain, date.fromisoformat(start)), ORDER)
    of_dagster = definition_of(partitions)
    assert isinstance(of_dagster, dg.TimeWindowPartitionsDefinition)

    theirs = {key: of_dagster.time_window_for_partition_key(key) for key in of_dagster.get_partition_keys()}

    assert list(partitions.windows()) == [Window(key, found.start, found.end) for key, found in theirs.items()]
    assert [partitions.window(key) for key in theirs] == list(partitions.windows())


def test_a_key_of_no_partition_names_no_window() -> None:
    partitions = partitions_of(DeclaredPartitions(start=date(2023, 1, 1)), ORDER)
    for key in ("2024-02-02", "2022-12-01", "February"):
        with pytest.raises(KeyError):
            partitions.window(key)


def test_a_key_names_its_window() -> None:
    partitions = partitions_of(DeclaredPartitions(start=date(2023, 1, 1)), ORDER)
    assert partitions.window("2024-02-01") == Window("2024-02-01", utc(2024, 2, 1), utc(2024, 3, 1))


def test_grain_and_start_come_from_the_settings(clean_environment: pytest.MonkeyPatch) -> None:
    assert load_table_settings(Stage.PROD) == TableSettings(partition_grain="monthly", partition_start=date(2020, 1, 1))
    clean_environment.setenv("IMGMIG_PARTITION_GRAIN", "weekly")
    clean_environment.setenv("IMGMIG_PARTITION_START", "2024-03-15")
    assert load_table_settings(Stage.PROD).partition_grain == "weekly"
    assert load_table_settings(Stage.PROD).partition_start == date(2024, 3, 15)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("IMGMIG_PARTITION_GRAIN", "hourly", "IMGMIG_PARTITION_GRAIN.*'daily', 'weekly' or 'monthly'"),
        ("IMGMIG_PARTITION_START", "March", "IMGMIG_PARTITION_START.*date"),
        ("IMGMIG_PARTITION_START", "2999-01-01", "IMGMIG_PARTITION_START.*begins in the future"),
        ("IMGMIG_PARTITION_START", "0001-01-01", "IMGMIG_PARTITION_START: the earliest day .* is 1000-01-01"),
        ("IMGMIG_PARTITION_START", "0999-12-31", "IMGMIG_PARTITION_START: the earliest day .* is 1000-01-01"),
    ],
)
def test_a_wrong_partitioning_is_named_when_definitions_load(
    clean_environment: pytest.MonkeyPatch, name: str, value: str, message: str
) -> None:
    clean_environment.setenv(name, value)
    with pytest.raises(SettingsError, match=message):
        load_table_settings(Stage.STAGING)


@pytest.mark.parametrize(
    ("grain", "earliest"), [("daily", "1000-01-01"), ("weekly", "1000-01-05"), ("monthly", "1000-01-01")]
)
def test_the_earliest_first_partition_has_a_key_that_names_its_window(grain: Grain, earliest: str) -> None:
    partitions = partitions_of(DeclaredPartitions(grain, date.fromisoformat(earliest)), ORDER)
    assert definition_of(partitions).get_partition_keys()[0] == earliest
    assert partitions.window(earliest).start == utc(*map(int, earliest.split("-")))
    with pytest.raises(ValueError, match=f"the earliest day of a first partition is {earliest}"):
        TableSettings(partition_grain=grain, partition_start=date.fromisoformat(earliest) - timedelta(days=1))


def test_buckets_are_seconds_since_1970_by_keys_of_one_length() -> None:
    partitions = partitions_of(DeclaredPartitions(None, None, 12), Order("", buckets=12))
    found = partitions.windows()
    assert [window.partition for window in found[:2]] == ["bucket-00", "bucket-01"]
    assert definition_of(partitions).get_partition_keys() == [window.partition for window in found]
    assert (found[0].start, found[-1].end) == (utc(1970, 1, 1), utc(1970, 1, 1) + timedelta(seconds=12))
    assert all(earlier.end == later.start for earlier, later in pairwise(found))
    assert partitions.window("bucket-11") == found[-1]


def test_rows_without_a_time_are_a_partition_behind_those_of_time() -> None:
    declared = DeclaredPartitions("monthly", date(2024, 2, 29))
    partitions = partitions_of(declared, Order("created_at", has_undated=True))
    *timed, last = partitions.windows()
    assert timed == partitions_of(declared, ORDER).windows()
    assert (last, last.is_undated) == (UNDATED_WINDOW, True)
    assert definition_of(partitions).get_partition_keys()[-1] == "undated"
