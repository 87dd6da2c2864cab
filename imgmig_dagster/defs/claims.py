"""What each asset check claims. `checks` judges the claims; `remedies` says what to do if one fails."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import dagster as dg

from imgmig_dagster.defs.table import Table
from imgmig_dagster.stage.stage_table import MIGRATED, SOURCE


@dataclass(frozen=True)
class Claim:
    """What a check claims. If a blocking one fails, the run fails and skips what is downstream in it.

    `asset` is as `Table.asset` takes it.
    """

    asset: str
    name: str
    claim: str
    blocking: bool = False


CLAIMS: Final = (
    Claim(SOURCE, "rows_are_mappable", "Every row can be written as an item"),
    Claim(SOURCE, "ids_are_unique", "No id of the partition is in the table twice", blocking=True),
    Claim(SOURCE, "columns_are_declared", "Every column is mapped, or named as ignored with a reason"),
    Claim(
        MIGRATED,
        "every_row_is_accounted_for",
        "The outcomes of the pass sum to the ids of the window, as one snapshot gives them afterwards",
        blocking=True,
    ),
    Claim(MIGRATED, "no_failed_items", "The failure ledger of the partition is empty"),
    Claim("verification_report", "zero_mismatches", "Every row that was looked at matches its item", blocking=True),
    Claim(
        "verification_report",
        "coverage_is_complete",
        "Every row of the window was looked at, and none is unverified",
        blocking=True,
    ),
    Claim(
        "verification_report",
        "timestamps_are_exact",
        "Timestamps are the row's milliseconds, cut, and not only within tolerance",
    ),
    Claim("repair_report", "every_fault_is_repaired", "No fault that the last verification found is left"),
    Claim("table_census", "no_missing_items", "Every row of the source has its item"),
    Claim("table_census", "no_orphan_items", "Every item of the target has its row"),
    Claim("table_census", "no_differing_items", "Every item of the target says what its row says"),
    Claim("table_census", "no_rows_outside_partitions", "Every row is in a partition"),
    Claim("table_census", "no_repeated_ids", "No id is in the source twice, and none is NULL"),
    Claim("table_census", "counts_agree", "Every way of reading gives the same number of rows"),
    Claim("orphan_report", "every_orphan_is_deleted", "No item without a row that the last census found is left"),
    Claim("spot_check", "spot_check_is_clean", "Every image of the sample agrees on both sides"),
    Claim(
        "spot_check",
        "pictures_are_as_declared",
        "S3 has every picture of the sample, of the declared size and type, and every declared thumbnail",
    ),
    Claim(
        "migration_report",
        "ready_for_cutover",
        "All evidence exists, still counts, and is clean; a person has reviewed the spot check and found no issue",
    ),
)


def specs_of(table: Table, asset: str, partitions: dg.PartitionsDefinition[str] | None) -> Sequence[dg.AssetCheckSpec]:
    """The specs of an asset's checks, partitioned like the asset."""
    return [
        dg.AssetCheckSpec(
            claim.name,
            asset=table.asset(asset),
            description=claim.claim,
            blocking=claim.blocking,
            partitions_def=partitions,
        )
        for claim in CLAIMS
        if claim.asset == asset
    ]
