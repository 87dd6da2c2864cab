"""How one table's rows become items. `declaration` makes it from a table's file, and everything else uses it.

`fields` describes one attribute. `transform` writes items, `compare` reads them, `source.expressions` reads rows.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import Enum
from functools import cached_property
from typing import Any

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.fields import Field, FieldType, Null, Rule, Unit
from imgmig_dagster.mapping.ignored_columns import SETTING, listed
from imgmig_dagster.mapping.keys import fault_finder, parser, renderer
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.template import Template

# A table's place is part of the source's identity; the rest changes neither an item nor a comparison.
_NOT_A_RULE = frozenset({"name", "schema", "table", "ignored", "pictures", "sensitive"})


@dataclass(frozen=True)
class KeyAttribute:
    """A part of an item's primary key; `type` is ``S``, or ``N`` of a template that is one column of whole numbers."""

    attribute: str
    template: Template
    type: str = "S"


@dataclass(frozen=True)
class Constant:
    """An attribute that is the same in every item."""

    attribute: str
    value: Mapping[str, Any]


@dataclass(frozen=True)
class Version:
    """The attribute that the application raises with each write, and its value in an item of the migration."""

    attribute: str
    initial: int


@dataclass(frozen=True)
class Order:
    """What cuts the rows into partitions and, with the identity, puts them in order.

    A timestamp, or a number of `unit` since 1970; or, where there is no time, one of `buckets` numbers that are made
    of the identity. Then `column` is empty, and bucket ``k`` is second ``k`` since 1970.
    """

    column: str
    unit: Unit | None = None
    buckets: int | None = None
    has_undated: bool = False


class Newer(str, Enum):
    """Which side counts as newer if they differ and no column says so."""

    SOURCE = "source"
    TARGET = "target"


@dataclass(frozen=True)
class PictureColumns:
    """The columns that say where in S3 a row's picture and its thumbnail are, what the picture is, and its name.

    Both are in `bucket`. `thumbnail_key` may be NULL: the row then declares no thumbnail.
    """

    bucket: str
    key: str
    thumbnail_key: str | None
    type: str
    size: str
    name: str


@dataclass(frozen=True)
class TableMapping:
    """How one table's rows become items.

    `identity` are the columns that are unique together; the key holds each of them. `modified` is the column that says
    which side is newer, a time or a number of `modified_unit`; without it `newer` decides. `where` is a condition in
    SQL on the rows that are migrated. `ignored` are the columns that no item has on purpose, with the reason: it
    changes no comparison.
    """

    name: str
    entity: str
    schema: str
    table: str
    identity: tuple[str, ...]
    primary_key: tuple[KeyAttribute, ...]
    order: Order
    fields: tuple[Field, ...]
    modified: str | None = None
    modified_unit: Unit | None = None
    newer: Newer = Newer.TARGET
    version: Version | None = None
    constants: tuple[Constant, ...] = ()
    where: str | None = None
    pictures: PictureColumns | None = None
    ignored: Mapping[str, str] = field(default_factory=dict)

    @cached_property
    def readings(self) -> tuple[Field, ...]:
        """What is read of a row, in the order of a `Row`: the fields, then columns that are in no item.

        The latter are order, modified and the pictures' columns, if no field holds them. They have no attribute; the
        number of a bucket has no column.
        """
        found = list(self.fields)
        if self._index(self.order.column, FieldType.TIMESTAMP, found) is None:
            found.append(Field(self.order.column, "", FieldType.TIMESTAMP, Null.WRITTEN, column_unit=self.order.unit))
        if self.modified and self._index(self.modified, FieldType.TIMESTAMP, found) is None:
            found.append(Field(self.modified, "", FieldType.TIMESTAMP, Null.WRITTEN, column_unit=self.modified_unit))
        if self.pictures is not None:
            named = asdict(self.pictures)
            for role, column in named.items():
                kind = FieldType.INTEGER if role == "size" else FieldType.TEXT
                if column is not None and self._index(column, kind, found) is None:
                    found.append(Field(column, "", kind, Null.WRITTEN))
        return tuple(found)

    @cached_property
    def order_index(self) -> int:
        """Where a `Row` holds the order."""
        return self.index(self.order.column, FieldType.TIMESTAMP)

    @cached_property
    def modified_field(self) -> Field | None:
        """The field of `modified`; None if no attribute says when an item was modified."""
        index = self.modified_index
        found = None if index is None else self.readings[index - 1]
        return found if found is not None and found.attribute else None

    @cached_property
    def modified_index(self) -> int | None:
        """Where a `Row` holds `modified`."""
        return self.index(self.modified, FieldType.TIMESTAMP) if self.modified else None

    def index(self, column: str, kind: FieldType) -> int:
        """Where a `Row` holds a column as a `Value` of that type.

        Raises:
            LookupError: it does not.
        """
        found = self._index(column, kind, self.readings)
        if found is None:
            raise LookupError(f"no row holds {column} as {kind.value}")
        return found + 1

    @staticmethod
    def _index(column: str, kind: FieldType, readings: Iterable[Field]) -> int | None:
        instants = (FieldType.TIMESTAMP, FieldType.EPOCH)
        kinds = instants if kind in instants else (kind,)
        for index, each in enumerate(readings):
            if each.column == column and each.template is None and each.type in kinds:
                return index
        return None

    @property
    def noun(self) -> str:
        """What its rows are called where they are counted."""
        return "images" if self.pictures is not None else "rows"

    @property
    def identity_shown(self) -> str:
        """The identity in words: the column, or columns."""
        return ", ".join(self.identity)

    @cached_property
    def key_columns(self) -> tuple[str, ...]:
        """The columns whose texts make up an id, and the key."""
        return tuple(dict.fromkeys(column for each in self.primary_key for column in each.template.columns))

    @cached_property
    def columns(self) -> tuple[str, ...]:
        """Every column of the source that is read, once: those of the key and the identity first."""
        read = (column for each in self.readings for column in each.columns)
        return tuple(dict.fromkeys((*self.key_columns, *self.identity, *read)))

    @cached_property
    def mapped_columns(self) -> frozenset[str]:
        """Every column that an item holds in some form."""
        return frozenset((*self.key_columns, *(column for each in self.fields for column in each.columns)))

    @cached_property
    def key_attributes(self) -> tuple[str, ...]:
        """The attributes of the primary key: the partition key, and the sort key if there is one."""
        return tuple(each.attribute for each in self.primary_key)

    @cached_property
    def declared_attributes(self) -> frozenset[str]:
        """Every attribute that the migration may write."""
        version = [] if self.version is None else [self.version.attribute]
        constants = (each.attribute for each in self.constants)
        return frozenset((*self.key_attributes, *version, *constants, *(each.attribute for each in self.fields)))

    @cached_property
    def least_attributes(self) -> frozenset[str]:
        """Those that every item of the migration has: not the ones that are left out where they are NULL."""
        kept = {each.attribute for each in self.fields if each.null is not Null.LEFT_OUT}
        return self.declared_attributes - {each.attribute for each in self.fields} | kept

    @cached_property
    def sensitive_attributes(self) -> frozenset[str]:
        """The attributes whose values are never shown."""
        return frozenset(each.attribute for each in self.fields if each.sensitive)

    def ignoring(self, further: Mapping[str, str]) -> "TableMapping":
        """The same mapping, which ignores further columns.

        Raises:
            SettingsError: one of them is mapped.
        """
        if both := [name for name in further if name in self.mapped_columns]:
            raise SettingsError(f"{SETTING} names {listed(both)}, which the mapping carries: take it out of there")
        return replace(self, ignored={**self.ignored, **further})

    def typed(self, natural: Mapping[str, FieldType]) -> "TableMapping":
        """The same mapping, in which each field that is open has the type of its column."""
        return replace(self, fields=tuple(_typed(each, natural) for each in self.fields))

    def not_migrated(self, columns: Iterable[str]) -> NotMigrated:
        """Which of the source's columns no item has, in their order. A name counts letter for letter."""
        columns = list(columns)
        left = [name for name in columns if name not in self.mapped_columns]
        return NotMigrated(
            unmapped=tuple(name for name in left if name not in self.ignored),
            ignored={name: self.ignored[name] for name in left if name in self.ignored},
            absent=tuple(name for name in self.ignored if name not in columns),
        )

    @cached_property
    def key(self) -> Callable[[str], Item]:
        """Makes the primary key of the item of a row's id; a ValueError says that it is not an id of this table."""
        return renderer(self.primary_key, self.key_columns, self.name)

    @cached_property
    def row_id(self) -> Callable[[Item], str | None]:
        """Finds the row's id in an item's key; None if the item is another entity's."""
        return parser(self.primary_key, self.key_columns)

    @cached_property
    def key_fault(self) -> Callable[[str], tuple[str, str] | None]:
        """Says why no item can have an id's key: code and reason, or None."""
        return fault_finder(self.primary_key, self.key, self.row_id)

    def fingerprint(self) -> str:
        """A hash of the declaration. It changes with any rule by which items are made or compared."""
        return hashlib.sha256(json.dumps(_said(self), sort_keys=True).encode()).hexdigest()[:16]


def _said(value: Any) -> Any:
    """What is declared, without defaults: a new setting changes no existing fingerprint."""
    if isinstance(value, tuple):
        return [_said(each) for each in value]
    if not is_dataclass(value):
        return dict(value) if isinstance(value, Mapping) else value
    declared = ((each, getattr(value, each.name)) for each in fields(value) if each.name not in _NOT_A_RULE)
    return {each.name: _said(found) for each, found in declared if found != each.default}


def _typed(field: Field, natural: Mapping[str, FieldType]) -> Field:
    kind = natural.get(field.column, field.type)
    if not field.is_open or kind is field.type:
        return field
    rule = Rule.WITHIN_ONE_SECOND if kind is FieldType.TIMESTAMP else Rule.EXACT
    return replace(field, type=kind, rule=rule)
