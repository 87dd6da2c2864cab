"""What a migration would do to some of the rows: it reads them and makes items, and writes nothing."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final

from imgmig_dagster.mapping.sizes import item_bytes
from imgmig_dagster.mapping.transform import Rejection, transformer
from imgmig_dagster.mapping.unfit import remedy
from imgmig_dagster.source.reader import SourceReader

SAMPLE: Final = 1_000
"""How many rows are made items unless all are asked for."""
_PAGE: Final = 1_000
_SHOWN: Final = 80


@dataclass(frozen=True)
class Rejected:
    """Why rows are rejected: the column at fault (None for an item as a whole), the code, and the reason in words."""

    column: str | None
    code: str
    reason: str

    def __str__(self) -> str:
        return f"{self.reason} ({self.code}{f', column {self.column}' if self.column else ''})"


@dataclass(frozen=True)
class Sample:
    """`rows` were made items; `rejected` counts those that cannot be, by reason, with the id of one of each."""

    rows: int = 0
    largest_bytes: int = 0
    largest_id: str = ""
    rejected: Mapping[Rejected, int] = field(default_factory=dict)
    such_as: Mapping[Rejected, str] = field(default_factory=dict)

    @property
    def rejected_rows(self) -> int:
        """How many rows were rejected."""
        return sum(self.rejected.values())

    @property
    def remedy(self) -> str:
        """What helps the rows that are rejected."""
        return remedy((why.code, why.column) for why in self.rejected)

    @property
    def lines(self) -> Iterator[str]:
        """What would be rejected, a line for each reason."""
        for why, rows in sorted(self.rejected.items(), key=lambda each: -each[1]):
            yield f"{rows:,} {'row' if rows == 1 else 'rows'}, such as {_cut(self.such_as[why])}: {why}"


def _cut(row_id: str) -> str:
    return row_id if len(row_id) <= _SHOWN else f"{row_id[:_SHOWN]}..."


def sample(reader: SourceReader, at_most: int | None) -> Sample:
    """Make items of the first rows by identity, or of all of them.

    Raises:
        SourceError: the table does not fit the mapping, or cannot be read.
    """
    transform = transformer(reader.mapping)
    rows, largest, largest_id = 0, 0, ""
    rejected, such_as = Counter[Rejected](), dict[Rejected, str]()
    for page in reader.all_rows(_PAGE if at_most is None else min(_PAGE, at_most)):
        for row in page:
            made = transform(row)
            if isinstance(made, Rejection):
                why = Rejected(made.field, made.code, made.reason)
                rejected[why] += 1
                such_as.setdefault(why, made.row_id)
            elif (size := item_bytes(made)) > largest:
                largest, largest_id = size, row.id
        rows += len(page)
        if at_most is not None and rows >= at_most:
            break
    return Sample(rows, largest, largest_id, rejected, such_as)
