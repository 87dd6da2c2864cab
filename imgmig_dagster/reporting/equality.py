"""Why two values that a person sees beside each other are equal although they are not written alike."""

import re
from typing import Final

_FINER_THAN_MS: Final = re.compile(r"(\d\d:\d\d:\d\d\.\d{3})\d+")


def equality(expected: str, found: str) -> str:
    """In what way the item's value, as it is shown, equals the row's."""
    if found == expected:
        return "equal"
    if found == _FINER_THAN_MS.sub(r"\1", expected):
        return "equal: the item has milliseconds, the rest is cut"
    return "equal: the same value, written in another way"
