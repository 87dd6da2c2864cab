"""Changes of texts, numbers, booleans, bytes and labels, and of NULL: each an `Apply`.

Changes of times are in `times`, of documents, lists and sets in `nested`; `corruptions` assigns them to types.
"""

import base64
import unicodedata
from collections.abc import Callable
from random import Random
from typing import Any, Final, TypeAlias

from imgmig_dagster.mapping.fields import Field, Null
from imgmig_dagster.self_test import number_corruptions

Attribute: TypeAlias = dict[str, Any]

ABSENT: Final[Attribute] = {}
"""An absent attribute; a change returns it to leave the attribute out."""
NULL: Final[Attribute] = {"NULL": True}
_EMPTY: Final[Attribute] = {"S": ""}

Apply: TypeAlias = Callable[[Attribute, Field, Random], Attribute | None]
"""Returns the changed attribute, or None if the change does not fit the value."""


def is_null(attribute: Attribute) -> bool:
    """Whether it is NULL or absent, which is the same."""
    return attribute in (ABSENT, NULL)


def another_text(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """The text with another space, in another case, another encoding and the like."""
    if "S" not in attribute:
        return None
    text = attribute["S"]
    variants = {
        text + " ",
        text[:-1],
        text.strip(),
        text.swapcase(),
        unicodedata.normalize("NFC", text),
        unicodedata.normalize("NFD", text),
        text.encode("ascii", "replace").decode(),
        text.encode().decode("latin-1"),
    } - {text, ""}
    return {"S": chance.choice(sorted(variants))}


def another_number(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """A number that is off in its last digit, by a factor, a sign or a fraction."""
    return {"N": number_corruptions.another_number(attribute["N"], chance)} if "N" in attribute else None


def below_double(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """A number that JavaScript cannot tell from it."""
    changed = number_corruptions.below_double(attribute["N"]) if "N" in attribute else None
    return None if changed is None else {"N": changed}


def rounded(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The number with fewer digits."""
    changed = number_corruptions.rounded(attribute["N"]) if "N" in attribute else None
    return None if changed is None else {"N": changed}


def same_number(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """The same number, spelled otherwise."""
    return {"N": number_corruptions.spelled_otherwise(attribute["N"], chance)} if "N" in attribute else None


def flipped(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """True for false, or false for true."""
    return {"BOOL": not attribute["BOOL"]} if "BOOL" in attribute else None


def another_byte(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """The bytes with one bit of one of them flipped."""
    content = bytearray(attribute.get("B", b""))
    if not content:
        return None
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    return {"B": bytes(content)}


def another_length(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The bytes without the last one, or with one more."""
    content = attribute.get("B")
    if content is None:
        return None
    return {"B": content[:-1] if len(content) > 1 else content + b"\0"}


def base64_text(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The bytes as the text that DynamoDB sends them in."""
    return {"S": base64.b64encode(attribute["B"]).decode()} if "B" in attribute else None


def another_label(attribute: Attribute, field: Field, chance: Random) -> Attribute | None:
    """Another of the labels."""
    others = sorted(label for _text, label in field.labels if label != attribute.get("S", label))
    return {"S": chance.choice(others)} if others else None


def without_label(attribute: Attribute, field: Field, _chance: Random) -> Attribute | None:
    """The column's own text, as a writer without labels would write it."""
    texts = {label: text for text, label in field.labels}
    text = texts.get(attribute.get("S", ""))
    return None if text is None or text in texts else {"S": text}


def text_of_another_type(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """A value that is no text."""
    others: list[Attribute] = [{"L": [attribute or NULL]}, {"M": {"S": attribute or NULL}}, {"N": "0"}]
    return chance.choice([*others, {"BOOL": False}])


def number_as_text(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The number as a text."""
    return {"S": attribute["N"]} if "N" in attribute else None


def boolean_of_another_type(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """The boolean as a number or a text."""
    if "BOOL" not in attribute:
        return None
    is_true = attribute["BOOL"]
    return chance.choice([{"N": str(int(is_true))}, {"S": str(is_true).lower()}])


def left_out(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The attribute left out."""
    return None if is_null(attribute) else ABSENT


def null(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """NULL for a value."""
    return None if is_null(attribute) or attribute == _EMPTY else NULL


def empty_as_null(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """NULL for a text that is empty."""
    return NULL if attribute == _EMPTY else None


def null_as(value: Attribute) -> Apply:
    """A change of NULL into that value."""

    def apply(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
        return value if is_null(attribute) else None

    return apply


def null_left_out(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """NULL left out."""
    return ABSENT if attribute == NULL else None


def null_written(attribute: Attribute, field: Field, _chance: Random) -> Attribute | None:
    """NULL written where the declaration leaves it out."""
    return NULL if attribute == ABSENT and field.null is Null.LEFT_OUT else None
