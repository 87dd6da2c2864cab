"""Lists in files of so many entries each."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from imgmig_dagster.errors import StateError
from imgmig_dagster.state.long_lists import FILE_HOLDS, LongList, read_list
from imgmig_dagster.state.store import LocalStateStore


@dataclass(frozen=True)
class Fruit:
    name: str
    seeds: int


def write(store: LocalStateStore, folder: str, count: int) -> None:
    kept = LongList(store, folder)
    for start in range(0, count, 30_000):
        kept.add(str(number) for number in range(start, min(count, start + 30_000)))
    kept.close()


@pytest.mark.parametrize("count", [0, 1, FILE_HOLDS, FILE_HOLDS + 1, 2 * FILE_HOLDS + 50_000])
def test_every_entry_is_read_again_in_order(tmp_path: Path, count: int) -> None:
    store = LocalStateStore(tmp_path)

    write(store, "list", count)

    read = list(read_list(store, "list", str))
    assert [entry for entries in read for entry in entries] == [str(number) for number in range(count)]
    assert len(read) == -(-count // FILE_HOLDS)
    assert all(len(entries) == FILE_HOLDS for entries in read[:-1])


def test_a_shorter_list_leaves_nothing_of_a_longer_one(tmp_path: Path) -> None:
    store = LocalStateStore(tmp_path)
    write(store, "list", FILE_HOLDS + 1)
    write(store, "list", 3)

    assert list(read_list(store, "list", str)) == [["0", "1", "2"]]


def test_entries_are_what_they_were(tmp_path: Path) -> None:
    store, fruits = LocalStateStore(tmp_path), [Fruit("fig\n", 1_000), Fruit("🍒", 1)]
    kept = LongList(store, "fruits")
    kept.add(fruits)
    kept.close()

    assert list(read_list(store, "fruits", Fruit)) == [fruits]
    with pytest.raises(StateError, match=r"fruits/000000.json.gz cannot be read: .* imgmig verify"):
        list(read_list(store, "fruits", str))
