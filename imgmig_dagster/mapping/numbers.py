"""A number of PostgreSQL as DynamoDB accepts it: 38 significant digits, from 1E-130 to 9.99E+125, and negatives.

To compare numbers, `canonical.plain` has another spelling.
"""

import re
from typing import Final

from imgmig_dagster.mapping.unfit import NO_NUMBER, NUMBER_OUT_OF_RANGE, TOO_MANY_DIGITS, Unfit

_NUMBER: Final = re.compile(r"(-?)([0-9]+)(?:\.([0-9]+))?(?:[eE]([+-]?[0-9]+))?")
MAX_DIGITS: Final = 38
_MIN_EXPONENT: Final = -130
_MAX_EXPONENT: Final = 125
# JSON has longer ones. PostgreSQL digests no such number by its value (docs/recheck.md), not even zero.
_MAX_EXPONENT_DIGITS: Final = 3


def dynamodb_number(text: str) -> str:
    """The number without needless zeros; one of many places with an exponent. -0 is 0.

    Raises:
        Unfit: DynamoDB holds no such number. Nothing is rounded.
    """
    match = _NUMBER.fullmatch(text)
    if match is None:
        raise Unfit(*NO_NUMBER)
    sign, whole, fraction, power = match.groups(default="")
    if len(power.lstrip("+-0")) > _MAX_EXPONENT_DIGITS:
        raise Unfit(*NUMBER_OUT_OF_RANGE)
    digits = (whole + fraction).lstrip("0")
    if not digits:
        return "0"
    exponent = len(digits) - len(fraction) - 1 + int(power or 0)  # of the first digit
    digits = digits.rstrip("0")
    if not _MIN_EXPONENT <= exponent <= _MAX_EXPONENT:
        raise Unfit(*NUMBER_OUT_OF_RANGE)
    if len(digits) > MAX_DIGITS:
        raise Unfit(*TOO_MANY_DIGITS)
    if not -MAX_DIGITS < exponent < MAX_DIGITS:
        return f"{sign}{digits[0]}{'.' if digits[1:] else ''}{digits[1:]}E{exponent}"
    if exponent < 0:
        return f"{sign}0.{'0' * (-exponent - 1)}{digits}"
    whole, fraction = digits[: exponent + 1].ljust(exponent + 1, "0"), digits[exponent + 1 :]
    return f"{sign}{whole}.{fraction}" if fraction else sign + whole
