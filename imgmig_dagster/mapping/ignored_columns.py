"""The setting that names columns of the source which are not migrated on purpose, each with its reason."""

import json
import re
from collections.abc import Iterable, Mapping
from typing import Final

SETTING: Final = "`ignored` in the declaration"
NO_REASON: Final = "<why>"
"""The placeholder for the reason, in a message's text to paste."""
_FORM: Final = """must be a JSON object of columns and reasons, such as {"caption": "never shown"}"""
_PLAIN: Final = re.compile(r"[a-z_][a-z0-9_]*")


def parse_ignored(value: object) -> Mapping[str, str]:
    """The setting's columns and reasons.

    Raises:
        ValueError: it is no JSON object of texts, or names a column twice, or gives no reason.
    """
    if not isinstance(value, str):
        raise ValueError(_FORM)
    try:
        found = json.loads(value, object_pairs_hook=_Pairs)
    except json.JSONDecodeError as error:
        raise ValueError(f"{_FORM}; it is no JSON from character {error.pos + 1} on") from None
    if not isinstance(found, _Pairs) or not all(isinstance(reason, str) for _name, reason in found):
        raise ValueError(_FORM)
    reasons = {name: " ".join(reason.split()) for name, reason in found}
    if twice := sorted({name for name in reasons if sum(name == other for other, _reason in found) > 1}):
        raise ValueError(f"it names {listed(twice)} twice")
    if without := [name for name, reason in reasons.items() if reason in ("", NO_REASON) or not name]:
        raise ValueError(f"it gives no reason for {listed(without)}")
    return reasons


def shown(name: str) -> str:
    """A column's name on one line; in quotes where it is not plain, so that `Width` is not taken for `width`."""
    return name if _PLAIN.fullmatch(name) else json.dumps(name, ensure_ascii=False)


def listed(names: Iterable[str]) -> str:
    """Columns' names, on one line."""
    return ", ".join(map(shown, names))


class _Pairs(list[tuple[str, str]]):
    """An object of JSON as its pairs: a dict would keep one of two equal names."""
