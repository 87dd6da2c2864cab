"""Draws the corruptions to plant, the same for the same items and seed. The kinds are in `corruptions`."""

from collections.abc import Callable, Iterator, Sequence, Set
from dataclasses import dataclass
from datetime import timedelta
from itertools import islice
from operator import itemgetter
from random import Random
from typing import Final, TypeAlias

from imgmig_dagster.mapping.fields import Field, Rule
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.self_test.corruptions import Corruption, changes_of
from imgmig_dagster.self_test.invented import invented
from imgmig_dagster.self_test.number_corruptions import meaning
from imgmig_dagster.self_test.times import instant
from imgmig_dagster.self_test.value_corruptions import ABSENT, Attribute

Name: TypeAlias = tuple[str, str]
"""What verification says of a key: its id, and the attribute at fault, `MISSING` or `ORPHAN`."""

MISSING: Final = "missing"
ORPHAN: Final = "orphan"
_SAMPLE: Final = 200
OTHER_ENTITY: Final = "another entity's item"


@dataclass(frozen=True)
class Plant:
    """One change of the target that the migration did not make.

    `named` is what verification must say about its `ids`, and nothing else; it is empty for a harmless change.
    """

    kind: str
    harmful: bool
    ids: frozenset[str]
    put: tuple[Item, ...] = ()
    delete: tuple[Item, ...] = ()
    named: frozenset[Name] = frozenset()


_Way: TypeAlias = Callable[[Item, Item, Random], "Plant | None"]
"""Plants one kind, on one field or on whole items, given an item and another one that it may also use. None if the
item does not allow this kind."""


def draw_plants(
    mapping: TableMapping, items: Sequence[Item], seed: int, harmful: int, harmless: int, orphans: int
) -> list[Plant]:
    """Draw that many corruptions and harmless changes, spread evenly over kinds and fields as far as the items allow.

    No item is used twice. At most `orphans` of the corruptions are orphans.

    Raises:
        ValueError: there are too few items.
    """
    # Its own random stream: rows made from the bare seed have the ids that it would give to orphans.
    chance = Random(f"self-test {seed}")  # noqa: S311
    draw = _Draw(mapping, chance.sample(items, len(items)), chance)
    known = {str(mapping.row_id(item)) for item in items}
    ways = [_changing(mapping, change, field) for change, field in _changes(mapping, harmful=True)]
    added = draw.take([_orphaning(mapping, known)], min(orphans, harmful // len(ways)))
    corrupted = draw.take([*ways, _swapping(mapping), _deleting(mapping)], harmful - len(added))
    ways = [_changing(mapping, change, field) for change, field in _changes(mapping, harmful=False)]
    ways += [_setting(mapping, "undeclared attribute", {"selfTest": {"S": "x"}}), _adding_another(mapping)]
    if mapping.version is not None:
        ways.append(_setting(mapping, "version raised", {mapping.version.attribute: {"N": "7"}}))
    return [*added, *corrupted, *draw.take(ways, harmless)]


class _Draw:
    def __init__(self, mapping: TableMapping, items: Sequence[Item], chance: Random) -> None:
        self._chance = chance
        self._items = {str(mapping.row_id(item)): item for item in items}
        self._used: set[str] = set()

    def take(self, ways: Sequence[_Way], count: int) -> list[Plant]:
        """Draw `count` plants, each way its share."""
        offers = [sum(1 for _plant in self._offers(way, Random(0), _SAMPLE)) for way in ways]  # noqa: S311
        # A kind that few items allow is drawn first; the unused part of its share goes to the others.
        order = [way for _offered, way in sorted(zip(offers, ways, strict=True), key=itemgetter(0))]
        taken: list[Plant] = []
        for place, way in enumerate(order):
            share = (count - len(taken)) // (len(order) - place)
            taken += islice(self._plants(way), share)
        if len(taken) < count:
            raise ValueError(f"{count - len(taken)} of {count} could not be planted: more items are needed")
        return taken

    def _plants(self, way: _Way) -> Iterator[Plant]:
        for plant in self._offers(way, self._chance):
            if not plant.ids & self._used:
                self._used |= plant.ids
                yield plant

    def _offers(self, way: _Way, chance: Random, of: int | None = None) -> Iterator[Plant]:
        items = [item for row_id, item in self._items.items() if row_id not in self._used][:of]
        pairs = zip(items, items[1:] + items[:1], strict=True)
        return (plant for item, other in pairs if (plant := way(item, other, chance)) is not None)


def _changes(mapping: TableMapping, harmful: bool) -> list[tuple[Corruption, Field]]:
    return [(change, field) for field in mapping.fields for change in changes_of(field) if change.harmful is harmful]


def _changing(mapping: TableMapping, change: Corruption, field: Field) -> _Way:
    def plant(item: Item, _other: Item, chance: Random) -> Plant | None:
        changed = change.apply(field.of(item) or ABSENT, field, chance)
        if changed is None:
            return None
        row_id = str(mapping.row_id(item))
        named = frozenset({(row_id, field.name)}) if change.harmful else frozenset[Name]()
        return Plant(change.kind, change.harmful, frozenset({row_id}), put=(_with(item, field, changed),), named=named)

    return plant


def _with(item: Item, field: Field, changed: Attribute) -> Item:
    """The item with the field's attribute, or member of it, as it was changed."""
    if field.member is not None:
        members = {**item.get(field.attribute, {}).get("M", {}), field.member: changed}
        changed = {"M": {name: value for name, value in members.items() if value != ABSENT}}
    return {name: value for name, value in {**item, field.attribute: changed}.items() if value != ABSENT}


def _setting(mapping: TableMapping, kind: str, values: Item) -> _Way:
    def plant(item: Item, _other: Item, _chance: Random) -> Plant:
        return Plant(kind, False, frozenset({str(mapping.row_id(item))}), put=({**item, **values},))

    return plant


def _deleting(mapping: TableMapping) -> _Way:
    def plant(item: Item, _other: Item, _chance: Random) -> Plant:
        row_id = str(mapping.row_id(item))
        named = frozenset({(row_id, MISSING)})
        return Plant("item deleted", True, frozenset({row_id}), delete=(mapping.key(row_id),), named=named)

    return plant


def _orphaning(mapping: TableMapping, known: Set[str]) -> _Way:
    def plant(item: Item, _other: Item, chance: Random) -> Plant | None:
        row_id = invented(mapping, str(mapping.row_id(item)), chance)
        if row_id in known:
            return None
        put = {**item, **mapping.key(row_id)}
        return Plant("orphan added", True, frozenset({row_id}), put=(put,), named=frozenset({(row_id, ORPHAN)}))

    return plant


def _adding_another(mapping: TableMapping) -> _Way:
    """An item under a key that the mapping cannot make, where the table can hold one."""

    def plant(item: Item, _other: Item, chance: Random) -> Plant | None:
        row_id = invented(mapping, str(mapping.row_id(item)), chance)
        for each in reversed(mapping.primary_key):
            put = {**item, **mapping.key(row_id), each.attribute: {"S": f"SELF-TEST {row_id}"}}
            if each.type == "S" and mapping.row_id(put) is None:
                return Plant(OTHER_ENTITY, False, frozenset({row_id}), put=(put,))
        return None

    return plant


def _swapping(mapping: TableMapping) -> _Way:
    """Two items under each other's keys, as after a mix-up of replies: what they do not share is wrong on both."""

    def plant(item: Item, other: Item, _chance: Random) -> Plant | None:
        ids = [str(mapping.row_id(each)) for each in (item, other)]
        differing: list[str] = []
        for field in mapping.fields:
            mine, others = field.of(item) or ABSENT, field.of(other) or ABSENT
            if meaning(mine) == meaning(others):
                continue
            tolerant = field.rule is Rule.WITHIN_ONE_SECOND and "S" in mine and "S" in others
            # So close that only the rows' microseconds decide whether it is a difference.
            if tolerant and abs(instant(mine) - instant(others)) < timedelta(seconds=2):
                return None
            differing.append(field.name)
        if not differing:
            return None
        put = ({**other, **mapping.key(ids[0])}, {**item, **mapping.key(ids[1])})
        named = frozenset((row_id, name) for row_id in ids for name in differing)
        return Plant("two items swapped", True, frozenset(ids), put=put, named=named)

    return plant
