"""The report's tables as CSV, for spreadsheets. pandas is imported only when they are made."""

from collections.abc import Sequence
from typing import Any

from imgmig_dagster.migration.results import MigrationResult
from imgmig_dagster.reporting.escaping import spreadsheet_cell
from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.reporting.partitions import PartitionSummary
from imgmig_dagster.verification.results import Verdict

_PARTITIONS = (
    *("partition", "verdict", "rows", "read", "migrated", "skipped", "failed", "duration_s", "rows_per_second"),
    *("write_mode", "migrated_at", "in_ledger", "match", "mismatch", "missing", "unverified", "verified_at"),
)


def csv_tables(report: SummaryReport) -> dict[str, bytes]:
    """The CSV files by name, UTF-8. No cell can be taken for a formula, and none holds a row's values."""
    return {
        "partitions.csv": _csv(_PARTITIONS, [_partition(each) for each in report.partitions]),
        "failures.csv": _csv(
            ("partition", "key", "field", "code", "reason", "permanent"),
            [
                (partition, failure.row_id, failure.field, failure.code, failure.reason, failure.permanent)
                for partition, failure in report.failures
            ],
        ),
        "mismatches.csv": _csv(
            ("partition", "key", "attribute", "verdict"),
            [
                (partition, mismatch.row_id, mismatch.attribute, mismatch.verdict.value)
                for partition, mismatch in report.mismatches
            ],
        ),
    }


def _partition(summary: PartitionSummary) -> Sequence[Any]:
    migration, evidence = summary.migration, summary.evidence
    return (
        summary.partition,
        summary.verdict.value,
        summary.rows,
        *(_pass(migration) if migration else (None,) * 8),
        len(summary.failures),
        *((evidence.verdicts.get(verdict.value, 0) for verdict in Verdict) if evidence else (None,) * len(Verdict)),
        evidence.finished_at if evidence else None,
    )


def _pass(migration: MigrationResult) -> Sequence[Any]:
    return (
        *(migration.total, migration.migrated, migration.skipped, migration.failed),
        *(migration.duration_s, round(migration.rate, 1), migration.write_mode, migration.finished_at),
    )


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    import pandas as pd

    cells = [[spreadsheet_cell(value) for value in row] for row in rows]
    # As objects: a column of integers with a gap would become one of floats.
    text: str = pd.DataFrame(cells, columns=list(columns), dtype=object).to_csv(index=False)
    return text.encode()
