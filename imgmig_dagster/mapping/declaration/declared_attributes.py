"""The attributes of a declaration as `Field`s and `Constant`s, and what contradicts itself in one of them.

`meaning` puts them together.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from typing import Final

from imgmig_dagster.mapping.declaration.form import (
    ColumnForm,
    ConstantForm,
    DeclarationForm,
    MapForm,
    TemplateForm,
)
from imgmig_dagster.mapping.declaration.scalars import As, Nulls
from imgmig_dagster.mapping.declaration.yaml_lines import DeclarationFault, Path
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule, Unit
from imgmig_dagster.mapping.ignored_columns import shown
from imgmig_dagster.mapping.spec import Constant
from imgmig_dagster.mapping.template import Template

_NULLS: Final = {Nulls.WRITTEN: Null.WRITTEN, Nulls.LEFT_OUT: Null.LEFT_OUT, Nulls.REJECTED: Null.REJECTED}
_TYPES: Final = {
    As.TEXT: FieldType.TEXT,
    As.ISO: FieldType.TIMESTAMP,
    As.INTEGER: FieldType.INTEGER,
    As.NUMBER: FieldType.NUMBER,
    As.BOOLEAN: FieldType.BOOLEAN,
    As.DATE: FieldType.DATE,
    As.DOCUMENT: FieldType.DOCUMENT,
    As.LIST: FieldType.LIST,
    As.SET: FieldType.TEXT_SET,
    As.NUMBER_SET: FieldType.NUMBER_SET,
    As.BINARY: FieldType.BINARY,
    As.EPOCH_SECONDS: FieldType.EPOCH,
    As.EPOCH_MS: FieldType.EPOCH,
    As.EPOCH_US: FieldType.EPOCH,
}
_EPOCHS: Final = {
    As.EPOCH_SECONDS: Unit.SECONDS,
    As.EPOCH_MS: Unit.MILLISECONDS,
    As.EPOCH_US: Unit.MICROSECONDS,
}
_SPAN: Final = re.compile(r"([-+]?[0-9]{1,9}) *(second|minute|hour|day|week)s?")
_SECONDS: Final = {"second": 1, "minute": 60, "hour": 3_600, "day": 86_400, "week": 604_800}
_TIMES: Final = frozenset({FieldType.TIMESTAMP, FieldType.EPOCH})


class Attributes:
    """The fields and constants of a declaration's attributes, and `faults`.

    `units` are the columns that are times without a declared type; numbers among them have a unit.
    """

    def __init__(self, form: DeclarationForm, units: Mapping[str, Unit | None]) -> None:
        self._units = units
        self._nulls = _NULLS[form.nulls]
        self._sensitive = frozenset(form.sensitive)
        self.faults: list[DeclarationFault] = []
        fields, constants = [], []
        for name, value in form.attributes.items():
            place: Path = ("attributes", name)
            if isinstance(value, ConstantForm):
                constants.append(Constant(name, _constant(value)))
            elif isinstance(value, MapForm):
                members = value.map.items()
                fields += [
                    replace(self._field(name, each, (*place, "map", member)), member=member) for member, each in members
                ]
            else:
                fields.append(self._field(name, value, place))
        self.fields = _all_sensitive(fields)
        self.constants = tuple(constants)

    def _field(self, name: str, value: str | ColumnForm | TemplateForm, place: Path) -> Field:
        if isinstance(value, str):
            value = TemplateForm(template=value) if "{" in value or "}" in value else ColumnForm(column=value)
        if isinstance(value, TemplateForm):
            found = self._of_template(name, value, place)
        else:
            found = self._of_column(name, value, place)
        return replace(found, sensitive=value.sensitive or not self._sensitive.isdisjoint(found.columns))

    def _of_template(self, name: str, value: TemplateForm, place: Path) -> Field:
        template = Template(value.template)
        if template.has_stray_brace:
            remedy = 'write {column: "..."} for a column whose name has braces'
            self._fault(place, f"{value.template} has a brace that names no column; {remedy}")
        elif not template.columns:
            self._fault(place, f"{value.template} names no column; write {{constant: ...}} for what is always the same")
        null = Null.LEFT_OUT if value.null is None else _NULLS[value.null]
        return Field(value.template, name, FieldType.TEXT, null, template=template)

    def _of_column(self, name: str, value: ColumnForm, place: Path) -> Field:
        kind = self._type(value)
        is_time = kind in _TIMES
        if value.values is not None and value.as_ not in (None, As.TEXT):
            self._fault((*place, "as"), f"`values` makes texts, and `as` is {value.as_.value}; leave one of them out")
        if value.unit is not None and not is_time:
            remedy = "leave `unit` out, or write `as: iso` or `as: epoch_seconds`"
            self._fault((*place, "unit"), f"`unit` is of a time, and this is {kind.value}; {remedy}")
        declared = self._units.get(value.column)
        if is_time and value.unit is not None and value.column in self._units and value.unit is not declared:
            what = f"{shown(value.column)} counts {declared.value if declared else 'nothing'} in `order` or `modified`"
            self._fault((*place, "unit"), f"{what}, and {value.unit.value} here; write the same unit")
        if value.tolerance is not None and kind is not FieldType.TIMESTAMP:
            self._fault((*place, "tolerance"), "only times as text have a tolerance; leave it out, this is exact")
        within = kind is FieldType.TIMESTAMP and value.tolerance is None
        return Field(
            value.column,
            name,
            kind,
            self._nulls if value.null is None else _NULLS[value.null],
            Rule.WITHIN_ONE_SECOND if within else Rule.EXACT,
            column_unit=(value.unit or declared) if is_time else None,
            unit=_EPOCHS.get(value.as_, Unit.SECONDS) if value.as_ else Unit.SECONDS,
            plus_us=self._plus(value, kind, place),
            labels=self._labels(value, place),
            as_text=value.as_ is As.TEXT and kind is FieldType.TEXT,
        )

    def _type(self, value: ColumnForm) -> FieldType:
        if value.values is not None:
            return FieldType.LABEL
        if value.as_ is not None:
            return _TYPES[value.as_]
        return FieldType.TIMESTAMP if value.unit or value.column in self._units else FieldType.TEXT

    def _plus(self, value: ColumnForm, kind: FieldType, place: Path) -> int:
        if value.plus is None:
            return 0
        if kind is not FieldType.EPOCH:
            remedy = "write `as: epoch_seconds` too, or leave `plus` out"
            self._fault((*place, "plus"), f"`plus` is added to a time that is a number; {remedy}")
        found = _SPAN.fullmatch(value.plus.strip())
        if found is None:
            remedy = "write a whole number of seconds, minutes, hours, days or weeks, such as 30 days"
            self._fault((*place, "plus"), f"`plus` is not a span of time: {value.plus}; {remedy}")
            return 0
        return int(found[1]) * _SECONDS[found[2]] * 1_000_000

    def _labels(self, value: ColumnForm, place: Path) -> tuple[tuple[str, str], ...]:
        if value.values is None:
            return ()
        place = (*place, "values")
        if not value.values:
            self._fault(place, "`values` names nothing; write each value of the column and its text")
        texts = list(value.values.values())
        if twice := [text for text in dict.fromkeys(texts) if texts.count(text) > 1]:
            remedy = "write different texts, so that no two are the same"
            self._fault(place, f"`values` has {', '.join(twice)} for several values; {remedy}")
        return tuple(value.values.items())

    def _fault(self, place: Path, message: str) -> None:
        self.faults.append(DeclarationFault(place, message))


def _all_sensitive(fields: Sequence[Field]) -> tuple[Field, ...]:
    """The fields. A field that shares a column, or a map, with a sensitive one is sensitive too."""
    columns = {column for each in fields if each.sensitive for column in each.columns}
    found = [replace(each, sensitive=not columns.isdisjoint(each.columns)) for each in fields]
    # An attribute that should be a map, and is not, is shown as a whole.
    maps = {each.attribute for each in found if each.sensitive and each.member is not None}
    return tuple(replace(each, sensitive=each.sensitive or each.attribute in maps) for each in found)


def _constant(form: ConstantForm) -> dict[str, str | bool]:
    value = form.constant
    if isinstance(value, str):
        return {"S": value}
    return {"BOOL": value} if isinstance(value, bool) else {"N": format(Decimal(value), "f")}
