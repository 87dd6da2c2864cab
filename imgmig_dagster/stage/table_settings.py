"""What a stage's settings say about its tables, apart from their declarations. Loads without any service."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timezone
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, field_validator, model_validator

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.mapping.declaration import DeclaredPartitions, Grain, earliest_day
from imgmig_dagster.mapping.ignored_columns import parse_ignored
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.stage.sections import TablesSection

_OF_ONE_TABLE: Final = ("source_schema", "source_table", "ignored_columns", "partition_grain", "partition_start")


class TableSettings(TablesSection):
    """The section [tables], and what deprecated variables say about a stage's only table instead of its declaration.

    `sandbox_start` is that of the rows that the sandbox made, for a table that declares none.
    """

    source_schema: str | None = None
    source_table: str | None = None
    ignored_columns: Annotated[Mapping[str, str], BeforeValidator(parse_ignored)] = Field(
        default_factory=dict, validate_default=False
    )
    partition_grain: Grain = "monthly"
    partition_start: date = date(2020, 1, 1)
    sandbox_start: date | None = None

    @field_validator("partition_start")
    @classmethod
    def _is_past(cls, value: date) -> date:
        if value > datetime.now(tz=timezone.utc).date():
            raise ValueError("the first partition begins in the future")
        return value

    @model_validator(mode="after")
    def _has_a_year_of_four_digits(self) -> "TableSettings":
        earliest = earliest_day(self.partition_grain)
        if self.partition_start < earliest:
            raise ValueError(f"IMGMIG_PARTITION_START: the earliest day of a first partition is {earliest}")
        return self

    @property
    def of_one_table(self) -> list[str]:
        """The variables that are set, and say something of the only table."""
        return [f"IMGMIG_{name.upper()}" for name in _OF_ONE_TABLE if name in self.model_fields_set]

    def applied_to(self, mapping: TableMapping) -> TableMapping:
        """The mapping of a table, with the settings that replace parts of it.

        Raises:
            SettingsError: a mapped column is named as ignored.
        """
        schema, table = self.source_schema or mapping.schema, self.source_table or mapping.table
        return replace(mapping, schema=schema, table=table).ignoring(self.ignored_columns)

    def cut(self, declared: DeclaredPartitions) -> DeclaredPartitions:
        """The partitions of a declaration, unless a variable says otherwise.

        Raises:
            SettingsError: the first partition is not possible.
        """
        given = self.model_fields_set
        if declared.buckets is not None:
            if said := [name for name in self.of_one_table if name.startswith("IMGMIG_PARTITION")]:
                raise SettingsError(f"the declaration cuts the table into buckets: unset {' and '.join(said)}")
            return declared
        grain, start = self.partition_grain, self.partition_start
        if "partition_grain" not in given:
            grain = declared.grain or grain
        if "partition_start" not in given:
            start = declared.start or self.sandbox_start or start
        if start > datetime.now(tz=timezone.utc).date():
            raise SettingsError(f"the first partition begins in the future, on {start}")
        if start < (earliest := earliest_day(grain)):
            raise SettingsError(f"the earliest day of a first partition is {earliest}, and {start} is before it")
        return DeclaredPartitions(grain, start)
