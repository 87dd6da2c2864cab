"""What is cut into batches comes back whole and in order."""

import pytest

from imgmig_dagster.batches import batched, batched_by


@pytest.mark.parametrize(
    ("things", "batches"),
    [("", []), ("a", ["a"]), ("abc", ["abc"]), ("abcd", ["abc", "d"]), ("abcdef", ["abc", "def"])],
)
def test_only_the_last_batch_is_smaller(things: str, batches: list[str]) -> None:
    assert list(batched(things, 3)) == batches


@pytest.mark.parametrize(
    ("sizes", "batches"),
    [
        ([], []),
        ([1, 1, 1, 1, 1], [[1, 1, 1, 1, 1]]),
        ([20, 0, 1, 19, 1], [[20, 0], [1, 19], [1]]),
        ([30, 30, 1, 1, 1], [[30], [30], [1, 1, 1]]),
    ],
)
def test_a_batch_is_as_large_as_it_may_be_or_one_thing(sizes: list[int], batches: list[list[int]]) -> None:
    assert list(batched_by(sizes, lambda size: size, 20)) == batches
