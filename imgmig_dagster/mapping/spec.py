"""The vocabulary in which a table's mapping is declared."""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from functools import cached_property
from typing import Any, Final, TypeAlias

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.ignored_columns import SETTING, listed
from imgmig_dagster.mapping.not_migrated import NotMigrated, not_migrated

Value: TypeAlias = str | int | bytes | None
"""A column's value: text and ids as `str`, integers as `int`, timestamps as `int` microseconds since
1970-01-01T00:00:00Z (which keeps ±infinity, BC and year 12026 readable, unlike `datetime`).

What no item can hold is of another type than its field's, and so equals nothing there: text that is no UTF-8 is
`bytes`, and a number that is not whole is `str`."""


class Row(tuple[Value, ...]):
    """A source row: the id, then one value per `TableMapping.fields`, in their order."""

    __slots__ = ()

    @property
    def id(self) -> str:
        """The id as text; one that is no text goes by the name that `str` gives it."""
        return str(self[0])


class DigestedRow(Row):
    """A row with the digest that PostgreSQL computed of it (`source.digests`)."""

    digest: int

    @classmethod
    def read(cls, values: Sequence[Value]) -> "DigestedRow":
        """The row of values of which the last is the digest."""
        row = cls(values[:-1])
        row.digest = values[-1]  # type: ignore[assignment]  # a number of 64 bits, never NULL
        return row


Item: TypeAlias = dict[str, dict[str, Any]]
"""A DynamoDB item in the service's own JSON: ``{"userId": {"S": "..."}}``."""

Cursor: TypeAlias = tuple[int, str]
"""A keyset position: the order column in microseconds since 1970, and the id. Never cut to milliseconds: a cursor
that is less precise than the column reads the same page for ever."""

# PostgreSQL's ±infinity, as its binary format carries them: the ends of a signed 64-bit integer.
INFINITY: Final = 2**63 - 1
MINUS_INFINITY: Final = -(2**63)


class FieldType(str, Enum):
    """What a column holds."""

    TEXT = "text"
    INTEGER = "integer"
    TIMESTAMP = "timestamp"


class Rule(str, Enum):
    """When a column and its attribute count as equal."""

    EXACT = "exact"
    WITHIN_ONE_SECOND = "less than 1 second apart"


@dataclass(frozen=True)
class Field:
    """One column and the attribute that it becomes."""

    column: str
    attribute: str
    type: FieldType
    nullable: bool = False
    rule: Rule = Rule.EXACT


@dataclass(frozen=True)
class PictureColumns:
    """The columns that say where in S3 a row's picture and its thumbnail lie, what the picture is, and its name.

    Both lie in `bucket`. `thumbnail_key` may be NULL: the row then declares no thumbnail.
    """

    bucket: str
    key: str
    thumbnail_key: str
    type: str
    size: str
    name: str


@dataclass(frozen=True)
class TableMapping:
    """How one table's rows become items.

    The item's key is ``<key_prefix><id>`` under `key_attribute` and the constant `sort_key` under
    `sort_key_attribute`. `order_column` (with the id) orders the rows and cuts them into partitions;
    `modified_column` tells which side is newer. Both are columns of `fields`. `ignored` are the columns that no item
    carries on purpose, with the reason: it changes no comparison.
    """

    entity: str
    id_column: str
    key_attribute: str
    key_prefix: str
    sort_key_attribute: str
    sort_key: str
    version_attribute: str
    initial_version: int
    order_column: str
    modified_column: str
    fields: tuple[Field, ...]
    ignored: Mapping[str, str] = field(default_factory=dict)

    @property
    def columns(self) -> tuple[str, ...]:
        """The source columns in the order of a `Row`: the id first."""
        return (self.id_column, *(field.column for field in self.fields))

    @property
    def order_index(self) -> int:
        """Where a `Row` holds `order_column`."""
        return self.columns.index(self.order_column)

    @property
    def modified_index(self) -> int:
        """Where a `Row` holds `modified_column`."""
        return self.columns.index(self.modified_column)

    @property
    def modified_attribute(self) -> str:
        """The attribute that `modified_column` becomes."""
        return self.fields[self.modified_index - 1].attribute

    @cached_property
    def declared_attributes(self) -> frozenset[str]:
        """Every attribute that the migration writes."""
        return frozenset(
            {self.key_attribute, self.sort_key_attribute, self.version_attribute}
            | {field.attribute for field in self.fields}
        )

    def ignoring(self, further: Mapping[str, str]) -> "TableMapping":
        """The same mapping, which ignores further columns.

        Raises:
            SettingsError: one of them is mapped.
        """
        if both := [name for name in further if name in self.columns]:
            raise SettingsError(f"{SETTING} names {listed(both)}, which the mapping carries: take it out of there")
        return replace(self, ignored={**self.ignored, **further})

    def not_migrated(self, columns: Iterable[str]) -> NotMigrated:
        """Which of the source's columns no item carries."""
        return not_migrated(columns, self.columns, self.ignored)

    def key(self, row_id: str) -> Item:
        """The primary key of the item of a row's id."""
        return {
            self.key_attribute: {"S": f"{self.key_prefix}{row_id}"},
            self.sort_key_attribute: {"S": self.sort_key},
        }

    def row_id(self, item: Item) -> str | None:
        """The source id in an item's key, or None where the item is another entity's."""
        key = item.get(self.key_attribute, {}).get("S")
        if not isinstance(key, str) or not key.startswith(self.key_prefix):
            return None
        if item.get(self.sort_key_attribute) != {"S": self.sort_key}:
            return None
        return key[len(self.key_prefix) :]

    def fingerprint(self) -> str:
        """A hash of the declaration: changes when any rule changes by which items are made or compared."""
        declared = {name: value for name, value in asdict(self).items() if name != "ignored"}
        return hashlib.sha256(json.dumps(declared, sort_keys=True).encode()).hexdigest()[:16]

    def markdown_table(self) -> str:
        """The mapping as the documentation shows it."""
        lines = [
            "| column | attribute | type | NULL | comparison |",
            "|---|---|---|---|---|",
            f"| `{self.id_column}` | `{self.key_attribute}` = `{self.key_prefix}<{self.id_column}>` "
            "| text | never | exact |",
            f"| | `{self.sort_key_attribute}` = `{self.sort_key}` | text | never | exact |",
        ]
        for each in self.fields:
            null = "written as NULL; equals an absent attribute" if each.nullable else "rejected"
            lines.append(f"| `{each.column}` | `{each.attribute}` | {each.type.value} | {null} | {each.rule.value} |")
        lines.append(f"| | `{self.version_attribute}` = {self.initial_version} | integer | never | not compared |")
        lines += [f"| `{name}` | ignored: {reason} | | | |" for name, reason in self.ignored.items()]
        return "\n".join(lines)
