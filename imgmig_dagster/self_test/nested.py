"""Changes of documents, lists and sets, and inside of them: each an `attributes.Apply`."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal
from random import Random
from typing import TypeAlias

from imgmig_dagster.mapping.fields import Field
from imgmig_dagster.self_test import number_corruptions
from imgmig_dagster.self_test.value_corruptions import (
    Attribute,
    another_number,
    another_text,
    flipped,
    is_null,
    same_number,
)

Path: TypeAlias = tuple[str | int, ...]


def value_inside(attribute: Attribute, field: Field, chance: Random) -> Attribute | None:
    """Another text, number or boolean somewhere in the document."""

    def change(each: Attribute) -> Attribute | None:
        ways = (another_text, another_number, flipped)
        return next((found for way in ways if (found := way(each, field, chance)) is not None), None)

    return _changed_inside(attribute, change, chance)


def member_missing(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """A map or a list in the document without its last member."""
    return _changed_inside(attribute, _without_member, chance)


def list_reordered(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """A list in the document in another order."""
    return _changed_inside(attribute, _rotated, chance)


def map_reordered(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """A map in the document in another order, which says the same."""
    return _changed_inside(attribute, _reversed, chance)


def number_inside_same(attribute: Attribute, field: Field, chance: Random) -> Attribute | None:
    """A number in the document, spelled otherwise."""
    return _changed_inside(attribute, lambda each: same_number(each, field, chance), chance)


def json_text(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The document as its JSON."""
    return None if is_null(attribute) else {"S": _as_json(attribute)}


def element_added(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The set with an element that it does not have."""
    if "SS" in attribute:
        return {"SS": [*attribute["SS"], max(attribute["SS"]) + "x"]}
    if "NS" in attribute:
        # Beyond all of them, so that it is none of them.
        return {"NS": [*attribute["NS"], str(1 + max(abs(int(float(each))) for each in attribute["NS"]) * 2)]}
    return None


def element_missing(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The set without one of its elements."""
    kind, elements = _set(attribute)
    return {kind: elements[1:]} if len(elements) > 1 else None


def set_reordered(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The set in another order, which says the same."""
    kind, elements = _set(attribute)
    return {kind: elements[::-1]} if len(elements) > 1 else None


def same_numbers(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """The set with a number spelled otherwise."""
    if "NS" not in attribute:
        return None
    first, *others = attribute["NS"]
    return {"NS": [number_corruptions.spelled_otherwise(first, chance), *others]}


def set_as_list(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The elements as a list."""
    kind, elements = _set(attribute)
    return {"L": [{kind[0]: each} for each in elements]} if elements else None


def _set(attribute: Attribute) -> tuple[str, list[str]]:
    """Type and elements of a set; of anything else there are none."""
    return next(((kind, attribute[kind]) for kind in ("SS", "NS") if kind in attribute), ("", []))


def _changed_inside(
    attribute: Attribute, change: Callable[[Attribute], Attribute | None], chance: Random
) -> Attribute | None:
    """The attribute with one place in it changed, drawn from those that the change goes with."""
    found = [(path, changed) for path, each in _places(attribute) if (changed := change(each)) is not None]
    if not found:
        return None
    path, changed = chance.choice(found)
    return _with(attribute, path, changed)


def _without_member(attribute: Attribute) -> Attribute | None:
    """Without the last member of a map or a list."""
    if members := attribute.get("M"):
        return {"M": dict(list(members.items())[:-1])}
    if elements := attribute.get("L"):
        return {"L": elements[:-1]}
    return None


def _rotated(attribute: Attribute) -> Attribute | None:
    """The list's elements each a place further, where that is another list."""
    elements = attribute.get("L", [])
    changed = {"L": [*elements[1:], *elements[:1]]}
    return None if number_corruptions.meaning(changed) == number_corruptions.meaning({"L": elements}) else changed


def _reversed(attribute: Attribute) -> Attribute | None:
    """The map with its names in another order, which says the same."""
    members = attribute.get("M", {})
    return {"M": dict(reversed(members.items()))} if len(members) > 1 else None


def _as_json(attribute: Attribute) -> str:
    """The attribute as the text of a JSON document."""
    return json.dumps(_plain(attribute))


def _plain(attribute: Attribute) -> object:
    kind, content = next(iter(attribute.items()))
    if kind == "M":
        return {name: _plain(each) for name, each in content.items()}
    if kind == "L":
        return [_plain(each) for each in content]
    if kind == "N":
        return float(Decimal(content))
    return None if kind == "NULL" else content


def _places(attribute: Attribute, path: Path = ()) -> Iterator[tuple[Path, Attribute]]:
    yield path, attribute
    for name, each in attribute.get("M", {}).items():
        yield from _places(each, (*path, name))
    for index, each in enumerate(attribute.get("L", [])):
        yield from _places(each, (*path, index))


def _with(attribute: Attribute, path: Path, changed: Attribute) -> Attribute:
    if not path:
        return changed
    step, *rest = path
    if isinstance(step, int):
        elements = attribute["L"]
        return {"L": [*elements[:step], _with(elements[step], tuple(rest), changed), *elements[step + 1 :]]}
    return {"M": {**attribute["M"], step: _with(attribute["M"][step], tuple(rest), changed)}}
