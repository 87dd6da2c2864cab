"""The workload of a migration: rows, items, indexes, and the capacity and processes for them."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from imgmig_dagster.capacity import limits, measured
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.sizes import MAX_ITEM_BYTES, WRITE_UNIT_BYTES
from imgmig_dagster.stage.stages import WriteMode

# Larger figures would not fit in the integers of JSON.
_MOST: Final = 10**13


class CapacityMode(str, Enum):
    """How a table's throughput is billed."""

    ON_DEMAND = "on-demand"
    PROVISIONED = "provisioned"


@dataclass(frozen=True)
class Index:
    """A global secondary index: the bytes of an entry, and the share of entries that have its most common key."""

    entry_bytes: int
    hot_share: float = 0.0

    @property
    def write_units(self) -> int:
        """What one new entry costs."""
        return started(self.entry_bytes, WRITE_UNIT_BYTES)


@dataclass(frozen=True, kw_only=True)
class Workload:
    """All items count as one size. Rates are per second; units are capacity units.

    `runs` are processes at a time, each with its own core; one of them works on a partition. `rate` is the ceiling of
    all of them together (`write_units_per_s`); None for no ceiling. `quota` is the table's, `warm` what it takes from
    the first second. `hot_share` is the share of the rows written at a time that have the same partition key.
    `stream_readers` are readers of the table's stream other than Lambda.
    """

    rows: int
    item_bytes: int = 1_024
    partitions: int = 1
    runs: int = 1
    rate: float | None = None
    write_mode: WriteMode = WriteMode.CONDITIONAL
    capacity_mode: CapacityMode = CapacityMode.ON_DEMAND
    indexes: Sequence[Index] = ()
    stream_readers: int = 0
    quota: float = limits.TABLE_QUOTA
    warm: float = limits.NEW_TABLE_WRITE_UNITS
    hot_share: float = 0.0
    source_rows_per_s: float = measured.SOURCE_ROWS_PER_S

    def __post_init__(self) -> None:
        """Refuse impossible figures.

        Raises:
            SettingsError: an item, an index or a share is larger than it can be, or a number too small.
        """
        for name, least in {"rows": 0, "item_bytes": 1, "partitions": 1, "runs": 1, "stream_readers": 0}.items():
            value = getattr(self, name)
            _require(least <= value <= _MOST, f"{_option(name)} {value:,} is not from {least} to {_MOST:,}")
        for name in ("rate", "quota", "warm", "source_rows_per_s"):
            bound = getattr(self, name)
            _require(bound is None or bound > 0, f"{_option(name)} must be more than 0")
        _require(
            self.item_bytes <= MAX_ITEM_BYTES,
            f"--item-bytes {self.item_bytes:,} is more than an item of DynamoDB can have: {MAX_ITEM_BYTES:,}",
        )
        for index in self.indexes:
            _require(
                0 < index.entry_bytes <= self.item_bytes,
                f"--index {index.entry_bytes:,}: an index holds attributes of the item, so at most --item-bytes "
                f"{self.item_bytes:,} and at least 1",
            )
        shares = [self.hot_share, *(index.hot_share for index in self.indexes)]
        _require(all(0 <= share <= 1 for share in shares), "a share of rows with the same key is from 0 to 1")

    @property
    def table_write_units(self) -> int:
        """What one new item costs the table itself."""
        return started(self.item_bytes, WRITE_UNIT_BYTES)

    @property
    def write_units(self) -> int:
        """What one new item costs in total, indexes included."""
        return self.table_write_units + sum(index.write_units for index in self.indexes)

    @property
    def read_units(self) -> int:
        """What a strongly consistent read of one item by its key costs."""
        return started(self.item_bytes, limits.READ_UNIT_BYTES)

    @property
    def bytes(self) -> int:
        """The bytes of all items, without the billed overhead."""
        return self.rows * self.item_bytes

    @property
    def stored_bytes(self) -> int:
        """The bytes billed as storage: items, entries of indexes, and the overhead of each."""
        entries = [self.item_bytes, *(index.entry_bytes for index in self.indexes)]
        return self.rows * sum(each + limits.STORED_OVERHEAD_BYTES for each in entries)

    @property
    def busy_runs(self) -> int:
        """The runs that have a partition to work on."""
        return min(self.runs, self.partitions)


def started(size: int, unit: int) -> int:
    """How many units a size begins, of which the last one may not be full."""
    return -(-size // unit)


def _option(name: str) -> str:
    renamed = {"source_rows_per_s": "source_rows", "stream_readers": "streams"}.get(name, name)
    return f"--{renamed.replace('_', '-')}"


def _require(holds: bool, otherwise: str) -> None:
    if not holds:
        raise SettingsError(otherwise)
