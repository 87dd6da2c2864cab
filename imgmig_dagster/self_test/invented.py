"""Ids that no row has, made of one that a row has."""

import re
import uuid
from random import Random
from typing import Final

from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.template import joined, taken_apart

_UUID: Final = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_WHOLE: Final = re.compile(r"[0-9]+")


def invented(mapping: TableMapping, row_id: str, chance: Random) -> str:
    """An id of the same form, of which one part is another: the one that is the easiest to make."""
    parts = taken_apart(row_id, len(mapping.key_columns)) or [row_id]
    place = min(range(len(parts)), key=lambda index: (_UUID.fullmatch(parts[index]) is None, _is_text(parts[index])))
    parts[place] = _another(parts[place], chance)
    return joined(parts)


def _is_text(part: str) -> bool:
    return _WHOLE.fullmatch(part) is None


def _another(part: str, chance: Random) -> str:
    if _UUID.fullmatch(part):
        return str(uuid.UUID(int=chance.getrandbits(128), version=4))
    if _WHOLE.fullmatch(part):
        return str(chance.randrange(2**30, 2**31))
    return f"{part}-{chance.getrandbits(32):08x}"
