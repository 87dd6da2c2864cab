"""The report's tables as CSV, for spreadsheets. pandas is imported only when they are made."""

from collections.abc import Sequence
from typing import Any

from imgmig_dagster.migration.results import MigrationResult
from imgmig_dagster.reporting.escaping import spreadsheet_cell
from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.reporting.partitions import PartitionSummary
from imgmig_dagster.state import names
from imgmig_dagster.verification.results import Verdict

_LATENCIES = tuple(f"{kind}_{name}_ms" for kind in ("read", "write") for name in ("p50", "p95", "p99"))
_PARTITIONS = (
    *("partition", "verdict", "rows", "read", "migrated", "skipped", "failed", "duration_s", "rows_per_second"),
    *("write_mode", "migrated_at", "in_ledger", "match", "mismatch", "missing", "unverified", "verified_at"),
    *("retries", "throttles", *_LATENCIES),
)


def csv_tables(report: SummaryReport) -> dict[str, bytes]:
    """The CSV files by name, UTF-8. No cell can be taken for a formula.

    The columns of rows' values are empty unless the report shows them.
    """
    return {
        names.PARTITIONS_TABLE: _csv(_PARTITIONS, [_partition(each) for each in report.partitions]),
        names.FAILURES_TABLE: _csv(
            ("partition", "key", "field", "code", "reason", "permanent", "value"),
            [
                (partition, each.row_id, each.field, each.code, each.reason, each.permanent, each.value)
                for partition, each in report.failures
            ],
        ),
        names.MISMATCHES_TABLE: _csv(
            ("partition", "key", "attribute", "verdict", "expected", "found"),
            [
                (partition, each.row_id, each.attribute, each.verdict.value, each.expected, each.found)
                for partition, each in report.mismatches
            ],
        ),
    }


def _partition(summary: PartitionSummary) -> Sequence[Any]:
    migration, evidence, numbers = summary.migration, summary.evidence, summary.traffic.as_numbers()
    return (
        summary.partition,
        summary.verdict.value,
        summary.rows,
        *(_pass(migration) if migration else (None,) * 8),
        len(summary.failures),
        *((evidence.verdicts.get(verdict.value, 0) for verdict in Verdict) if evidence else (None,) * len(Verdict)),
        evidence.finished_at if evidence else None,
        *((migration.retries, migration.throttles) if migration else (None, None)),
        *(numbers.get(name) for name in _LATENCIES),
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
