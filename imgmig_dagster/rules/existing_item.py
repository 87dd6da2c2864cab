"""The one rule for an item that is already there, for migration, retry and repair alike.

PostgreSQL wins over an item that is older, or as old; an item newer by a second or more is left alone, unless the
source wins always. What an item lacks is filled in, whatever its age. `steps.reconcile` looks and writes by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from imgmig_dagster.mapping.compare import comparer, item_timestamp
from imgmig_dagster.mapping.spec import Item, Row, TableMapping

_NEWER_US: Final = 1_000_000


class Action(Enum):
    """What is to be done about a row and the item that was found."""

    NONE = "the item is as it has to be"
    PUT = "there is no item"
    COMPLETE = "the item lacks attributes"
    UPDATE = "the item is older than the row, or as old"
    LEAVE = "the item is newer than the row"


@dataclass(frozen=True)
class Decision:
    """The action, and the attributes that it sets."""

    action: Action
    assignments: Item = field(default_factory=dict)

    @property
    def has_to_hold_still(self) -> bool:
        """Whether row and item have to be seen unchanged a settle time later: the application may be at work."""
        return self.action in (Action.UPDATE, Action.LEAVE)


class ExistingItemRule:
    """Decides by a row, the item that stands there, and the item that the row transforms to."""

    def __init__(self, mapping: TableMapping, source_wins: bool = False) -> None:
        self._mapping = mapping
        self._compare = comparer(mapping)
        self._source_wins = source_wins

    def decide(self, row: Row, item: Item | None, expected: Item) -> Decision:
        """What to do about it; see `Decision`."""
        if item is None:
            return Decision(Action.PUT)
        comparison = self._compare(row, item)
        if comparison.equal:
            return Decision(Action.NONE)
        if comparison.absent:
            missing = {name: expected[name] for name in comparison.absent}
            return Decision(Action.COMPLETE, missing | self._first_version(item))
        if not self._source_wins and self._is_newer(item, row):
            return Decision(Action.LEAVE)
        values = {each.attribute: expected[each.attribute] for each in self._mapping.fields}
        return Decision(Action.UPDATE, values | self._next_version(item))

    def _is_newer(self, item: Item, row: Row) -> bool:
        item_us = item_timestamp(item, self._mapping.modified_attribute)
        row_us = row[self._mapping.modified_index]
        return item_us is not None and isinstance(row_us, int) and item_us - row_us >= _NEWER_US

    def _first_version(self, item: Mapping[str, object]) -> Item:
        name = self._mapping.version_attribute
        return {} if name in item else {name: {"N": str(self._mapping.initial_version)}}

    def _next_version(self, item: Item) -> Item:
        name = self._mapping.version_attribute
        digits = item.get(name, {}).get("N", "")
        version = int(digits) + 1 if digits.isdigit() else self._mapping.initial_version
        return {name: {"N": str(version)}}


def is_as_migrated(mapping: TableMapping, item: Item) -> bool:
    """Whether nobody wrote the item after the migration did: the application raises `version`."""
    first_version = {"N": str(mapping.initial_version)}
    return item.keys() == mapping.declared_attributes and item[mapping.version_attribute] == first_version
