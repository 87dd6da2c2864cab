"""A row becomes an item, or a rejection that says which field is at fault and why."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import Any, Final

from imgmig_dagster.mapping.fields import FieldType
from imgmig_dagster.mapping.rows import Item, Row, Value
from imgmig_dagster.mapping.spec import TableMapping

# DynamoDB's limits, in bytes of UTF-8: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html
MAX_ITEM_BYTES: Final = 409_600
MAX_PARTITION_KEY_BYTES: Final = 2_048
WRITE_UNIT_BYTES: Final = 1_024

_DAY_US: Final = 86_400_000_000
_ORDINAL_1970: Final = date(1970, 1, 1).toordinal()
# 0001-01-01 and the first instant of year 10000, in microseconds since 1970: the range in which
# JavaScript's toISOString() writes four digits of year.
_MIN_TIMESTAMP: Final = -62_135_596_800_000_000
_END_TIMESTAMP: Final = 253_402_300_800_000_000

# A clock read from tables takes a sixth of the time of one that is formatted.
_MINUTES: Final = [f"{minute // 60:02d}:{minute % 60:02d}" for minute in range(24 * 60)]
_SECONDS: Final = [f"{second:02d}" for second in range(60)]
_MILLISECONDS: Final = [f"{ms:03d}" for ms in range(1000)]

_NULL_IN_REQUIRED_FIELD: Final = (
    "null_in_required_field",
    "the column is NULL, and the mapping declares it NOT NULL",
)
_TIMESTAMP_OUT_OF_RANGE: Final = (
    "timestamp_out_of_range",
    "the timestamp is infinite or outside the years 0001 to 9999",
)
_NOT_TEXT: Final = (
    "not_utf8",
    "the bytes are no text in the database's encoding, or have no form in UTF-8",
)
_NOT_WHOLE: Final = (
    "not_a_whole_number",
    "the number has a fraction or more than 38 digits, is infinite or NaN",
)
# The type of the values that an item can hold, and what is wrong with a value of another one: see `Value`.
_FITS: Final[dict[FieldType, tuple[Any, tuple[str, str]]]] = {
    FieldType.TEXT: (str, _NOT_TEXT),
    FieldType.INTEGER: (int, _NOT_WHOLE),
    FieldType.TIMESTAMP: (int, _TIMESTAMP_OUT_OF_RANGE),
}

NULL: Final[dict[str, Any]] = {"NULL": True}


@dataclass(frozen=True)
class Rejection:
    """A row that can never be written as it is.

    `field` is a source column, or None where the whole item is at fault. `reason` describes the fault without
    the value: it is shown in the ledger and in Dagster.
    """

    row_id: str
    field: str | None
    code: str
    reason: str


def transformer(mapping: TableMapping) -> Callable[[Row], Item | Rejection]:
    """Compile the function that turns one row of `mapping` into its item.

    The declaration is resolved once, not per row: this is the hot path of the migration.
    """
    fields = [
        (field.column, field.attribute, field.type, field.nullable, *_FITS[field.type]) for field in mapping.fields
    ]
    text, integer = FieldType.TEXT, FieldType.INTEGER
    version = {} if mapping.version is None else {mapping.version.attribute: {"N": str(mapping.version.initial)}}
    prefix_bytes = len(mapping.primary_key[0].template.parts[0][0].encode())

    def transform(row: Row) -> Item | Rejection:
        row_id = row.id
        if (key_fault := _key_fault(row[0], prefix_bytes)) is not None:
            return Rejection(row_id, mapping.key_columns[0], *key_fault)
        item = mapping.key(row_id)
        text_length = 0
        values: tuple[Any, ...] = row[1:]
        for (column, attribute, kind, nullable, fitting, fault), value in zip(fields, values, strict=True):
            if value is None:
                if not nullable:
                    return Rejection(row_id, column, *_NULL_IN_REQUIRED_FIELD)
                item[attribute] = NULL
            elif value.__class__ is not fitting:
                return Rejection(row_id, column, *fault)
            elif kind is text:
                item[attribute] = {"S": value}
                text_length += len(value)
            elif kind is integer:
                item[attribute] = {"N": str(value)}
            elif _MIN_TIMESTAMP <= value < _END_TIMESTAMP:
                item[attribute] = {"S": iso_milliseconds(value)}
            else:
                return Rejection(row_id, column, *_TIMESTAMP_OUT_OF_RANGE)
        item |= version
        # A character takes at most four bytes, so that only the giants are measured exactly.
        return item if text_length <= MAX_ITEM_BYTES // 5 else _unless_too_large(row_id, item)

    return transform


def _unless_too_large(row_id: str, item: Item) -> Item | Rejection:
    if (size := item_bytes(item)) <= MAX_ITEM_BYTES:
        return item
    reason = f"the item has {size:,} bytes; DynamoDB takes {MAX_ITEM_BYTES:,}"
    return Rejection(row_id, None, "item_too_large", reason)


def item_bytes(item: Item) -> int:
    """The size of an item as DynamoDB counts it: names and values, in bytes of UTF-8.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html;
    the service calls its sizes of numbers approximate, and those of integers here are what ministack and dynalite
    count.
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def write_units(item: Item) -> int:
    """The write capacity units that one PutItem of this item costs: one per started KB."""
    return -(-item_bytes(item) // WRITE_UNIT_BYTES)


def iso_milliseconds(timestamp_us: int) -> str:
    """What JavaScript's `toISOString()` writes: UTC, three decimals, cut and not rounded.

    The application's dual-write builds its items from a JavaScript `Date`, which drops microseconds.
    """
    day, rest_us = divmod(timestamp_us, _DAY_US)
    minutes, ms = divmod(rest_us // 1000, 60_000)
    return f"{_iso_date(day)}T{_MINUTES[minutes]}:{_SECONDS[ms // 1000]}.{_MILLISECONDS[ms % 1000]}Z"


@lru_cache(maxsize=4096)
def _iso_date(days_since_1970: int) -> str:
    return date.fromordinal(_ORDINAL_1970 + days_since_1970).isoformat()


def _key_fault(row_id: Value, prefix_bytes: int) -> tuple[str, str] | None:
    if row_id is None:
        return _NULL_IN_REQUIRED_FIELD
    if not isinstance(row_id, str):
        return _NOT_TEXT
    if not row_id:
        return "key_empty", "the id is empty"
    size = len(row_id.encode()) + prefix_bytes if len(row_id) > 400 else 0
    if size > MAX_PARTITION_KEY_BYTES:
        return "key_too_long", f"the partition key has {size:,} bytes; DynamoDB takes {MAX_PARTITION_KEY_BYTES:,}"
    return None


def _value_bytes(value: dict[str, Any]) -> int:
    kind, content = next(iter(value.items()))
    size = _SIZES.get(kind)
    return 1 if size is None else size(content)


def _number_bytes(number: str) -> int:
    # Pairs of digits, counted from the decimal point; pairs of zeros at either end take no room.
    digits = number.lstrip("-0")
    zeros = len(digits) - len(digits.rstrip("0"))
    return 1 + (len(digits) + 1) // 2 - zeros // 2 + (1 if number.startswith("-") else 0)


def _binary_bytes(base64: str) -> int:
    return len(base64) * 3 // 4 - base64.count("=")


def _text_bytes(text: str) -> int:
    return len(text.encode())


# The mapping writes texts, numbers and NULL; the application's own attributes are of any type.
_SIZES: Final[dict[str, Callable[[Any], int]]] = {
    "S": _text_bytes,
    "N": _number_bytes,
    "B": _binary_bytes,
    "SS": lambda texts: sum(map(_text_bytes, texts)),
    "NS": lambda numbers: sum(map(_number_bytes, numbers)),
    "BS": lambda binaries: sum(map(_binary_bytes, binaries)),
    "L": lambda values: 3 + sum(1 + _value_bytes(value) for value in values),
    "M": lambda values: 3 + len(values) + item_bytes(values),
}
