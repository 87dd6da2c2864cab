"""Rows and the items that they become, side by side, for a person who checks a declaration."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

from imgmig_dagster.mapping.compare import describe_fields
from imgmig_dagster.mapping.rows import Item, Row
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.mapping.transform import Rejection, transformer


@dataclass(frozen=True)
class RowBesideItem:
    """A row's id, its item's key, and each attribute with the row's value and the item's; or why it is rejected."""

    row_id: str
    key: Mapping[str, str]
    fields: tuple[tuple[str, str, str], ...]
    rejected: str = ""

    @property
    def lines(self) -> Iterator[str]:
        """All of it for a terminal."""
        if self.rejected:
            yield f"row {self.row_id} is rejected: {self.rejected}"
            return
        key = ", ".join(f"{name} = {value}" for name, value in self.key.items())
        yield f"row {self.row_id} is the item {key}"
        for name, of_row, of_item in self.fields:
            yield f"  {name}: {of_row} -> {of_item}"


def rows_beside_items(mapping: TableMapping, rows: Iterable[Row]) -> list[RowBesideItem]:
    """What each row becomes. Values of sensitive columns are masked."""
    transform = transformer(mapping)
    return [_beside(mapping, row, transform(row)) for row in rows]


def _beside(mapping: TableMapping, row: Row, item: Item | Rejection) -> RowBesideItem:
    if isinstance(item, Rejection):
        reason = item.reason if item.field is None else f"{item.field}: {item.reason}"
        return RowBesideItem(row.id, {}, (), reason)
    key = {name: next(iter(item[name].values())) for name in mapping.key_attributes}
    return RowBesideItem(row.id, key, tuple(describe_fields(mapping, row, item)))
