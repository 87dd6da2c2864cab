"""One table of a stage: its mapping, its partitions, and what its assets, checks and jobs are called.

`tables` finds a stage's tables. `defs.table` adds what Dagster needs.
"""

from dataclasses import dataclass
from typing import Final

from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.stage.partitions import Partitions
from imgmig_dagster.stage.stages import Stage

SOURCE: Final = "source"
"""The asset of the rows, and the beginning of its name."""
MIGRATED: Final = "migrated"
"""The asset of the items, and the beginning of its name."""


@dataclass(frozen=True)
class StageTable:
    """A table of a stage. If it `is_only`, only source and target have its name.

    `others` are the mappings of the stage's other tables.
    """

    stage: Stage
    mapping: TableMapping
    partitions: Partitions
    partitions_per_run: int
    is_only: bool
    others: tuple[TableMapping, ...] = ()

    @property
    def name(self) -> str:
        """Its name in the declaration."""
        return self.mapping.name

    def asset(self, of: str) -> str:
        """The name of an asset: `SOURCE`, `MIGRATED`, or one that every table has by its own name."""
        return f"{of}_{self.name}" if of in (SOURCE, MIGRATED) else self.named(of)

    def named(self, what: str) -> str:
        """The name of a job, a schedule, a sensor."""
        return what if self.is_only else f"{self.name}_{what}"

    @property
    def option(self) -> str | None:
        """What commands need as `--table`; None where the stage has one table."""
        return None if self.is_only else self.name

    def group(self, of: str) -> str:
        """The group of an asset: one per table where there are several."""
        return of if self.is_only else self.name
