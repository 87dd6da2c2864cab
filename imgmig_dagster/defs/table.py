"""One table in Dagster: its partitions and the keys of its assets."""

from dataclasses import dataclass
from functools import cached_property

import dagster as dg

from imgmig_dagster.stage.partitions import Partitions, TimeWindows
from imgmig_dagster.stage.stage_table import StageTable


@dataclass(frozen=True)
class Table(StageTable):
    """A table of a stage, as Dagster knows it."""

    @cached_property
    def definition(self) -> dg.PartitionsDefinition[str]:
        """Its partitions."""
        return definition_of(self.partitions)

    @property
    def rows(self) -> dg.AssetKey:
        """The table in PostgreSQL, which no run makes."""
        return dg.AssetKey(["postgresql", self.name])

    @property
    def items(self) -> dg.AssetKey:
        """Its items in DynamoDB, those of the application among them."""
        return dg.AssetKey(["dynamodb", self.name])

    @property
    def policy(self) -> dg.BackfillPolicy:
        """How a backfill is cut into runs."""
        return dg.BackfillPolicy.multi_run(self.partitions_per_run)


def definition_of(partitions: Partitions) -> dg.PartitionsDefinition[str]:
    """Partitions as Dagster knows them: those of time grow with it, others are listed when the definitions load."""
    if not isinstance(partitions, TimeWindows):
        return dg.StaticPartitionsDefinition([window.partition for window in partitions.windows()])
    start = partitions.first.isoformat()
    if partitions.grain == "monthly":
        return dg.MonthlyPartitionsDefinition(start, timezone="UTC", end_offset=1)
    if partitions.grain == "weekly":
        return dg.WeeklyPartitionsDefinition(start, timezone="UTC", end_offset=1)
    return dg.DailyPartitionsDefinition(start, timezone="UTC", end_offset=1)
