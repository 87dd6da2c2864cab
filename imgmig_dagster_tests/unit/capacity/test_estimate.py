"""What a migration costs, computed by hand, and what the state holds of it."""

from dataclasses import replace
from typing import Any

import pytest

from imgmig_dagster.capacity.bulk import load
from imgmig_dagster.capacity.estimate import Estimate, estimate
from imgmig_dagster.capacity.prices import NAMES, PRICES, on_demand_dollars
from imgmig_dagster.capacity.workload import CapacityMode, Index, Workload

GB = 1_024**3
BASE: dict[str, Any] = {"rows": 100_000_000, "partitions": 3_650, "runs": 50, "rate": 20_000, "warm": 40_000}


def of(**given: Any) -> Estimate:
    return estimate(Workload(**{**BASE, **given}), PRICES)


@pytest.mark.parametrize(
    ("write_units", "read_units", "dollars"),
    [(0, 0, 0), (1_000_000, 0, 0.625), (0, 1_000_000, 0.125), (15_873, 0, 0.009920625)],
)
def test_units_on_demand_have_a_price_a_million(write_units: int, read_units: int, dollars: float) -> None:
    assert on_demand_dollars(write_units, read_units) == pytest.approx(dollars)


def test_units_are_paid_for_on_demand() -> None:
    found = of()

    # 100 million writes; 100 million reads of the verification and 25 million of the census, four items a unit.
    assert (found.write_units, found.read_units) == (100_000_000, 125_000_000)
    assert found.dollars.writes == pytest.approx(62.5)
    assert found.dollars.reads == pytest.approx(15.625)
    assert found.dollars.total == pytest.approx(62.5 + 15.625 + found.dollars.state)


def test_each_index_takes_units_of_its_own() -> None:
    found = of(item_bytes=3_000, indexes=[Index(1_500), Index(80)])

    assert found.write_units == (3 + 2 + 1) * 100_000_000


def test_provisioned_capacity_is_paid_for_by_each_hour_that_has_begun() -> None:
    found = of(capacity_mode=CapacityMode.PROVISIONED)
    migrated, verified, counted = found.phases

    # 5,000 s are two hours, at 20,000 units/s.
    assert [round(each.seconds) for each in (migrated, verified)] == [5_000, 5_000]
    hours = -(-100_000_000 // (counted.rows_per_s * 3_600))
    census = hours * -(-counted.rows_per_s // 4) * 0.00013
    assert found.dollars.provisioned == pytest.approx(2 * 20_000 * (0.00065 + 0.00013) + census, rel=1e-3)
    assert found.dollars.total == pytest.approx(found.dollars.provisioned + found.dollars.state)


@pytest.mark.parametrize(
    ("item_bytes", "readers", "dollars"),
    [
        (1_024, 0, 0),
        # 1,000 records a reply, 100,000 replies.
        (1_024, 1, 0.02),
        (1_024, 3, 0.06),
        # 1 MB a reply: 390,625 of them.
        (4_096, 1, 0.078125),
    ],
)
def test_readers_of_the_stream_pay_by_reply(item_bytes: int, readers: int, dollars: float) -> None:
    assert of(item_bytes=item_bytes, stream_readers=readers).dollars.streams == pytest.approx(dollars)


def test_a_month_is_paid_for_by_what_is_stored_with_its_overhead() -> None:
    found = of(indexes=[Index(100)]).dollars

    stored = 100_000_000 * (1_024 + 100 + 100 + 100) / GB
    assert found.storage_month == pytest.approx(stored * 0.25)
    assert found.recovery_month == pytest.approx(stored * 0.20)
    assert found.export == pytest.approx(100_000_000 * 1_024 / GB * 0.10)


def test_the_state_has_files_of_each_partition_and_each_thousand_rows() -> None:
    found = of().state

    assert found.objects == 3_650 * 4 + 100_000 + 1_000
    assert (found.puts, found.gets) == (3_650 * 23 + 100_000 * 5 + 1_000, 3_650 * 20 + 100_000 * 4)
    # A partition of ten rows has a segment too.
    assert of(rows=36_500).state.objects == 3_650 * 5 + 1


def test_other_prices_make_other_dollars() -> None:
    dear = replace(PRICES, write_million=1.25)

    assert estimate(Workload(**BASE), dear).dollars.writes == pytest.approx(125)
    assert all(name.replace("-", "_") in vars(PRICES) for name in NAMES)


def test_an_import_reads_more_bytes_than_the_items_have() -> None:
    found = load(Workload(rows=1_000_000_000, item_bytes=1_024), PRICES)

    assert found.json_bytes == 1_000_000_000 * 1_536
    assert found.import_dollars == pytest.approx(1_000_000_000 * 1_536 / GB * 0.15)
    # 1,430.5 GB: objects of at most 5 GB, and twice 1 TB.
    assert (found.objects, found.imports) == (287, 2)


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"rate": 100_000}, "the rate of 100,000 units/s is above the table's quota of 40,000"),
        ({"partitions": 12}, "38 of 50 runs have no partition to work on"),
    ],
)
def test_what_is_to_be_thought_of_is_said(given: dict[str, Any], says: str) -> None:
    assert [each for each in of(**given).remarks if each.startswith(says)] != []
    assert of().remarks == []


def test_no_rows_cost_nothing() -> None:
    found = of(rows=0)

    assert (found.seconds, found.dollars.total, found.dollars.provisioned, found.state.objects) == (0, 0, 0, 0)
    assert (found.bulk.import_dollars, found.bulk.objects) == (0, 0)
