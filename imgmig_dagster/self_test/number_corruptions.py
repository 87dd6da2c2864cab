"""Changes of numbers: wrong, rounded, or spelled otherwise. `corruptions` lists all changes."""

import re
from decimal import Context, Decimal
from random import Random
from typing import Any, Final

MAX_DIGITS: Final = 38
_EXACT: Final = Context(prec=3 * MAX_DIGITS)


def another_number(text: str, chance: Random) -> str:
    """A number that is off in its last digit, by a factor, a sign or a fraction."""
    number = Decimal(text)
    unit = _unit(number)
    found = [_EXACT.add(number, unit), _EXACT.subtract(number, unit), _EXACT.subtract(_EXACT.minus(number), unit)]
    if len(number.as_tuple().digits) < MAX_DIGITS:
        found += [_EXACT.add(number, _EXACT.divide(unit, Decimal(2))), _EXACT.add(_EXACT.multiply(number, 10), unit)]
    return str(chance.choice(found))


def below_double(text: str) -> str | None:
    """The number with another last digit, if JavaScript cannot tell them apart; else None."""
    number = Decimal(text)
    for changed in (_EXACT.add(number, _unit(number)), _EXACT.subtract(number, _unit(number))):
        if number and float(changed) == float(number):
            return str(changed)
    return None


def rounded(text: str) -> str | None:
    """The number as a spreadsheet, a ``%g`` or a label such as 4.1k keeps it; None if it is short."""
    number = Decimal(text)
    for digits in (15, 6, 2):
        found = Context(prec=digits).create_decimal(number)
        if found != number:
            return str(found)
    return None


def spelled_otherwise(text: str, chance: Random) -> str:
    """The same number in other characters."""
    if "E" in text.upper():
        return text.swapcase()
    longer = [f"{text}0", f"{text}00E0"] if "." in text else [f"{text}.0", f"{text}0e-1"]
    return chance.choice([*longer, f"{text}E0", re.sub("^-?", r"\g<0>0", text, count=1)])


def meaning(attribute: dict[str, Any]) -> object:
    """The meaning: the same for two spellings of a number, for NULL and absent, for sets in another order."""
    if attribute in ({}, {"NULL": True}):
        return None
    kind, content = next(iter(attribute.items()))
    if kind == "N":
        return kind, Decimal(content)
    if kind in ("SS", "BS"):
        return kind, frozenset(content)
    if kind == "NS":
        return kind, frozenset(map(Decimal, content))
    if kind == "L":
        return kind, [meaning(each) for each in content]
    if kind == "M":
        return kind, {name: meaning(each) for name, each in content.items()}
    return kind, content


def _unit(number: Decimal) -> Decimal:
    """One in the last place that is written."""
    return Decimal((0, (1,), int(number.as_tuple().exponent)))
