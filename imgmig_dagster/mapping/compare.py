"""Compares an item with its row, field by field.

It shares the declaration with `transform`, and nothing else. Items are decoded by separate code (`decoders`), because a
verifier that reuses the writer's code cannot see the writer's bugs. `digests` compares by hashes, `shown` shows values.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import Any, Final

from imgmig_dagster.mapping.decoders import Undecodable, constant_meaning, meaning
from imgmig_dagster.mapping.fields import Field, FieldType, Rule
from imgmig_dagster.mapping.rows import Item, Row, Value
from imgmig_dagster.mapping.shown import show_any, show_attribute, show_value
from imgmig_dagster.mapping.spec import Constant, TableMapping

_SECOND_US: Final = 1_000_000
_MILLISECOND_US: Final = 1_000


@dataclass(frozen=True)
class FieldDifference:
    """One field on which row and item disagree; a constant has no column.

    `attribute` is ``attribute.member`` of a map's member. `expected` is the row's value and `found` the item's, both as
    text that shows the type: ``S:"123"`` is not ``N:123``, and ``NULL`` is not ``S:""``.
    """

    column: str
    attribute: str
    expected: str
    found: str


@dataclass(frozen=True)
class Comparison:
    """The result of one look at a row and its item.

    `absent` names attributes that the item does not have, or that miss a member, although the row has a value: a
    partial write leaves such items. `inexact` names timestamps that are equal within the tolerance, but not the row's
    milliseconds, cut.
    """

    differences: tuple[FieldDifference, ...]
    absent: tuple[str, ...]
    inexact: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether every declared field agrees by its rule."""
        return not self.differences


class _Finding(Enum):
    """How an attribute can differ."""

    INEXACT = auto()
    DIFFERENT = auto()
    ABSENT = auto()


# Looks at one attribute of an item, by the row's value; None means equal.
_Check = Callable[[Any, Item], _Finding | None]
_INEXACT, _DIFFERENT, _ABSENT = _Finding
_ALL_EQUAL: Final = Comparison((), (), ())


def comparer(mapping: TableMapping) -> Callable[[Row, Item], Comparison]:
    """Compile the function that compares a row of `mapping` with its item, field by field and by type.

    NULL equals an absent attribute. `version` and undeclared attributes are not compared.
    """
    width = 1 + len(mapping.readings)
    fields = [(field, _check(field)) for field in mapping.fields]
    constants = [(each, _constant_check(each)) for each in mapping.constants]

    def compare(row: Row, item: Item) -> Comparison:
        if len(row) != width:
            raise ValueError(f"a row has {len(row)} values, and the mapping reads {width}")
        findings: list[tuple[_Finding, str, FieldDifference]] = []
        for (field, check), value in zip(fields, row[1:], strict=False):
            finding = check(value, item)
            if finding is not None:
                findings.append((finding, field.attribute, _difference(field, value, item)))
        for constant, check in constants:
            finding = check(None, item)
            if finding is not None:
                findings.append((finding, constant.attribute, _constant_difference(constant, item)))
        return _comparison(findings) if findings else _ALL_EQUAL

    return compare


def _comparison(findings: Sequence[tuple[_Finding, str, FieldDifference]]) -> Comparison:
    return Comparison(
        tuple(difference for finding, _attribute, difference in findings if finding is not _INEXACT),
        tuple(dict.fromkeys(attribute for finding, attribute, _difference in findings if finding is _ABSENT)),
        tuple(difference.attribute for finding, _attribute, difference in findings if finding is _INEXACT),
    )


def _check(field: Field) -> _Check:
    if field.member is not None:
        return _member_check(field, field.member)
    if field.type is FieldType.TIMESTAMP and field.rule is Rule.WITHIN_ONE_SECOND:
        return _tolerant_check(field)
    return _text_check(field) if field.type is FieldType.TEXT else _exact_check(field)


def _exact_check(field: Field) -> _Check:
    name, read = field.attribute, meaning(field)
    of_row, of_item = read.of_row, read.of_item

    def check(value: Any, item: Item) -> _Finding | None:
        attribute = item.get(name)
        expected = value if of_row is None or value is None else of_row(value)
        if attribute is None:
            return None if expected is None else _ABSENT
        try:
            return None if of_item(attribute) == expected else _DIFFERENT
        except Undecodable:
            return _DIFFERENT

    return check


def _text_check(field: Field) -> _Check:
    """Most fields are texts, and nearly all are equal: those need not be decoded."""
    name, check_exactly = field.attribute, _exact_check(field)

    def check(value: Any, item: Item) -> _Finding | None:
        attribute = item.get(name)
        if attribute is not None and value is not None and attribute.get("S") == value:
            return None
        return check_exactly(value, item)

    return check


def _tolerant_check(field: Field) -> _Check:
    name, of_item = field.attribute, meaning(field).of_item

    def check(value: Any, item: Item) -> _Finding | None:
        attribute = item.get(name)
        if attribute is None:
            return None if value is None else _ABSENT
        try:
            found = of_item(attribute)
        except Undecodable:
            return _DIFFERENT
        if not isinstance(found, int) or not isinstance(value, int):
            return None if found == value else _DIFFERENT
        if abs(found - value) >= _SECOND_US:
            return _DIFFERENT
        return None if found == value - value % _MILLISECOND_US else _INEXACT

    return check


def _member_check(field: Field, member: str) -> _Check:
    """A member is compared like an attribute of an item, which is the map."""
    check_member = _check(replace(field, attribute=member, member=None))

    def check(value: Any, item: Item) -> _Finding | None:
        found = item.get(field.attribute, {"M": {}})
        if "M" in found:
            return check_member(value, found["M"])
        # If the whole map is NULL, no member is missing.
        finding = check_member(value, {}) if found.get("NULL") is True else _DIFFERENT
        return _DIFFERENT if finding is _ABSENT else finding

    return check


def _constant_check(constant: Constant) -> _Check:
    known = constant_meaning(constant.value)

    def check(_value: Any, item: Item) -> _Finding | None:
        attribute = item.get(constant.attribute)
        if attribute is None:
            return _ABSENT
        return None if constant_meaning(attribute) == known else _DIFFERENT

    return check


def modified_reader(mapping: TableMapping) -> Callable[[Item], int | None]:
    """Compile a function that reads when an item was modified, in microseconds since 1970; None if it does not say."""
    field = mapping.modified_field
    if field is None:
        return lambda _item: None
    of_item = meaning(field).of_item
    unit_us = field.unit.microseconds if field.type is FieldType.EPOCH else 1

    def modified(item: Item) -> int | None:
        attribute = field.of(item)
        try:
            found = None if attribute is None else of_item(attribute)
        except Undecodable:
            return None
        return found * unit_us if isinstance(found, int) else None

    return modified


def undeclared_attributes(mapping: TableMapping, item: Item) -> frozenset[str]:
    """The names of an item's attributes that the mapping says nothing about."""
    declared = mapping.declared_attributes
    return frozenset() if declared.issuperset(item) else frozenset(item) - declared


def describe_fields(mapping: TableMapping, row: Row, item: Item) -> list[tuple[str, str, str]]:
    """Every declared attribute with the row's value and the item's, as text that shows the type."""
    if len(row) != 1 + len(mapping.readings):
        raise ValueError(f"a row has {len(row)} values, and the mapping reads {1 + len(mapping.readings)}")
    differences = [_difference(field, value, item) for field, value in zip(mapping.fields, row[1:], strict=False)]
    differences += [_constant_difference(constant, item) for constant in mapping.constants]
    return [(each.attribute, each.expected, each.found) for each in differences]


def _difference(field: Field, value: Value, item: Item) -> FieldDifference:
    return FieldDifference(field.column, field.name, show_value(field, value), show_attribute(field, field.of(item)))


def _constant_difference(constant: Constant, item: Item) -> FieldDifference:
    found = item.get(constant.attribute)
    return FieldDifference("", constant.attribute, show_any(constant.value), show_any(found))
