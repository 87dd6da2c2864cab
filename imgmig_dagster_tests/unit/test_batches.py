"""What is cut into batches comes back whole and in order."""

import pytest

from imgmig_dagster.batches import batched


@pytest.mark.parametrize(
    ("things", "batches"),
    [("", []), ("a", ["a"]), ("abc", ["abc"]), ("abcd", ["abc", "d"]), ("abcdef", ["abc", "def"])],
)
def test_only_the_last_batch_is_smaller(things: str, batches: list[str]) -> None:
    assert list(batched(things, 3)) == batches
