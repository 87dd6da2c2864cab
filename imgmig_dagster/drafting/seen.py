"""The input of a draft: the source table and the target table as their catalogs describe them. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from imgmig_dagster.mapping.fields import FieldType, Unit


@dataclass(frozen=True)
class SeenColumn:
    """A column of the source: `shown` is PostgreSQL's name of its type, `type` the type in an item."""

    name: str
    shown: str
    type: FieldType
    required: bool
    comment: str = ""


@dataclass(frozen=True)
class SeenTable:
    """The source table. `unique` are the columns of each unique index that covers all rows, `leading` the columns that
    an index begins with. `units` are of the numbers that are times by their names and their sampled values."""

    schema: str
    name: str
    columns: tuple[SeenColumn, ...]
    primary_key: tuple[str, ...] = ()
    unique: tuple[tuple[str, ...], ...] = ()
    leading: frozenset[str] = frozenset()
    units: Mapping[str, Unit] = field(default_factory=dict)
    is_view: bool = False

    def column(self, name: str) -> SeenColumn:
        """The column of that name."""
        return next(each for each in self.columns if each.name == name)


@dataclass(frozen=True)
class KeyPart:
    """An attribute of a key, and its type there: S, N or B."""

    attribute: str
    type: str


@dataclass(frozen=True)
class SeenTarget:
    """The DynamoDB table: its key, and the keys of its indexes by name."""

    name: str
    key: tuple[KeyPart, ...]
    indexes: Mapping[str, tuple[KeyPart, ...]] = field(default_factory=dict)


PK_SK = SeenTarget("", (KeyPart("PK", "S"), KeyPart("SK", "S")))
"""What a draft assumes about a target table that does not exist yet."""
