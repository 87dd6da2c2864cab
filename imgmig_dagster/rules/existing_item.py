"""The one rule for an item that is already there, for migration, retry and repair alike.

PostgreSQL wins over an item that is older, or as old; an item newer by a second or more is left alone, unless the
source wins always. What an item lacks is filled in, whatever its age. `steps.reconcile` looks and writes by it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from imgmig_dagster.mapping.compare import comparer, item_timestamp
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.spec import Newer, TableMapping

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
        field, index = self._mapping.modified_field, self._mapping.modified_index
        if field is None or index is None:
            return self._mapping.newer is Newer.TARGET
        item_us, row_us = item_timestamp(item, field.attribute), row[index]
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
    return is_first and item.keys() == mapping.declared_attributes
