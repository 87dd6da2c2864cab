"""How `created_at` is cut into partitions, and these into runs: settings that load without any service."""

from datetime import date, datetime, timezone
from typing import Final, Literal, TypeAlias

from pydantic import Field, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

Grain: TypeAlias = Literal["daily", "weekly", "monthly"]

_FIRST_DAY: Final = date(1000, 1, 1)
_FIRST_SUNDAY: Final = date(1000, 1, 5)


class Partitioning(BaseSettings):
    """How `created_at` is cut into partitions; needed, and loadable, without any service."""

    model_config = SettingsConfigDict(
        env_prefix="IMGMIG_", env_ignore_empty=True, extra="ignore", frozen=True, populate_by_name=True
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
    def _has_a_year_of_four_digits(self) -> "Partitioning":
        # Dagster writes keys by strftime, which leaves out the zeros of earlier years. A week may begin a year before.
        earliest = _FIRST_SUNDAY if self.partition_grain == "weekly" else _FIRST_DAY
        if self.partition_start < earliest:
            raise ValueError(f"IMGMIG_PARTITION_START: the earliest day of a first partition is {earliest}")
        return self
