"""What the values of a declaration mean together: a `TableMapping`, or what contradicts itself in them.

`declared_attributes` reads a table's attributes; `form` is the form.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from typing import Any, Final

from imgmig_dagster.mapping.declaration.declared_attributes import Attributes
from imgmig_dagster.mapping.declaration.form import (
    BucketsForm,
    DeclarationForm,
    EveryForm,
    KeyForm,
    NewerForm,
    PlaceForm,
    TimeForm,
    VersionForm,
)
from imgmig_dagster.mapping.declaration.scalars import NONE, PLAIN_NAME, Grain, earliest_day
from imgmig_dagster.mapping.declaration.yaml_lines import DeclarationFault, Path
from imgmig_dagster.mapping.fields import Unit
from imgmig_dagster.mapping.ignored_columns import NO_REASON, listed, shown
from imgmig_dagster.mapping.spec import KeyAttribute, Newer, Order, PictureColumns, TableMapping, Version
from imgmig_dagster.mapping.template import Template

_IDENTITY: Final = "identity"
_BUCKETS: Final = 64
_LONGEST_KEY_NAME: Final = 255


@dataclass(frozen=True)
class DeclaredPartitions:
    """What a partition holds: a `grain` of time, the first one around `start`; or one of `buckets` of the identity."""

    grain: Grain | None = "monthly"
    start: date | None = None
    buckets: int | None = None


class DeclarationMeaning:
    """The mapping and the partitions of a declaration; `faults` is empty if it is sound."""

    def __init__(self, form: DeclarationForm) -> None:
        self._form = form = _without_words(form)
        schema, table = _place(form.table)
        self._name = form.name or table
        self._key = tuple(_key_attribute(name, value) for name, value in form.key.items())
        self._attributes = Attributes(form, _units(form))
        self.partitions = _partitions(form)
        self.mapping = TableMapping(
            name=self._name,
            entity=form.entity or self._name,
            schema=schema,
            table=table,
            identity=tuple(form.identity),
            primary_key=self._key,
            order=_order(form, self.partitions),
            fields=self._attributes.fields,
            modified=None if isinstance(form.modified, NewerForm) else _column(form.modified),
            modified_unit=form.modified.unit if isinstance(form.modified, TimeForm) else None,
            newer=form.modified.newer if isinstance(form.modified, NewerForm) else Newer.TARGET,
            version=_version(form),
            constants=self._attributes.constants,
            where=form.where,
            pictures=_pictures(form),
            ignored={name: " ".join(reason.split()) for name, reason in form.ignored.items()},
        )

    @property
    def faults(self) -> list[DeclarationFault]:
        """Everything that contradicts itself."""
        return [
            *self._faults_of_names(),
            *self._faults_of_keys(),
            *self._faults_of_order(),
            *self._attributes.faults,
            *self._faults_of_attributes(),
            *self._faults_of_columns(),
        ]

    def _faults_of_names(self) -> Iterator[DeclarationFault]:
        if isinstance(self._form.table, str) and not all(part.strip() for part in self._form.table.split(".")):
            yield DeclarationFault(
                ("table",), f"`table` names no table: {self._form.table}; write `table: public.images`"
            )
        elif isinstance(self._form.table, str) and self._form.table.count(".") > 1:
            remedy = "write `table: {schema: public, name: images}` where a name has a point"
            yield DeclarationFault(("table",), f"`table` has more than one point: {self._form.table}; {remedy}")
        elif not PLAIN_NAME.fullmatch(self._name):
            place = "name" if self._form.name else "table"
            remedy = "write `name:` with letters, digits and _ alone, such as `name: images`"
            yield DeclarationFault((place,), f"{shown(self._name)} cannot name folders and assets; {remedy}")

    def _faults_of_keys(self) -> Iterator[DeclarationFault]:
        for each, place in ((each, ("key", each.attribute)) for each in self._key):
            if fault := each.template.fault:
                yield DeclarationFault(place, fault)
            if each.type == "N" and (len(each.template.columns) != 1 or each.template.text[0] != "{"):
                remedy = "write a single column in braces and nothing else, or leave `type` out"
                yield DeclarationFault(
                    place, f"a key of type N is a number, and {each.template.text} is none; {remedy}"
                )
            if len(each.attribute.encode()) > _LONGEST_KEY_NAME:
                yield DeclarationFault(
                    place, f"DynamoDB takes names of keys up to {_LONGEST_KEY_NAME} bytes; write a shorter one"
                )
        if twice := _twice(self._form.identity):
            yield DeclarationFault(("identity",), f"`identity` names {listed(twice)} twice; leave one of them out")
        missing = [column for column in self.mapping.identity if column not in self.mapping.key_columns]
        if missing:
            what = f"the key does not have {listed(missing)} of the identity, so rows would share an item"
            remedy = f"write {' and '.join(f'{{{column}}}' for column in missing)} into one of its templates"
            yield DeclarationFault(("key",), f"{what}; {remedy}")

    def _faults_of_order(self) -> Iterator[DeclarationFault]:
        form = self._form
        if form.order is None and self.partitions.buckets is None:
            remedy = "name a column of times as `order`, or write `partitions: {buckets: 64}` where there is none"
            yield DeclarationFault(("partitions",), f"nothing cuts the rows into partitions; {remedy}")
        if form.order is not None and self.partitions.buckets is not None:
            yield DeclarationFault(
                ("partitions",), "buckets are for a table without an order; leave out `order`, or the buckets"
            )
        if form.undated and (form.order is None or self.partitions.buckets is not None):
            yield DeclarationFault(
                ("undated",), "`undated` is of rows whose order is NULL, and there is no order; leave it out"
            )
        grain, start = self.partitions.grain, self.partitions.start
        if grain and start and start < (earliest := earliest_day(grain)):
            yield DeclarationFault(("partitions", "start"), f"`start` is too early; the earliest day is {earliest}")
        order, modified = self.mapping.order, self.mapping
        if order.column and order.column == modified.modified and order.unit is not modified.modified_unit:
            remedy = f"write `modified: {{column: {order.column}, unit: {order.unit.value}}}`" if order.unit else ""
            remedy = remedy or f"write `modified: {order.column}`"
            yield DeclarationFault(
                ("modified",), f"`order` and `modified` read {shown(order.column)} in two units; {remedy}"
            )

    def _faults_of_attributes(self) -> Iterator[DeclarationFault]:
        keys = self.mapping.key_attributes
        taken = dict.fromkeys(keys, "the key")
        if self.mapping.version is not None:
            name = self.mapping.version.attribute
            if name in taken:
                yield DeclarationFault(("version", "attribute"), f"{name} is an attribute of the key; name another one")
            taken.setdefault(name, "the version")
        for name in self._form.attributes:
            if name in taken:
                yield DeclarationFault(
                    ("attributes", name), f"{name} is {taken[name]} already; give this attribute another name"
                )
        for name in _twice(field.name for field in self.mapping.fields):
            remedy = "give one of them another name"
            yield DeclarationFault(
                ("attributes",), f"{name} is an attribute, and a member of another one in reports; {remedy}"
            )

    def _faults_of_columns(self) -> Iterator[DeclarationFault]:
        mapped, held = self.mapping.mapped_columns, {column for each in self.mapping.fields for column in each.columns}
        for name, reason in self.mapping.ignored.items():
            if name in mapped:
                yield DeclarationFault(
                    ("ignored", name), f"{shown(name)} is mapped and ignored; take it out of one of the two"
                )
            if reason in ("", NO_REASON):
                yield DeclarationFault(
                    ("ignored", name), f"{shown(name)} is ignored without a reason; write why it is not needed"
                )
        of_key = (each for each in self.mapping.fields if each.sensitive and each.member is None)
        for name in dict.fromkeys(column for each in of_key for column in each.columns):
            if name in self.mapping.key_columns and name not in self._form.sensitive:
                attribute = next(each.attribute for each in self.mapping.fields if name in each.columns)
                remedy = "leave `sensitive` out, or take another identity"
                said = f"{shown(name)} is in the key, which reports have to name; {remedy}"
                yield DeclarationFault(("attributes", attribute), said)
        for index, name in enumerate(self._form.sensitive):
            place: Path = ("sensitive", index)
            if name in self.mapping.key_columns:
                remedy = "leave it out here, or take another identity"
                yield DeclarationFault(place, f"{shown(name)} is in the key, which reports have to name; {remedy}")
            elif name not in held:
                yield DeclarationFault(
                    place, f"{shown(name)} is in no attribute, so nothing shows it; leave it out here"
                )


def _without_words(form: DeclarationForm) -> DeclarationForm:
    """The declaration with its words `none` and `identity` replaced by what they mean."""
    changes: dict[str, Any] = {}
    if form.modified == NONE:
        changes["modified"] = NewerForm(newer=Newer.TARGET)
    if form.version == NONE:
        changes["version"] = None
    is_cut_by_time = form.partitions is not None and not isinstance(form.partitions, BucketsForm)
    if form.order == _IDENTITY or ([form.order] == form.identity and not is_cut_by_time):
        changes |= {"order": None, "partitions": form.partitions or BucketsForm(buckets=_BUCKETS)}
    return form.model_copy(update=changes)


def _place(table: str | PlaceForm) -> tuple[str, str]:
    if isinstance(table, PlaceForm):
        return table.schema_, table.name
    schema, point, name = table.partition(".")
    return (schema, name) if point else ("public", table)


def _key_attribute(name: str, value: str | KeyForm) -> KeyAttribute:
    if isinstance(value, str):
        return KeyAttribute(name, Template(value))
    return KeyAttribute(name, Template(value.template), value.type)


def _version(form: DeclarationForm) -> Version | None:
    found = form.version
    return Version(found.attribute, found.initial) if isinstance(found, VersionForm) else None


def _column(named: str | TimeForm) -> str:
    return named if isinstance(named, str) else named.column


def _units(form: DeclarationForm) -> dict[str, Unit | None]:
    """The columns that are times because `order` or `modified` names them, with the unit of those that are numbers."""
    times = [each for each in (form.modified, form.order) if isinstance(each, (str, TimeForm))]
    return {_column(each): each.unit if isinstance(each, TimeForm) else None for each in times}


def _partitions(form: DeclarationForm) -> DeclaredPartitions:
    if isinstance(form.partitions, BucketsForm):
        return DeclaredPartitions(None, None, form.partitions.buckets)
    if isinstance(form.partitions, EveryForm):
        return DeclaredPartitions(form.partitions.every, form.partitions.start)
    return DeclaredPartitions(form.partitions or "monthly")


def _order(form: DeclarationForm, partitions: DeclaredPartitions) -> Order:
    if form.order is None:
        return Order("", buckets=partitions.buckets)
    unit = form.order.unit if isinstance(form.order, TimeForm) else None
    return Order(_column(form.order), unit, has_undated=form.undated)


def _pictures(form: DeclarationForm) -> PictureColumns | None:
    found = form.pictures
    if found is None:
        return None
    return PictureColumns(found.bucket, found.key, found.thumbnail, found.type, found.size, found.name)


def _twice(names: Iterable[str]) -> list[str]:
    names = list(names)
    return [name for name in dict.fromkeys(names) if names.count(name) > 1]
