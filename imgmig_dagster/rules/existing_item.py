"""The one rule for an item that already exists, for migration, retry and repair.

PostgreSQL wins over an item that is older, or of the same age. An item newer by a second or more is left alone, unless
the source always wins. Missing attributes are filled in at any age. `steps.reconcile` reads and writes by this rule.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, Final

from imgmig_dagster.mapping.compare import comparer, modified_reader
from imgmig_dagster.mapping.decoders import constant_meaning
from imgmig_dagster.mapping.rows import Assignments, Item, Row
from imgmig_dagster.mapping.spec import Newer, TableMapping

_NEWER_US: Final = 1_000_000


class Action(Enum):
    """What to do with a row and the item that was found."""

    NONE = "the item is as it has to be"
    PUT = "there is no item"
    COMPLETE = "attributes are missing from the item"
    UPDATE = "the item is older than the row, or as old"
    LEAVE = "the item is newer than the row"


@dataclass(frozen=True)
class Decision:
    """The action, and the attributes that it sets; None removes an attribute."""

    action: Action
    assignments: Assignments = field(default_factory=dict)

    @property
    def has_to_hold_still(self) -> bool:
        """Whether row and item must be unchanged after the recheck delay: the application may be writing them."""
        return self.action in (Action.UPDATE, Action.LEAVE)


class ExistingItemRule:
    """Decides by a row, the existing item, and the item that the row transforms to."""

    def __init__(self, mapping: TableMapping, source_wins: bool = False) -> None:
        self._mapping = mapping
        self._compare = comparer(mapping)
        self._modified = modified_reader(mapping)
        self._maps = _members_by_map(mapping)
        self._source_wins = source_wins

    def decide(self, row: Row, item: Item | None, expected: Item) -> Decision:
        """What to do about it; see `Decision`."""
        if item is None:
            return Decision(Action.PUT)
        comparison = self._compare(row, item)
        if comparison.equal:
            return Decision(Action.NONE)
        if comparison.absent:
            missing = {name: self._completed(name, item, expected[name]) for name in comparison.absent}
            return Decision(Action.COMPLETE, missing | self._first_version(item))
        if not self._source_wins and self._is_newer(item, row):
            return Decision(Action.LEAVE)
        declared = [each.attribute for each in self._mapping.fields]
        declared += [each.attribute for each in self._mapping.constants]
        replaced = {name: self._replaced(name, item, expected.get(name)) for name in declared}
        values = {name: value for name, value in replaced.items() if value is not None or name in item}
        return Decision(Action.UPDATE, values | self._next_version(item))

    def _completed(self, name: str, item: Item, expected: dict[str, Any]) -> dict[str, Any]:
        """An attribute that the item does not have. In a map, members that the item has stay as they are."""
        existing = item.get(name, {}).get("M")
        return {"M": {**expected["M"], **existing}} if existing is not None and "M" in expected else expected

    def _replaced(self, name: str, item: Item, expected: dict[str, Any] | None) -> dict[str, Any] | None:
        """An attribute as the row has it. In a map, members that the mapping does not name stay."""
        members = self._maps.get(name)
        existing = item.get(name, {}).get("M") or {}
        others = {} if members is None else {name: each for name, each in existing.items() if name not in members}
        return {"M": {**others, **(expected or {}).get("M", {})}} if others else expected

    def _is_newer(self, item: Item, row: Row) -> bool:
        index = self._mapping.modified_index
        if self._mapping.modified_field is None or index is None:
            return self._mapping.newer is Newer.TARGET
        item_us, row_us = self._modified(item), row[index]
        return item_us is not None and isinstance(row_us, int) and item_us - row_us >= _NEWER_US

    def _first_version(self, item: Mapping[str, object]) -> Item:
        version = self._mapping.version
        if version is None or version.attribute in item:
            return {}
        return {version.attribute: {"N": str(version.initial)}}

    def _next_version(self, item: Item) -> Item:
        version = self._mapping.version
        if version is None:
            return {}
        digits = item.get(version.attribute, {}).get("N", "")
        return {version.attribute: {"N": str(int(digits) + 1 if digits.isdigit() else version.initial)}}


def is_as_migrated(mapping: TableMapping, item: Item) -> bool:
    """Whether nobody wrote the item after the migration did: the application raises `version`."""
    version = mapping.version
    is_first = version is None or item.get(version.attribute) == {"N": str(version.initial)}
    return is_first and mapping.least_attributes <= item.keys() <= mapping.declared_attributes


def is_of_another_entity(mapping: TableMapping, item: Item) -> bool:
    """Whether the item has another value of a constant of the mapping. A missing one may still be our item."""
    return any(
        each.attribute in item and constant_meaning(item[each.attribute]) != constant_meaning(each.value)
        for each in mapping.constants
    )


def _members_by_map(mapping: TableMapping) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    for each in mapping.fields:
        if each.member is not None:
            found.setdefault(each.attribute, set()).add(each.member)
    return found
