"""Values of rows and items as text for a person. The text shows the type: ``S:"123"`` is not ``N:123``.

A sensitive field shows only whether there is a value.
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from typing import Any, Final

from imgmig_dagster.mapping.decoders import Undecodable, meaning
from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.mapping.rows import Row, Value

MASK: Final = "***"
_EPOCH_ORDINAL: Final = date(1970, 1, 1).toordinal()
_SECOND_US: Final = 1_000_000
# For these types both sides are shown in one form: a document's attribute has another spelling than its JSON.
_CANONICAL: Final = {
    FieldType.DOCUMENT: "JSON",
    FieldType.LIST: "JSON",
    FieldType.TEXT_SET: "SS",
    FieldType.NUMBER_SET: "NS",
}


def value_of(readings: Sequence[Field], row: Row, column: str) -> str:
    """A row's value of a column as it is, or masked. What belongs to no field is the key's."""
    found = [(field, value) for field, value in zip(readings, row[1:], strict=True) if field.column == column]
    if any(field.sensitive for field, _value in found):
        return MASK
    return str(found[0][1]) if found else row.id


def show_value(field: Field, value: Value) -> str:
    """A row's value."""
    if value is None:
        return "NULL"
    if field.sensitive:
        return MASK
    if isinstance(value, bytes):
        return f"bytes:{value!r}"
    if field.type in _CANONICAL:
        return _canonical(field, meaning(field).of_row, value, f"no JSON:{value}")
    return _SHOWN[field.type](field, value)


def show_attribute(field: Field, attribute: Mapping[str, Any] | None) -> str:
    """An item's value."""
    if attribute is None:
        return "absent"
    if "NULL" in attribute:
        return "NULL"
    if field.sensitive:
        return MASK
    plain = show_any(attribute)
    if field.type not in _CANONICAL:
        return plain
    try:
        return _canonical(field, meaning(field).of_item, attribute, plain)
    except Undecodable:
        return plain


def show_any(attribute: Mapping[str, Any] | None) -> str:
    """The value of an attribute that belongs to no field."""
    if attribute is None:
        return "absent"
    kind, content = next(iter(attribute.items()))
    return f'S:"{content}"' if kind == "S" else f"{kind}:{content}"


def _canonical(field: Field, of: Callable[[Any], Value] | None, value: Any, otherwise: str) -> str:
    found: Any = value if of is None else of(value)
    if found is None:
        return f"{_CANONICAL[field.type]}:null" if "SET" not in field.type.name else f"{_CANONICAL[field.type]}:[]"
    return otherwise if isinstance(found, bytes) else f"{_CANONICAL[field.type]}:{found}"


def _timestamp(_field: Field, value: Any) -> str:
    if not isinstance(value, int):
        return f"no timestamp:{value}"
    seconds, microseconds = divmod(value, _SECOND_US)
    days, second_of_day = divmod(seconds, 86_400)
    try:
        day = date.fromordinal(_EPOCH_ORDINAL + days).isoformat()
    except (ValueError, OverflowError):
        return f"timestamp out of range ({value} microseconds since 1970)"
    clock = f"{second_of_day // 3600:02d}:{second_of_day // 60 % 60:02d}:{second_of_day % 60:02d}"
    return f"{day}T{clock}.{microseconds:06d}Z"


def _epoch(field: Field, value: Any) -> str:
    of_row = meaning(field).of_row
    number: Any = value if of_row is None else of_row(value)
    return f"N:{number + field.plus_us // field.unit.microseconds}" if isinstance(number, int) else f"N:{number}"


def _label(field: Field, value: Any) -> str:
    label = dict(field.labels).get(value)
    return f'no label:"{value}"' if label is None else f'S:"{label}"'


def _binary(_field: Field, value: Any) -> str:
    return f"B:{b64encode(bytes.fromhex(value)).decode()}"


_SHOWN: Final[Mapping[FieldType, Callable[[Field, Any], str]]] = {
    FieldType.TEXT: lambda _field, value: f'S:"{value}"',
    FieldType.INTEGER: lambda _field, value: f"N:{value}",
    FieldType.NUMBER: lambda _field, value: f"N:{value}",
    FieldType.BOOLEAN: lambda _field, value: f"BOOL:{value}",
    FieldType.TIMESTAMP: _timestamp,
    FieldType.EPOCH: _epoch,
    FieldType.DATE: lambda _field, value: f'S:"{value}"',
    FieldType.BINARY: _binary,
    FieldType.LABEL: _label,
}
