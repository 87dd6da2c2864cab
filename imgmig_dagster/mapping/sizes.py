"""DynamoDB's limits, and the size of an item as it counts it, in bytes of UTF-8.

https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/Constraints.html has the limits. `transform` holds
items to them, `keys` keys.
"""

from collections.abc import Callable
from typing import Any, Final

from imgmig_dagster.mapping.rows import Item

MAX_ITEM_BYTES: Final = 409_600
MAX_PARTITION_KEY_BYTES: Final = 2_048
MAX_SORT_KEY_BYTES: Final = 1_024
MAX_NAME_BYTES: Final = 65_535
# The level of the deepest value; the attribute itself is level 1.
MAX_LEVELS: Final = 32
WRITE_UNIT_BYTES: Final = 1_024


def item_bytes(item: Item) -> int:
    """The size of an item as DynamoDB counts it: names and values.

    Source: https://docs.aws.amazon.com/amazondynamodb/latest/developerguide/CapacityUnitCalculations.html;
    the service calls its sizes of numbers approximate, and those of integers here are what ministack and dynalite
    count.
    """
    return sum(len(name.encode()) + _value_bytes(value) for name, value in item.items())


def write_units(item: Item) -> int:
    """The write capacity units that one PutItem of this item costs: one per started KB."""
    return -(-item_bytes(item) // WRITE_UNIT_BYTES)


def _value_bytes(value: dict[str, Any]) -> int:
    kind, content = next(iter(value.items()))
    size = _SIZES.get(kind)
    return 1 if size is None else size(content)


def _number_bytes(number: str) -> int:
    # Pairs of digits, counted from the decimal point. Pairs of zeros at either end need no space.
    digits = number.lstrip("-0")
    zeros = len(digits) - len(digits.rstrip("0"))
    return 1 + (len(digits) + 1) // 2 - zeros // 2 + (1 if number.startswith("-") else 0)


def _binary_bytes(base64: str) -> int:
    return len(base64) * 3 // 4 - base64.count("=")


def _text_bytes(text: str) -> int:
    return len(text.encode())


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
