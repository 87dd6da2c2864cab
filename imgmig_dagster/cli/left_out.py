"""Reports what no migration reaches: rows in no partition, rows with a repeated id, and columns that are not mapped."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from imgmig_dagster.cli.console import CommandResult
from imgmig_dagster.source.counting import RowsOutside
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.services import target_identity
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.inventory import SourceInventory
from imgmig_dagster.verification.schema_changes import schema_drift

_SHOWN = 3


def repeated_ids(state: StateStore, keys: Sequence[str]) -> Mapping[str, SourceInventory]:
    """The inventories of the partitions with a repeated id, by key."""
    found = {key: load_record(state, names.inventory(key), SourceInventory) for key in keys}
    return {key: inventory for key, inventory in found.items() if inventory and inventory.repeated}


def naming_columns(
    finding: CommandResult, state: StateStore, source: SourceReader, settings: Settings
) -> CommandResult:
    """What a command found, with the columns of the source that no item carries, and what has changed in the schema of
    either side; it ends as it would without them, but for a verification that would be PASS."""
    columns = source.columns_not_migrated()
    drift = schema_drift(state, source, lambda: target_identity(settings, source.mapping))
    loses_columns = "verdicts" in finding.document and bool(columns.unmapped)
    return replace(
        finding,
        exit_code=max(finding.exit_code, int(loses_columns)),
        document={**finding.document, "columns": columns, "schema": drift},
        lines=[*finding.lines, *drift.lines, *columns.lines],
    )


def naming_left_out(
    finding: CommandResult,
    outside: RowsOutside,
    repeated: Mapping[str, SourceInventory],
    order_column: str,
    whole_table: bool,
    set_in: str,
) -> CommandResult:
    """What a command found, with the rows that it cannot have reached: the last thing that a person reads.

    It ends with 1 for rows outside of all partitions only where it was of the `whole_table`. `set_in` tells where the
    first partition is set.
    """
    lines = [
        f"{key}: {each.repeated:,} ids are in the table more than once, or NULL, such as "
        f"{', '.join(each.repeated_ids[:_SHOWN])}: this partition goes on once they are fixed in the source"
        for key, each in repeated.items()
    ]
    if outside.rows:
        lines.append(
            f"{outside.rows:,} rows are in no partition, and are not migrated, such as "
            f"{', '.join(outside.sample_ids[:_SHOWN])}: set {set_in} to a day before theirs, or fix "
            f"rows whose {order_column} is NULL, infinite or in the future"
        )
    document = {
        "rows_outside": outside.rows,
        "rows_outside_sample": list(outside.sample_ids),
        "repeated_ids": {key: list(each.repeated_ids) for key, each in repeated.items()},
    }
    is_clean = not repeated and not (outside.rows and whole_table)
    return replace(
        finding,
        exit_code=max(finding.exit_code, 0 if is_clean else 1),
        document={**finding.document, **document},
        lines=[*finding.lines, *lines],
    )
