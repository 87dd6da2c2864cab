"""Who gets how much of one rate."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from imgmig_dagster.fair_rate import fair_shares, lower

DEMANDS = st.dictionaries(st.text(max_size=3), st.none() | st.floats(0, 1e6), min_size=1, max_size=20)
RATES = st.floats(0.5, 1e6)


@pytest.mark.parametrize(
    ("demands", "expected"),
    [
        ({"a": None}, {"a": 900}),
        ({"a": 10}, {"a": 900}),
        ({"a": None, "b": None, "c": None}, {"a": 300, "b": 300, "c": 300}),
        ({"a": None, "b": 0}, {"a": 900, "b": 0}),
        ({"a": None, "b": 100}, {"a": 800, "b": 100}),
        ({"a": 500, "b": 100, "c": None}, {"a": 400, "b": 100, "c": 400}),
        ({"a": 10_000, "b": None}, {"a": 450, "b": 450}),
        ({"a": 100, "b": 200}, {"a": 400, "b": 500}),
        ({"a": 0, "b": 0}, {"a": 450, "b": 450}),
    ],
    ids=str,
)
def test_idle_shares_go_to_the_busy(demands: dict[str, float | None], expected: dict[str, float]) -> None:
    assert fair_shares(demands, 900) == pytest.approx(expected)


@given(DEMANDS, RATES)
def test_shares_sum_up_to_the_rate_and_nobody_lacks_what_another_has_without_need(
    demands: dict[str, float | None], rate: float
) -> None:
    shares = fair_shares(demands, rate)

    assert sum(shares.values()) == pytest.approx(rate)
    assert min(shares.values()) >= 0
    wanted = {name: math.inf if demand is None else demand for name, demand in demands.items()}
    short = [share for name, share in shares.items() if share < wanted[name] - 1e-6 * rate]
    for share in short:
        assert share == pytest.approx(max(shares.values()))


@pytest.mark.parametrize(
    ("one", "other", "expected"), [(None, None, None), (1.0, None, 1.0), (None, 0.0, 0.0), (3.0, 2.0, 2.0)]
)
def test_the_lower_of_two_ceilings(one: float | None, other: float | None, expected: float | None) -> None:
    assert lower(one, other) == expected
