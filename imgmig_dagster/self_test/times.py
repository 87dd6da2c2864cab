"""Changes of timestamps, dates and times as numbers: each an `attributes.Apply`."""

from datetime import date, datetime, timedelta
from random import Random

from imgmig_dagster.mapping.fields import Field, Rule
from imgmig_dagster.self_test.value_corruptions import Attribute


def instant(attribute: Attribute) -> datetime:
    """The moment of a timestamp as the application writes it, in UTC and without a zone."""
    return datetime.fromisoformat(attribute["S"].removesuffix("Z"))


def _moved(attribute: Attribute, by: timedelta) -> Attribute | None:
    try:
        moved = instant(attribute) + by
    except (KeyError, OverflowError):
        return None
    return {"S": moved.isoformat(timespec="milliseconds") + "Z"}


def another_day(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """Another day, or another year."""
    return _moved(attribute, timedelta(days=chance.choice([-365, -1, 1, 365])))


def off_by_a_second(attribute: Attribute, field: Field, chance: Random) -> Attribute | None:
    """A second earlier or later."""
    # The row has up to 999 µs more than the item: one second after the item is less than one second after the row.
    later = 1_001 if field.rule is Rule.WITHIN_ONE_SECOND else 1_000
    return _moved(attribute, timedelta(milliseconds=chance.choice([-1_000, later])))


def off_by_a_millisecond(attribute: Attribute, field: Field, chance: Random) -> Attribute | None:
    """A millisecond earlier or later, where that is a difference."""
    return _moved(attribute, timedelta(milliseconds=chance.choice([-1, 1]))) if field.rule is Rule.EXACT else None


def within_tolerance(attribute: Attribute, field: Field, chance: Random) -> Attribute | None:
    """Less than a second earlier or later, where that is no difference."""
    if field.rule is not Rule.WITHIN_ONE_SECOND:
        return None
    return _moved(attribute, timedelta(milliseconds=chance.choice([-999, -1, 1, 999])))


def off_by_a_zone(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """Earlier or later by the offset of a time zone."""
    return _moved(attribute, timedelta(minutes=chance.choice([-480, -60, 60, 330])))


def same_instant(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """The same instant, spelled otherwise."""
    east, west = _moved(attribute, timedelta(minutes=330)), _moved(attribute, timedelta(hours=-8))
    if east is None or west is None:
        return None
    plain = instant(attribute).isoformat(timespec="milliseconds")
    further = instant(west).isoformat(" ", "microseconds")
    return {"S": chance.choice([f"{plain}+00:00", f"{east['S'][:-1]}+05:30", f"{further}-0800"])}


def other_unit(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """Milliseconds for seconds, as JavaScript's ``Date.now()`` has them."""
    return {"N": f"{attribute['N']}000"} if attribute.get("N", "0") != "0" else None


def off_by_one(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """One unit earlier or later."""
    return {"N": str(int(attribute["N"]) + chance.choice([-1, 1]))} if "N" in attribute else None


def off_by_a_day(attribute: Attribute, _field: Field, chance: Random) -> Attribute | None:
    """The day before or after."""
    try:
        return {"S": (date.fromisoformat(attribute["S"]) + timedelta(days=chance.choice([-1, 1]))).isoformat()}
    except (KeyError, ValueError, OverflowError):  # NULL; infinity or a year of more than four digits; the last day
        return None


def time_as_number(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The milliseconds since 1970."""
    if "S" not in attribute:
        return None
    return {"N": str((instant(attribute) - datetime(1970, 1, 1)) // timedelta(milliseconds=1))}


def date_as_number(attribute: Attribute, _field: Field, _chance: Random) -> Attribute | None:
    """The days since 1970."""
    try:
        return {"N": str((date.fromisoformat(attribute["S"]) - date(1970, 1, 1)).days)}
    except (KeyError, ValueError):
        return None
