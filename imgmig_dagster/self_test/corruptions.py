"""The changes to plant: corruptions, which verification must find, and harmless changes, which only look like faults.

They change items as boto3 returns them, and share no code with the comparison that must find them. `planting` draws
from them; the single changes are in `value_corruptions`, `number_corruptions`, `times` and `nested`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.self_test import nested, times, value_corruptions
from imgmig_dagster.self_test.value_corruptions import Apply


@dataclass(frozen=True)
class Corruption:
    """One way to change an attribute. A `harmful` one must be named by verification; any other must not."""

    kind: str
    apply: Apply
    harmful: bool = True


def changes_of(field: Field) -> tuple[Corruption, ...]:
    """Every way to change an attribute of that field."""
    return (*CHANGES[field.type], *_OF_ANY_TYPE)


_OF_ANY_TYPE: Final = (
    Corruption("attribute missing", value_corruptions.left_out),
    Corruption("value became NULL", value_corruptions.null),
    Corruption("NULL left out", value_corruptions.null_left_out, harmful=False),
    Corruption("left out became NULL", value_corruptions.null_written, harmful=False),
)

_NUMBER: Final = (
    Corruption("wrong value", value_corruptions.another_number),
    Corruption("wrong below a double's precision", value_corruptions.below_double),
    Corruption("precision lost", value_corruptions.rounded),
    Corruption("type changed", value_corruptions.number_as_text),
    Corruption("NULL became '' or 0", value_corruptions.null_as({"N": "0"})),
    Corruption("same number spelled otherwise", value_corruptions.same_number, harmful=False),
)
_DOCUMENT: Final = (
    Corruption("wrong value inside", nested.value_inside),
    Corruption("member missing", nested.member_missing),
    Corruption("list reordered", nested.list_reordered),
    Corruption("type changed", nested.json_text),
    Corruption("map reordered", nested.map_reordered, harmful=False),
    Corruption("same number spelled otherwise", nested.number_inside_same, harmful=False),
)
_SET: Final = (
    Corruption("element added", nested.element_added),
    Corruption("element missing", nested.element_missing),
    Corruption("type changed", nested.set_as_list),
    Corruption("set reordered", nested.set_reordered, harmful=False),
)

CHANGES: Final[Mapping[FieldType, tuple[Corruption, ...]]] = {
    FieldType.TEXT: (
        Corruption("wrong value", value_corruptions.another_text),
        Corruption("'' became NULL", value_corruptions.empty_as_null),
        Corruption("NULL became '' or 0", value_corruptions.null_as({"S": ""})),
        Corruption("type changed", value_corruptions.text_of_another_type),
    ),
    FieldType.INTEGER: _NUMBER,
    FieldType.NUMBER: _NUMBER,
    FieldType.BOOLEAN: (
        Corruption("wrong value", value_corruptions.flipped),
        Corruption("type changed", value_corruptions.boolean_of_another_type),
        Corruption("NULL became '' or 0", value_corruptions.null_as({"BOOL": False})),
    ),
    FieldType.TIMESTAMP: (
        Corruption("wrong value", times.another_day),
        Corruption("off by 1 second", times.off_by_a_second),
        Corruption("off by 1 ms", times.off_by_a_millisecond),
        Corruption("off by a time zone", times.off_by_a_zone),
        Corruption("type changed", times.time_as_number),
        Corruption("NULL became '' or 0", value_corruptions.null_as({"S": "1970-01-01T00:00:00.000Z"})),
        Corruption("off by 999 ms or less", times.within_tolerance, harmful=False),
        Corruption("same instant spelled otherwise", times.same_instant, harmful=False),
    ),
    FieldType.EPOCH: (
        Corruption("off by one", times.off_by_one),
        Corruption("another unit", times.other_unit),
        Corruption("type changed", value_corruptions.number_as_text),
        Corruption("NULL became '' or 0", value_corruptions.null_as({"N": "0"})),
        Corruption("same number spelled otherwise", value_corruptions.same_number, harmful=False),
    ),
    FieldType.DATE: (
        Corruption("off by 1 day", times.off_by_a_day),
        Corruption("type changed", times.date_as_number),
        Corruption("NULL became '' or 0", value_corruptions.null_as({"S": "1970-01-01"})),
    ),
    FieldType.DOCUMENT: (*_DOCUMENT, Corruption("NULL became '' or 0", value_corruptions.null_as({"M": {}}))),
    FieldType.LIST: (*_DOCUMENT, Corruption("NULL became '' or 0", value_corruptions.null_as({"L": []}))),
    FieldType.TEXT_SET: (*_SET, Corruption("NULL became '' or 0", value_corruptions.null_as({"SS": [""]}))),
    FieldType.NUMBER_SET: (
        *_SET,
        Corruption("NULL became '' or 0", value_corruptions.null_as({"NS": ["0"]})),
        Corruption("same number spelled otherwise", nested.same_numbers, harmful=False),
    ),
    FieldType.BINARY: (
        Corruption("wrong value", value_corruptions.another_byte),
        Corruption("another length", value_corruptions.another_length),
        Corruption("type changed", value_corruptions.base64_text),
        Corruption("NULL became '' or 0", value_corruptions.null_as({"B": b""})),
    ),
    FieldType.LABEL: (
        Corruption("wrong value", value_corruptions.another_label),
        Corruption("not translated", value_corruptions.without_label),
        Corruption("type changed", value_corruptions.text_of_another_type),
    ),
}
"""What each type has of them, beside those of every type."""
