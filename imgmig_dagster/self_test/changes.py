"""Ways in which an attribute can come to say something else than its row, and ways in which it only looks so.

They work on the items as they stand in the target, and share no code with the comparison that is to find them.
"""

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Final, TypeAlias

from imgmig_dagster.mapping.fields import FieldType

Attribute: TypeAlias = dict[str, Any]

ABSENT: Final[Attribute] = {}
"""What a change gives for an attribute that is to be left out."""

_NULL: Final[Attribute] = {"NULL": True}


@dataclass(frozen=True)
class Change:
    """One way to change an attribute of some type.

    `apply` gives the changed attribute, or None where the change does not go with the value. A `harmful` one must be
    named by verification; any other must not.
    """

    kind: str
    types: tuple[FieldType, ...]
    apply: Callable[[Attribute, Random], Attribute | None]
    harmful: bool = True


def instant(attribute: Attribute) -> datetime:
    """The moment of a timestamp as the application writes it, in UTC and without a zone."""
    return datetime.fromisoformat(attribute["S"].removesuffix("Z"))


def _moved(attribute: Attribute, by: timedelta) -> Attribute | None:
    try:
        moved = instant(attribute) + by
    except OverflowError:
        return None
    return {"S": moved.isoformat(timespec="milliseconds") + "Z"}


def _another_text(attribute: Attribute, chance: Random) -> Attribute | None:
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


def _another_number(attribute: Attribute, chance: Random) -> Attribute | None:
    if "N" not in attribute:
        return None
    number = int(attribute["N"])
    return {"N": str(chance.choice([number + 1, number - 1, 10 * number + 1, -number - 1]))}


def _another_day(attribute: Attribute, chance: Random) -> Attribute | None:
    return _moved(attribute, timedelta(days=chance.choice([-365, -1, 1, 365])))


def _off_by_a_second(attribute: Attribute, chance: Random) -> Attribute | None:
    # The row has up to 999 µs more than the item: a second later than the item is not yet one later than the row.
    return _moved(attribute, timedelta(milliseconds=chance.choice([-1_000, 1_001])))


def _off_by_a_zone(attribute: Attribute, chance: Random) -> Attribute | None:
    return _moved(attribute, timedelta(minutes=chance.choice([-480, -60, 60, 330])))


def _left_out(attribute: Attribute, _chance: Random) -> Attribute | None:
    return None if attribute == _NULL else ABSENT


def _null(attribute: Attribute, _chance: Random) -> Attribute | None:
    return None if attribute in (_NULL, {"S": ""}) else _NULL


def _empty_as_null(attribute: Attribute, _chance: Random) -> Attribute | None:
    return _NULL if attribute == {"S": ""} else None


def _null_as_empty(attribute: Attribute, _chance: Random) -> Attribute | None:
    return {"S": ""} if attribute == _NULL else None


def _null_as_zero(attribute: Attribute, _chance: Random) -> Attribute | None:
    return {"N": "0"} if attribute == _NULL else None


def _text_of_another_type(attribute: Attribute, chance: Random) -> Attribute | None:
    others: list[Attribute] = [{"L": [attribute]}, {"M": {"S": attribute}}, {"N": "0"}, {"BOOL": False}]
    return chance.choice(others)


def _number_as_text(attribute: Attribute, _chance: Random) -> Attribute | None:
    return {"S": attribute["N"]} if "N" in attribute else None


def _time_as_number(attribute: Attribute, _chance: Random) -> Attribute | None:
    return {"N": str((instant(attribute) - datetime(1970, 1, 1)) // timedelta(milliseconds=1))}


def _rounded(attribute: Attribute, _chance: Random) -> Attribute | None:
    """The number with the significant digits that a spreadsheet keeps, or a ``%g``, or a label such as 4.1k."""
    if "N" in attribute:
        for digits in (15, 6, 2):
            rounded = str(int(float(f"{int(attribute['N']):.{digits}g}")))
            if rounded != attribute["N"]:
                return {"N": rounded}
    return None


def _within_tolerance(attribute: Attribute, chance: Random) -> Attribute | None:
    return _moved(attribute, timedelta(milliseconds=chance.choice([-999, -1, 1, 999])))


def _same_instant(attribute: Attribute, chance: Random) -> Attribute | None:
    moment = instant(attribute)
    east = (moment + timedelta(minutes=330)).isoformat(timespec="milliseconds")
    west = (moment - timedelta(hours=8)).isoformat(" ", "microseconds")
    return {"S": chance.choice([f"{moment.isoformat(timespec='milliseconds')}+00:00", f"{east}+05:30", f"{west}-0800"])}


def _same_number(attribute: Attribute, chance: Random) -> Attribute | None:
    if "N" not in attribute:
        return None
    digits = attribute["N"]
    return {"N": chance.choice([f"{digits}.0", f"{digits}E0", f"{digits}0e-1", f"0{digits}"])}


def _null_left_out(attribute: Attribute, _chance: Random) -> Attribute | None:
    return ABSENT if attribute == _NULL else None


_TEXT, _INTEGER, _TIMESTAMP = ((kind,) for kind in (FieldType.TEXT, FieldType.INTEGER, FieldType.TIMESTAMP))

CHANGES: Final = (
    Change("wrong value", _TEXT, _another_text),
    Change("wrong value", _INTEGER, _another_number),
    Change("wrong value", _TIMESTAMP, _another_day),
    Change("attribute missing", tuple(FieldType), _left_out),
    Change("value became NULL", tuple(FieldType), _null),
    Change("'' became NULL", _TEXT, _empty_as_null),
    Change("NULL became '' or 0", _TEXT, _null_as_empty),
    Change("NULL became '' or 0", _INTEGER, _null_as_zero),
    Change("type changed", _TEXT, _text_of_another_type),
    Change("type changed", _INTEGER, _number_as_text),
    Change("type changed", _TIMESTAMP, _time_as_number),
    Change("precision lost", _INTEGER, _rounded),
    Change("off by 1 second", _TIMESTAMP, _off_by_a_second),
    Change("off by a time zone", _TIMESTAMP, _off_by_a_zone),
    Change("off by 999 ms or less", _TIMESTAMP, _within_tolerance, harmful=False),
    Change("same instant spelled otherwise", _TIMESTAMP, _same_instant, harmful=False),
    Change("same number spelled otherwise", _INTEGER, _same_number, harmful=False),
    Change("NULL left out", (FieldType.TEXT, FieldType.INTEGER), _null_left_out, harmful=False),
)
