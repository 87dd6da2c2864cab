"""What a stage's variables say of its tables, beside their declarations: loads without any service."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date, datetime, timezone
from pathlib import Path
from typing import Annotated, Final

from pydantic import BeforeValidator, Field, field_validator, model_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.ignored_columns import parse_ignored
from imgmig_dagster.mapping.declaration import Grain, Partitions, earliest_day
from imgmig_dagster.mapping.spec import TableMapping

_OF_ONE_TABLE: Final = ("source_schema", "source_table", "ignored_columns", "partition_grain", "partition_start")


class TableSettings(BaseSettings):
    """Where the tables are declared, and what holds of the only one instead of what its declaration says."""

    model_config = SettingsConfigDict(
        env_prefix="IMGMIG_", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
    )

    mappings: Path | None = Field(None, description="folder with the declarations of the tables")
    source_schema: str | None = Field(None, description="schema of the only table; by default the declaration's")
    source_table: str | None = Field(None, description="name of the only table; by default the declaration's")
    ignored_columns: Annotated[Mapping[str, str], NoDecode, BeforeValidator(parse_ignored)] = Field(
        default_factory=dict,
        validate_default=False,
        description="columns of the only table that are not migrated on purpose, with the reason",
    )
    partition_grain: Grain = Field("monthly", description="length of a partition's time window, in UTC")
    partition_start: date = Field(date(2020, 1, 1), description="a day in the first partition")
    partitions_per_run: int = Field(100, ge=1, le=10_000, description="partitions of one run of a backfill, at most")

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
        """The mapping of a table with what the settings say of it instead.

        Raises:
            SettingsError: a column that is to be ignored is mapped.
        """
        schema, table = self.source_schema or mapping.schema, self.source_table or mapping.table
        return replace(mapping, schema=schema, table=table).ignoring(self.ignored_columns)

    def cut(self, declared: Partitions) -> Partitions:
        """The partitions of a declaration, as far as no variable says otherwise.

        Raises:
            SettingsError: the first partition is not possible.
        """
        given = self.model_fields_set
        if declared.buckets is not None:
            if said := [name for name in self.of_one_table if name.startswith("IMGMIG_PARTITION")]:
                raise SettingsError(f"the declaration cuts the table into buckets: unset {' and '.join(said)}")
            return declared
        grain = self.partition_grain if "partition_grain" in given else declared.grain or self.partition_grain
        start = self.partition_start if "partition_start" in given else declared.start or self.partition_start
        if start > datetime.now(tz=timezone.utc).date():
            raise SettingsError(f"the first partition begins in the future, on {start}")
        if start < (earliest := earliest_day(grain)):
            raise SettingsError(f"the earliest day of a first partition is {earliest}, and {start} is before it")
        return Partitions(grain, start)
