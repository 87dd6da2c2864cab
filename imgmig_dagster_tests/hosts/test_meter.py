"""What a campaign judges the rate by; the campaign itself needs root: `make hosts`."""

import pytest

from imgmig_dagster_tests.hosts.meter import Arrival, busiest, units_of


@pytest.mark.parametrize(
    ("arrived", "most"),
    [
        ([], 0),
        ([(1.0, 25)], 25),
        ([(0.0, 10), (5.0, 10)], 10),
        ([(0.0, 10), (4.9, 10), (5.1, 30), (10.2, 20)], 40),
        ([(7.0, 1), (0.0, 2), (6.0, 4)], 5),
    ],
)
def test_the_busiest_window_may_begin_anywhere(arrived: list[Arrival], most: float) -> None:
    assert busiest(arrived, window_s=5) == most


@pytest.mark.parametrize(
    ("reply", "units"),
    [
        ({}, 0),
        ({"ConsumedCapacity": {"CapacityUnits": 2.0}}, 2),
        ({"ConsumedCapacity": [{"CapacityUnits": 2.0}, {"CapacityUnits": 0.5}]}, 2.5),
    ],
)
def test_the_units_of_a_reply_are_those_of_all_its_tables(reply: dict[str, object], units: float) -> None:
    assert units_of(reply) == units
