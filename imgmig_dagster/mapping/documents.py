"""Makes an attribute of JSON, in which PostgreSQL gives documents and arrays: `M`, `L`, a set, or a scalar.

`encoders` calls it. `decoders` reads items back, and shares nothing with it.
"""

import json
from collections.abc import Iterator, Sequence
from typing import Any, Final

from imgmig_dagster.mapping.numbers import dynamodb_number
from imgmig_dagster.mapping.sizes import MAX_LEVELS, MAX_NAME_BYTES
from imgmig_dagster.mapping.unfit import (
    EMPTY_NAME,
    NAME_TOO_LONG,
    NESTED_IN_SET,
    NO_NUMBER,
    NOT_AN_ARRAY,
    NOT_IN_TEXT,
    NOT_JSON,
    NULL_IN_SET,
    REPEATED_IN_SET,
    REPEATED_NAME,
    TOO_DEEP,
    Unfit,
)

Attribute = dict[str, Any]

# How array_to_json() writes the numbers that JSON does not have.
_NO_NUMBERS: Final = frozenset({"NaN", "Infinity", "-Infinity"})


def document(text: str, level: int) -> Attribute | None:
    """The attribute of a JSON document at a level of the item; None for JSON's null.

    Raises:
        Unfit: no item can hold it.
    """
    try:
        found = _attribute(_parsed(_DOCUMENTS, text))
        # Both are searched only if the text may contain them.
        if text.count("{") + text.count("[") + level > MAX_LEVELS and _depth(found) + level - 1 > MAX_LEVELS:
            raise Unfit(*TOO_DEEP)
        if "\\u" in text and not all(map(_is_text, _texts(found))):
            raise Unfit(*NOT_IN_TEXT)
    except RecursionError:
        raise Unfit(*TOO_DEEP) from None
    return None if "NULL" in found else found


def array(text: str, level: int) -> Attribute | None:
    """The list of an array, by its JSON.

    Raises:
        Unfit: no item holds it.
    """
    found = document(text, level)
    if found is not None and "L" not in found:
        raise Unfit(*NOT_AN_ARRAY)
    leaves = list(_leaves(found)) if _NO_NUMBERS.intersection(text.split('"')) else []
    # Only these are numbers: it is an array of numbers. Text has other words too.
    if leaves and all("N" in leaf or leaf.get("S") in _NO_NUMBERS for leaf in leaves):
        raise Unfit(*NO_NUMBER)
    return found


def text_set(text: str) -> Attribute | None:
    """The set of an array's texts, from its JSON; None for an empty array: DynamoDB has no empty set.

    Raises:
        Unfit: no item can hold it.
    """
    texts = _elements(text)
    if not all(map(_is_text, texts)):
        raise Unfit(*NOT_IN_TEXT)
    return _set("SS", texts)


def number_set(text: str) -> Attribute | None:
    """The same of an array of numbers.

    Raises:
        Unfit: no item holds it.
    """
    return _set("NS", [dynamodb_number(each) for each in _elements(text)])


def _set(kind: str, elements: Sequence[str]) -> Attribute | None:
    if len(set(elements)) < len(elements):
        raise Unfit(*REPEATED_IN_SET)
    return {kind: list(elements)} if elements else None


def _elements(text: str) -> list[str]:
    try:
        found = _parsed(_ELEMENTS, text)
    except RecursionError:
        raise Unfit(*NESTED_IN_SET) from None
    if not isinstance(found, list):
        raise Unfit(*NOT_AN_ARRAY)
    elements = []
    for each in found:
        if each is None:
            raise Unfit(*NULL_IN_SET)
        if isinstance(each, (list, dict)):
            raise Unfit(*NESTED_IN_SET)
        elements.append(str(each).lower() if isinstance(each, bool) else each)
    return elements


def _parsed(decoder: json.JSONDecoder, text: str) -> Any:
    try:
        return decoder.decode(text)
    except ValueError:
        raise Unfit(*NOT_JSON) from None


def _attribute(value: Any) -> Attribute:
    # Objects and numbers are attributes already, by the decoder's hooks.
    if isinstance(value, dict):
        return value
    if isinstance(value, str):
        return {"S": value}
    if isinstance(value, list):
        return {"L": [_attribute(element) for element in value]}
    return {"NULL": True} if value is None else {"BOOL": value}


def _map(members: Sequence[tuple[str, Any]]) -> Attribute:
    found = {name: _attribute(value) for name, value in members}
    if len(found) < len(members):
        raise Unfit(*REPEATED_NAME)
    if "" in found:
        raise Unfit(*EMPTY_NAME)
    if any(len(name) > MAX_NAME_BYTES // 4 and len(name.encode("utf-8", "replace")) > MAX_NAME_BYTES for name in found):
        raise Unfit(*NAME_TOO_LONG)
    return {"M": found}


def _number(text: str) -> Attribute:
    return {"N": dynamodb_number(text)}


def _no_constant(name: str) -> Any:
    raise ValueError(name)


_DOCUMENTS: Final = json.JSONDecoder(
    object_pairs_hook=_map, parse_int=_number, parse_float=_number, parse_constant=_no_constant
)
_ELEMENTS: Final = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_constant)


def _children(value: Attribute) -> Sequence[Attribute]:
    if "L" in value:
        return value["L"]  # type: ignore[no-any-return]
    return list(value["M"].values()) if "M" in value else ()


def _depth(value: Attribute) -> int:
    """The level of the deepest value, counted from 1."""
    return 1 + max(map(_depth, _children(value)), default=0)


def _leaves(value: Attribute | None) -> Iterator[Attribute]:
    """The values of an array of any dimensions that are not NULL."""
    if value is None or "NULL" in value:
        return
    if "L" not in value:
        yield value
    for element in value.get("L", ()):
        yield from _leaves(element)


def _texts(value: Attribute) -> Iterator[str]:
    if "S" in value:
        yield value["S"]
    yield from value.get("M", ())
    for child in _children(value):
        yield from _texts(child)


def _is_text(text: str) -> bool:
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)
