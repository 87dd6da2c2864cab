"""Both sides of a census on disk: what they say is what two dictionaries would, and how much disk they take."""

import random
import shutil
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from imgmig_dagster.errors import FilesUnavailable
from imgmig_dagster.mapping.digests import row_digester
from imgmig_dagster.mapping.rows import Row
from imgmig_dagster.source.counting import OUTSIDE, id_hash
from imgmig_dagster.steps import census_buckets
from imgmig_dagster.steps.census_sides import Sides, disk_needed, mean_id_bytes, require_disk
from imgmig_dagster.window import Window, to_microseconds
from imgmig_dagster_tests.arrange import month, row_id
from imgmig_dagster_tests.images import IMAGE

MONTHS = [month(2024, number) for number in (1, 2, 3)]
DIGEST = row_digester(IMAGE)
IDS = ["", "\0", "💥", "x" * 2_000, *map(row_id, range(200))]


def row(identifier: str, window: Window | None) -> Row:
    values = {"created_at": None if window is None else to_microseconds(window.start)}
    return Row([identifier, *(values.get(column) for column in IMAGE.columns[1:])])


@dataclass
class Model:
    """The same, in memory."""

    source: dict[str, tuple[int, str]] = field(default_factory=dict)
    seen: Counter[str] = field(default_factory=Counter)
    target: dict[str, int] = field(default_factory=dict)
    later: dict[str, str] = field(default_factory=dict)
    there: set[str] | None = None

    @property
    def gone(self) -> set[str]:
        return set() if self.there is None else self.source.keys() - self.there

    def differences(self) -> set[str]:
        rows = {row_id: digest for row_id, (digest, _part) in self.source.items() if row_id not in self.gone}
        differing = {each for each in rows.keys() | self.target.keys() if rows.get(each) != self.target.get(each)}
        return (differing | self.gone) - {each for each in self.repeated() if each not in self.gone}

    def repeated(self) -> list[str]:
        return sorted(each for each, times in self.seen.items() if times > 1 and each not in self.gone)

    def groups(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        rows = {row_id: part for row_id, (_digest, part) in self.source.items() if row_id not in self.gone}
        for each, part in {**self.later, **rows}.items():
            found.setdefault(part, set()).add(each)
        return found


def drawn(seed: int, sides: Sides, recounts: bool) -> Model:
    """Rows and items of all kinds, in any order, told to the sides and to the model."""
    chance, model = random.Random(seed), Model()
    windows: dict[str, Window | None] = {each: chance.choice([None, *MONTHS]) for each in IDS}

    def add(ids: Iterable[str]) -> None:
        rows = [row(each, windows[each]) for each in ids]
        sides.add_rows(rows)
        for each in rows:
            window = windows[each.id]
            model.source.setdefault(each.id, (DIGEST(each), OUTSIDE if window is None else window.partition))
            model.seen[each.id] += 1

    read = chance.sample(IDS, 150)
    add(read)
    add(chance.sample(read, 3))
    items = [
        (each, DIGEST(row(each, windows[each])) if chance.random() < 0.9 else chance.getrandbits(63))
        for each in chance.sample(IDS, 150)
    ]
    items += [(each, chance.getrandbits(63)) for each, _digest in chance.sample(items, 5)]
    for start in range(0, len(items), 7):
        sides.add_items(items[start : start + 7])
    model.target.update(items)
    if recounts:
        model.there = set(chance.sample(IDS, 180))
        sides.recount(model.there)
        sides.recount(list(model.there)[:20])
        unseen = [each for some in sides.unseen() for each in some]
        assert sorted(unseen) == sorted(model.there - model.source.keys())
        add(unseen[1:])  # the row of one is gone again
    return model


@pytest.mark.parametrize("held", [1, 64, 100_000], ids="{} held in memory".format)
@pytest.mark.parametrize("recounts", [False, True], ids=["counts agree", "counted again"])
def test_they_say_what_two_dictionaries_would(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, held: int, recounts: bool
) -> None:
    monkeypatch.setattr(census_buckets, "_HELD", held)
    for seed in range(5):
        sides = Sides(tmp_path / str(seed), IMAGE, MONTHS, len(IDS))
        model = drawn(seed, sides, recounts)

        found = [each for _entries, ids in sides.differences() for each in ids]

        assert Counter(found) == Counter(model.differences())
        assert (sides.items, sides.repeated) == (len(model.target), len(model.repeated()))
        assert sides.some_repeated == model.repeated()[:20]
        assert sides.rows == len(model.source if model.there is None else model.there)
        for each in sorted(model.differences())[::3]:
            sides.add_later([row(each, MONTHS[0])])
            model.later[each] = MONTHS[0].partition
        kept = [(group, each) for group, ids in sides.ids() for each in ids]
        assert Counter(kept) == Counter((group, each) for group, ids in model.groups().items() for each in ids)


def test_each_groups_ids_come_together_in_the_order_of_the_partitions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(census_buckets, "_HELD", 10)
    sides = Sides(tmp_path / "sides", IMAGE, MONTHS, len(IDS))
    drawn(1, sides, recounts=False)

    groups = [group for group, _ids in sides.ids()]

    assert list(dict.fromkeys(groups)) == [OUTSIDE, *(window.partition for window in MONTHS)]
    assert groups == sorted(groups, key=list(dict.fromkeys(groups)).index)


def test_what_was_read_is_told_by_count_and_sum(tmp_path: Path) -> None:
    sides = Sides(tmp_path / "sides", IMAGE, MONTHS, 3)
    sides.add_rows([row(row_id(1), None), row(row_id(2), None)])
    sides.add_rows([row(row_id(1), None)])

    assert sides.read == (3, 2 * id_hash(row_id(1)) + id_hash(row_id(2)))


def test_random_ids_take_less_disk_than_was_said_and_are_written_once(tmp_path: Path) -> None:
    rows, chance = 120_000, random.Random(7)
    identifiers = [f"{chance.getrandbits(128):032x}" for _row in range(rows)]
    identifiers = [f"{each[:8]}-{each[8:12]}-{each[12:16]}-{each[16:20]}-{each[20:]}" for each in identifiers]
    sides = Sides(tmp_path / "sides", IMAGE, MONTHS, rows)
    before = written_bytes()

    for start in range(0, rows, 1_000):
        sides.add_rows([row(each, MONTHS[0]) for each in identifiers[start : start + 1_000]])
    chance.shuffle(identifiers)
    for start in range(0, rows, 1_000):
        sides.add_items([(each, id_hash(each)) for each in identifiers[start : start + 1_000]])
    assert sum(entries for entries, _ids in sides.differences()) == 2 * rows
    assert sum(len(ids) for _group, ids in sides.ids()) == rows

    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert on_disk < 128 * rows
    assert written_bytes() - before < 1.1 * on_disk


def written_bytes() -> int:
    found = dict(line.split(": ") for line in Path("/proc/self/io").read_text().splitlines())
    return int(found["wchar"])


def test_a_census_that_has_no_room_says_how_much_it_needs(tmp_path: Path) -> None:
    require_disk(tmp_path, 1)

    with pytest.raises(FilesUnavailable, match=r"MB free: a census of 10,000,000,000,000 rows needs about .*TMPDIR"):
        require_disk(tmp_path, 10**13)


def test_long_ids_take_no_more_disk_than_is_said_of_them(tmp_path: Path) -> None:
    rows, chance = 20_000, random.Random(7)
    identifiers = [f"{chance.getrandbits(2_000):0500x}" for _row in range(rows)]
    read = [row(each, MONTHS[0]) for each in identifiers]
    sides = Sides(tmp_path / "sides", IMAGE, MONTHS, rows)

    sides.add_rows(read)
    sides.add_items([(each, id_hash(each)) for each in identifiers])
    assert sum(len(ids) for _group, ids in sides.ids()) == rows

    assert mean_id_bytes(read) == 500
    said = "a census of 20,000 rows with ids of 500 bytes needs about 30 MB of temporary files"
    assert disk_needed(rows, 500) == said
    on_disk = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert 128 * rows < on_disk < 30e6


def test_a_census_of_long_ids_needs_more_room(tmp_path: Path) -> None:
    rows = shutil.disk_usage(tmp_path).free // 256

    require_disk(tmp_path, rows, mean_id_bytes([row(row_id(1), None)]))
    with pytest.raises(FilesUnavailable, match="with ids of 500 bytes needs about"):
        require_disk(tmp_path, rows, 500)
