"""How fast each phase goes and what holds it up, as tables of cases that were computed by hand."""

import re
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.capacity import measured
from imgmig_dagster.capacity.phases import Bottleneck, Phase, paced, phases
from imgmig_dagster.capacity.workload import CapacityMode, Index, Workload
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.stages import WriteMode

BENCHMARKS = Path(__file__).parents[3] / "docs" / "benchmarks.md"
# More cores than are needed, and a table that is warm: what is left is what a case is about.
AMPLE: dict[str, Any] = {"runs": 100, "partitions": 100, "warm": 40_000, "write_mode": WriteMode.BATCH}


def phase(name: str, **given: Any) -> Phase:
    return next(each for each in phases(Workload(**{**AMPLE, **given})) if each.name == name)


@pytest.mark.parametrize(
    ("rows", "steady", "first", "seconds"),
    [
        (1_000, 100, 100, 10),
        (1_000, 100, 400, 10),
        # 10/s for half an hour is 18,000 rows.
        (18_000, 1_000, 10, 1_800),
        (17_000, 1_000, 10, 1_700),
        # Then 20/s, and 40/s for the 46,000 that are left: 3,600 s and 1,150 s.
        (100_000, 100, 10, 4_750),
        # 25/s is below the doubled rate: it is never gone beyond.
        (18_000 + 50, 25, 10, 1_800 + 50 / 20),
        (18_000 + 36_000 + 50, 25, 10, 3_600 + 2),
        (0, 100, 10, 0),
    ],
)
def test_a_table_warms_up_by_doubling_every_half_an_hour(
    rows: float, steady: float, first: float, seconds: float
) -> None:
    assert paced(rows, steady, first) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("given", "rows_per_s", "bottleneck"),
    [
        # 40,000 units/s, one unit an item up to 1,024 bytes, two from 1,025.
        ({"item_bytes": 1_024}, 40_000, Bottleneck.TABLE_QUOTA),
        ({"item_bytes": 1_025}, 20_000, Bottleneck.TABLE_QUOTA),
        ({"item_bytes": 409_600}, 100, Bottleneck.TABLE_QUOTA),
        ({"quota": 80_000, "warm": 80_000}, 80_000, Bottleneck.TABLE_QUOTA),
        # Two write units and, in batch mode, a read unit for the look at the key.
        ({"item_bytes": 2_000, "rate": 3_000}, 1_000, Bottleneck.RATE),
        ({"item_bytes": 2_000, "rate": 3_000, "write_mode": WriteMode.CONDITIONAL}, 1_500, Bottleneck.RATE),
        # 2 + 2 + 1 write units and the look: the ceiling counts what the indexes take.
        ({"item_bytes": 2_048, "indexes": [Index(1_500), Index(100)], "rate": 6_000}, 1_000, Bottleneck.RATE),
        # Above the quota a rate is of no use.
        ({"rate": 1_000_000}, 40_000, Bottleneck.TABLE_QUOTA),
        # One key takes half of the writes, and a partition of DynamoDB 1,000 units/s.
        ({"hot_share": 0.5}, 2_000, Bottleneck.PARTITION_HEAT),
        ({"hot_share": 1.0, "item_bytes": 4_096}, 250, Bottleneck.PARTITION_HEAT),
        # An index whose keys are few holds the table up.
        ({"indexes": [Index(200), Index(200, 0.25)]}, 4_000, Bottleneck.PARTITION_HEAT),
        ({"source_rows_per_s": 1_000}, 1_000, Bottleneck.SOURCE),
        # Conditional mode reads each row twice.
        ({"source_rows_per_s": 1_000, "write_mode": WriteMode.CONDITIONAL}, 500, Bottleneck.SOURCE),
        # Of all an account's provisioned tables and indexes: 80,000 units/s, of which an item with two indexes takes 3.
        (
            {"capacity_mode": CapacityMode.PROVISIONED, "indexes": [Index(100), Index(100)]},
            80_000 / 3,
            Bottleneck.TABLE_QUOTA,
        ),
    ],
)
def test_a_migration_goes_as_fast_as_its_bottleneck(
    given: dict[str, Any], rows_per_s: float, bottleneck: Bottleneck
) -> None:
    found = phase("migrate", rows=1_000_000_000, **given)

    assert found.rows_per_s == pytest.approx(rows_per_s)
    assert found.bottleneck is bottleneck
    assert found.seconds == pytest.approx(1_000_000_000 / rows_per_s)


@pytest.mark.parametrize(
    ("given", "beside_the_rows_s", "runs_with_work"),
    [
        # Of each partition 19.5 ms, of each run's start 2.3 s.
        ({"runs": 1, "partitions": 1}, 2.3195, 1),
        ({"runs": 2, "partitions": 1_000}, 19.5 + 4.6, 2),
        # Only four of eight runs have a partition.
        ({"runs": 8, "partitions": 4}, 0.078 + 9.2, 4),
        ({"runs": 1, "partitions": 1, "write_mode": WriteMode.CONDITIONAL}, 2.3195, 1),
    ],
)
def test_the_clients_cpu_is_that_of_the_runs_that_have_work(
    given: dict[str, Any], beside_the_rows_s: float, runs_with_work: int
) -> None:
    ample = {"item_bytes": 600, "quota": 1_000_000, "warm": 1_000_000, "source_rows_per_s": 1_000_000}
    found = phase("migrate", rows=1_000_000, **ample, **given)

    # A million rows: as many seconds as a row takes microseconds.
    cpu_s = measured.MIGRATE_US_PER_ROW[given.get("write_mode", WriteMode.BATCH)] + beside_the_rows_s
    assert found.cpu_s == pytest.approx(cpu_s)
    assert found.seconds == pytest.approx(cpu_s / runs_with_work)
    assert found.bottleneck is Bottleneck.CLIENT_CPU


def test_a_new_table_on_demand_holds_a_migration_up_and_a_provisioned_one_does_not() -> None:
    # 4,000 units/s, and 400 of them an item.
    new = {"rows": 100_000, "item_bytes": 409_600, "warm": 4_000}
    on_demand = phase("migrate", **new)
    provisioned = phase("migrate", **new, capacity_mode=CapacityMode.PROVISIONED)

    assert on_demand.seconds == pytest.approx(4_750)
    assert on_demand.bottleneck is Bottleneck.WARM_THROUGHPUT
    assert provisioned.seconds == pytest.approx(1_000)
    assert provisioned.bottleneck is Bottleneck.TABLE_QUOTA


@pytest.mark.parametrize(
    ("item_bytes", "verify_units", "verify_requests", "census_units", "census_requests"),
    [
        (1_000, 10_000, 100, 2_442, 10),  # 10,000,000 bytes / 4,096, and / 1 MB
        (4_096, 10_000, 100, 10_000, 40),
        (4_097, 20_000, 100, 10_003, 40),
        # Of 400 KB only 40 items fit in a reply of 16 MB, which BatchGetItem breaks off.
        (409_600, 1_000_000, 250, 1_000_000, 3_907),
    ],
)
def test_what_is_read_back_costs_by_its_size(
    item_bytes: int, verify_units: int, verify_requests: int, census_units: int, census_requests: int
) -> None:
    verified = phase("verify", rows=10_000, item_bytes=item_bytes)
    counted = phase("census", rows=10_000, item_bytes=item_bytes)

    assert (verified.read_units, verified.requests, verified.write_units) == (verify_units, verify_requests, 0)
    assert (counted.read_units, counted.requests, counted.write_units) == (census_units, census_requests, 0)


def test_a_scan_is_held_up_by_the_partitions_that_its_segments_are_in() -> None:
    found = phase("census", rows=10_000_000, item_bytes=409_600)

    # Four segments of 3,000 read units/s, and 100 units an item.
    assert (found.rows_per_s, found.bottleneck) == (120, Bottleneck.PARTITION_HEAT)


@pytest.mark.parametrize(
    ("write_mode", "item_bytes", "requests", "read_units"),
    [
        (WriteMode.BATCH, 1_000, 400 + 100, 10_000),
        (WriteMode.BATCH, 100_000, 400 + 100, 10_000),
        (WriteMode.CONDITIONAL, 1_000, 400, 0),
        # Too large for a statement of PartiQL.
        (WriteMode.CONDITIONAL, 100_000, 10_000, 0),
    ],
)
def test_what_is_sent_to_write_10000_rows(
    write_mode: WriteMode, item_bytes: int, requests: int, read_units: int
) -> None:
    found = phase("migrate", rows=10_000, item_bytes=item_bytes, write_mode=write_mode)

    assert (found.requests, found.read_units) == (requests, read_units)


def test_large_items_take_cpu_by_their_size() -> None:
    small, large = (phase("verify", rows=1_000_000, item_bytes=1_024 * kb).cpu_s for kb in (1, 101))

    # 100 KB more, of 6.5 µs each.
    assert large - small == pytest.approx(650)


def test_nothing_takes_nothing() -> None:
    for found in phases(Workload(rows=0)):
        assert (found.seconds, found.requests, found.write_units, found.cpu_s) == (0, 0, 0, 0)
        assert found.bottleneck is Bottleneck.NOTHING


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rows": -1}, "--rows -1 is not from 0 to"),
        ({"rows": 10**14}, "--rows 100,000,000,000,000 is not from 0 to"),
        ({"item_bytes": 409_601}, "--item-bytes 409,601 is more than an item of DynamoDB can have: 409,600"),
        ({"item_bytes": 0}, "--item-bytes 0 is not from 1"),
        ({"partitions": 0}, "--partitions 0 is not from 1"),
        ({"runs": 0}, "--runs 0 is not from 1"),
        ({"stream_readers": -1}, "--streams -1 is not from 0"),
        ({"rate": 0}, "--rate must be more than 0"),
        ({"rate": float("nan")}, "--rate must be more than 0"),
        ({"source_rows_per_s": 0}, "--source-rows must be more than 0"),
        ({"item_bytes": 300, "indexes": [Index(301)]}, "--index 301: an index holds attributes of the item"),
        ({"indexes": [Index(10, 1.1)]}, "is from 0 to 1"),
        ({"hot_share": -0.1}, "is from 0 to 1"),
    ],
)
def test_what_cannot_be_is_refused_by_the_option(given: dict[str, Any], says: str) -> None:
    with pytest.raises(SettingsError, match=re.escape(says)):
        Workload(**{"rows": 1, **given})


@pytest.mark.parametrize(
    ("line", "us_per_row"),
    [
        (r"^\| batch mode: imgmig_dagster, batch, per row \|", measured.MIGRATE_US_PER_ROW[WriteMode.BATCH]),
        (r"beside batch mode's [\d ./]+:\n ", measured.MIGRATE_US_PER_ROW[WriteMode.CONDITIONAL]),
        (r"^\| verification: imgmig_dagster, verification, per row \|", measured.VERIFY_US_PER_ROW),
    ],
)
def test_what_was_measured_is_what_the_benchmarks_say(line: str, us_per_row: float) -> None:
    found = re.search(rf"{line} [\d.]+ / ([\d.]+) / ", BENCHMARKS.read_text(), re.MULTILINE)
    assert found, f"docs/benchmarks.md has no line {line!r}"
    # Another machine, or another day, differs by as much; more than that is another way to do it.
    assert 2 / 3 < us_per_row / float(found[1]) < 3 / 2, "set capacity/measured.py by docs/benchmarks.md"
