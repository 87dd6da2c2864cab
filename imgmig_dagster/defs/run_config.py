"""Options of a single run: the config of the assets, as the launchpad and the jobs give it."""

from typing import Final

import dagster as dg
from pydantic import Field

_CONFIRM: Final = "In prod: the target table's name, which confirms that it is written"


_CONFIRM_DELETES: Final = (
    "How many items are deleted because their rows are gone: the number that runs asked for when they held them back, "
    "of all partitions of this run together"
)
_PARTITIONS: Final = "Of the run's partitions only these; all of them where none is named"


class MigrateConfig(dg.Config):
    """Options of one run of `migrated_images`."""

    start_over: bool = Field(False, description="Forget an interrupted pass, and begin at the window's start")
    retry_failures_only: bool = Field(False, description="Take up the rows of the failure ledger, and no others")
    confirm: str | None = Field(None, description=_CONFIRM)
    confirm_deletes: int | None = Field(None, description=_CONFIRM_DELETES)
    partitions: list[str] = Field([], description=_PARTITIONS)


class VerifyConfig(dg.Config):
    """Options of one run of `verification_report`."""

    partitions: list[str] = Field([], description=_PARTITIONS)

    only_failed: bool = Field(False, description="Look again only at rows that did not match, where that is enough")


class RepairConfig(dg.Config):
    """Options of one run of `repair_report`."""

    apply: bool = Field(
        False, description="Write to the target; by default a dry run, which only shows what would be done"
    )
    source_wins: bool = Field(False, description="Overwrite items that are newer than their rows, too")
    confirm: str | None = Field(None, description=_CONFIRM)
    partitions: list[str] = Field([], description=_PARTITIONS)


class DeleteOrphansConfig(dg.Config):
    """Options of one run of `orphan_report`."""

    apply: bool = Field(
        False, description="Delete from the target; by default a dry run, which only shows what would be done"
    )
    confirm: str | None = Field(None, description=_CONFIRM)
    confirm_deletes: int | None = Field(
        None, description="How many items are deleted: the number that the dry run or the last census names"
    )
    census: str | None = Field(
        None,
        description="Instead of the number: the run of the census whose orphan items are deleted, where they are few",
    )


class SpotCheckConfig(dg.Config):
    """How a sample is drawn."""

    count: int = Field(50, ge=1, le=1_000, description="Images to draw")
    seed: int | None = Field(
        None, description="Draws the same rows again, and replaces the last sample; by default a new one per run"
    )
    keep_last: bool = Field(
        True,
        description="Leave the last sample and its review in place, if both samples are clean and of the same table "
        "and mapping; false draws one for a new review",
    )
