"""What one attribute of an item consists of, and how it is compared. `spec` describes the whole table."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

from imgmig_dagster.mapping.rows import Item
from imgmig_dagster.mapping.template import Template


class FieldType(str, Enum):
    """What an attribute holds. In brackets: DynamoDB's type, and the `Value` of a row."""

    TEXT = "text"
    """S (`str`; a template's too)."""
    INTEGER = "integer"
    """N (`int`)."""
    NUMBER = "number"
    """N of numeric, real and double precision (`str`, as PostgreSQL writes it)."""
    BOOLEAN = "boolean"
    """BOOL (`bool`)."""
    TIMESTAMP = "timestamp"
    """S by JavaScript's toISOString() (`int`, microseconds)."""
    EPOCH = "epoch"
    """N, a timestamp as a whole number of `Field.unit` since 1970, `Field.plus_us` later (`int`, microseconds)."""
    DATE = "date"
    """S, ``2024-01-31`` (`str`, as PostgreSQL writes it)."""
    DOCUMENT = "document"
    """json or jsonb as M, L or a scalar (`str`, the JSON)."""
    LIST = "list"
    """L of an array (`str`, the JSON of PostgreSQL's array_to_json)."""
    TEXT_SET = "text set"
    """SS of an array (`str`, the same)."""
    NUMBER_SET = "number set"
    """NS of an array (`str`, the same)."""
    BINARY = "binary"
    """B (`str`, the bytes in hexadecimal)."""
    LABEL = "label"
    """S by the table `Field.labels` (`str`, the column as text)."""


class Rule(str, Enum):
    """When a column and its attribute count as equal."""

    EXACT = "exact"
    WITHIN_ONE_SECOND = "less than 1 second apart"


class Null(str, Enum):
    """What happens to a NULL. NULL, an attribute of type NULL, and an absent one are always equal."""

    WRITTEN = "written"
    LEFT_OUT = "left out"
    REJECTED = "rejected"
    """The row is rejected."""


class Unit(str, Enum):
    """The unit of a number that is a time since 1970."""

    SECONDS = "s"
    MILLISECONDS = "ms"
    MICROSECONDS = "us"

    @property
    def microseconds(self) -> int:
        """How many microseconds one is."""
        return {Unit.SECONDS: 1_000_000, Unit.MILLISECONDS: 1_000, Unit.MICROSECONDS: 1}[self]


@dataclass(frozen=True)
class Field:
    """One value of a row, and the attribute that it becomes, or the `member` of an attribute that is a map.

    `column` is the column, or the text of `template` if several columns make the value. `column_unit` says that the
    column is a number and a time. `unit` and `plus_us` belong to `FieldType.EPOCH`. `labels` belongs to
    `FieldType.LABEL`: pairs of the column's text and what is written, each once. A TEXT is `as_text` if the declaration
    says so; any other TEXT of a single column gets its column's natural type once the catalog is read. A `sensitive`
    one is never shown.
    """

    column: str
    attribute: str
    type: FieldType
    null: Null = Null.REJECTED
    rule: Rule = Rule.EXACT
    member: str | None = None
    template: Template | None = None
    column_unit: Unit | None = None
    unit: Unit = Unit.SECONDS
    plus_us: int = 0
    labels: tuple[tuple[str, str], ...] = ()
    sensitive: bool = False
    as_text: bool = False

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns that make it."""
        if self.template is not None:
            return self.template.columns
        return (self.column,) if self.column else ()

    @property
    def is_open(self) -> bool:
        """Whether its type is still that of its column, which the catalog knows."""
        return self.type is FieldType.TEXT and not self.as_text and self.template is None and bool(self.attribute)

    @property
    def nullable(self) -> bool:
        """Whether a row may be NULL there."""
        return self.null is not Null.REJECTED

    @property
    def name(self) -> str:
        """The attribute, or ``attribute.member``: how reports and ledgers name the field."""
        return self.attribute if self.member is None else f"{self.attribute}.{self.member}"

    def of(self, item: Item) -> dict[str, Any] | None:
        """The field's value in an item; None if it is absent."""
        found = item.get(self.attribute)
        if self.member is None or found is None:
            return found
        members = found.get("M")
        if isinstance(members, dict):
            return members.get(self.member)
        return None if found.get("NULL") is True else found
