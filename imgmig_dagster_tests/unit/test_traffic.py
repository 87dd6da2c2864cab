from functools import reduce
from operator import add

import pytest

from imgmig_dagster.traffic import Percentiles, Traffic, TrafficRecord


def traffic(*reads_ms: float, writes_ms: tuple[float, ...] = ()) -> TrafficRecord:
    found = Traffic()
    for ms in reads_ms:
        found.answered(True, ms / 1000)
    for ms in writes_ms:
        found.answered(False, ms / 1000)
    return found.record()


def test_percentiles_are_the_ends_of_the_buckets_that_hold_them() -> None:
    record = traffic(*[2.0] * 90, *[9.0] * 8, *[300.0] * 2, writes_ms=(5.0,))
    assert record.latency() == {"read": Percentiles(100, 2.2, 10, 330), "write": Percentiles(1, 5.6, 5.6, 5.6)}


@pytest.mark.parametrize("ms", [0.11, 1.0, 1.01, 3.14, 99.9, 12_345.0])
def test_a_percentile_is_never_too_low_and_at_most_a_quarter_too_high(ms: float) -> None:
    found = traffic(ms).latency()["read"].p50_ms
    assert ms <= found <= 1.25 * ms


def test_what_is_faster_or_slower_than_all_buckets_is_counted_too() -> None:
    assert traffic(0.0, 500_000.0).reads == {"0.1": 1, "82000": 1}


def test_the_numbers_of_two_runs_sum_to_those_of_one() -> None:
    first, second = traffic(1.0, 2.0, writes_ms=(3.0,)), traffic(2.0, 40.0)
    assert first + second == traffic(1.0, 2.0, 2.0, 40.0, writes_ms=(3.0,))


def test_numbers_have_the_same_names_always_and_none_where_nothing_was_asked() -> None:
    assert traffic(1.0).as_numbers() == {"read_requests": 1, "read_p50_ms": 1, "read_p95_ms": 1, "read_p99_ms": 1}


def test_throttling_is_counted_by_the_minute() -> None:
    seconds = iter([0.0, 59.9, 60.0, 7_200.0])
    found = Traffic(lambda: next(seconds))
    for _ in range(4):
        found.throttled()
    assert (found.throttles, found.record().throttled) == (4, {"0": 2, "60": 1, "7200": 1})


def test_a_throttled_week_takes_no_more_room_than_two_hours() -> None:
    minutes = (TrafficRecord(throttled={str(60 * minute): 1}) for minute in range(7 * 24 * 60))
    record = reduce(add, minutes)
    assert record.slot_s == 7_680
    assert len(record.throttled) <= 120
    assert sum(record.throttled.values()) == 7 * 24 * 60
    assert (TrafficRecord(throttled={"60": 5}) + record).throttled["0"] == 128 + 5
