"""Ways in which an attribute can come to say something else than its row, and ways in which it only looks so.

They work on the items as they stand in the target, as boto3 hands them out, and share no code with the comparison that
is to find them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.self_test import nested, times, value_corruptions
from imgmig_dagster.self_test.value_corruptions import Apply


@dataclass(frozen=True)
class Change:
    """One way to change an attribute. A `harmful` one must be named by verification; any other must not."""

    kind: str
    apply: Apply
    harmful: bool = True


def changes_of(field: Field) -> tuple[Change, ...]:
    """Every way to change an attribute of that field."""
    return (*CHANGES[field.type], *_OF_ANY_TYPE)


_OF_ANY_TYPE: Final = (
    Change("attribute missing", value_corruptions.left_out),
    Change("value became NULL", value_corruptions.null),
    Change("NULL left out", value_corruptions.null_left_out, harmful=False),
    Change("left out became NULL", value_corruptions.null_written, harmful=False),
)

_NUMBER: Final = (
    Change("wrong value", value_corruptions.another_number),
    Change("wrong below a double's precision", value_corruptions.below_double),
    Change("precision lost", value_corruptions.rounded),
    Change("type changed", value_corruptions.number_as_text),
    Change("NULL became '' or 0", value_corruptions.null_as({"N": "0"})),
    Change("same number spelled otherwise", value_corruptions.same_number, harmful=False),
)
_DOCUMENT: Final = (
    Change("wrong value inside", nested.value_inside),
    Change("member missing", nested.member_missing),
    Change("list reordered", nested.list_reordered),
    Change("type changed", nested.json_text),
    Change("map reordered", nested.map_reordered, harmful=False),
    Change("same number spelled otherwise", nested.number_inside_same, harmful=False),
)
_SET: Final = (
    Change("element added", nested.element_added),
    Change("element missing", nested.element_missing),
    Change("type changed", nested.set_as_list),
    Change("set reordered", nested.set_reordered, harmful=False),
)

CHANGES: Final[Mapping[FieldType, tuple[Change, ...]]] = {
    FieldType.TEXT: (
        Change("wrong value", value_corruptions.another_text),
        Change("'' became NULL", value_corruptions.empty_as_null),
        Change("NULL became '' or 0", value_corruptions.null_as({"S": ""})),
        Change("type changed", value_corruptions.text_of_another_type),
    ),
    FieldType.INTEGER: _NUMBER,
    FieldType.NUMBER: _NUMBER,
    FieldType.BOOLEAN: (
        Change("wrong value", value_corruptions.flipped),
        Change("type changed", value_corruptions.boolean_of_another_type),
        Change("NULL became '' or 0", value_corruptions.null_as({"BOOL": False})),
    ),
    FieldType.TIMESTAMP: (
        Change("wrong value", times.another_day),
        Change("off by 1 second", times.off_by_a_second),
        Change("off by 1 ms", times.off_by_a_millisecond),
        Change("off by a time zone", times.off_by_a_zone),
        Change("type changed", times.time_as_number),
        Change("NULL became '' or 0", value_corruptions.null_as({"S": "1970-01-01T00:00:00.000Z"})),
        Change("off by 999 ms or less", times.within_tolerance, harmful=False),
        Change("same instant spelled otherwise", times.same_instant, harmful=False),
    ),
    FieldType.EPOCH: (
        Change("off by one", times.off_by_one),
        Change("another unit", times.other_unit),
        Change("type changed", value_corruptions.number_as_text),
        Change("NULL became '' or 0", value_corruptions.null_as({"N": "0"})),
        Change("same number spelled otherwise", value_corruptions.same_number, harmful=False),
    ),
    FieldType.DATE: (
        Change("off by 1 day", times.off_by_a_day),
        Change("type changed", times.date_as_number),
        Change("NULL became '' or 0", value_corruptions.null_as({"S": "1970-01-01"})),
    ),
    FieldType.DOCUMENT: (*_DOCUMENT, Change("NULL became '' or 0", value_corruptions.null_as({"M": {}}))),
    FieldType.LIST: (*_DOCUMENT, Change("NULL became '' or 0", value_corruptions.null_as({"L": []}))),
    FieldType.TEXT_SET: (*_SET, Change("NULL became '' or 0", value_corruptions.null_as({"SS": [""]}))),
    FieldType.NUMBER_SET: (
        *_SET,
        Change("NULL became '' or 0", value_corruptions.null_as({"NS": ["0"]})),
        Change("same number spelled otherwise", nested.same_numbers, harmful=False),
    ),
    FieldType.BINARY: (
        Change("wrong value", value_corruptions.another_byte),
        Change("another length", value_corruptions.another_length),
        Change("type changed", value_corruptions.base64_text),
        Change("NULL became '' or 0", value_corruptions.null_as({"B": b""})),
    ),
    FieldType.LABEL: (
        Change("wrong value", value_corruptions.another_label),
        Change("not translated", value_corruptions.without_label),
        Change("type changed", value_corruptions.text_of_another_type),
    ),
}
"""What each type has of them, beside those of every type."""
