"""Writes the report's tables as CSV, for spreadsheets."""

import csv
import io
from collections.abc import Mapping, Sequence
from typing import Any, Final

from imgmig_dagster.figures import Figure, figures_of
from imgmig_dagster.reporting.escaping import spreadsheet_cell
from imgmig_dagster.reporting.model import SummaryReport
from imgmig_dagster.reporting.partition_summary import PartitionSummary
from imgmig_dagster.rules.differences import RowVerdict
from imgmig_dagster.state import names

# The columns of a partition, by the attributes that they show. Columns that are not of figures are named here.
_PASS: Final = {
    "read": "total",
    **{name: name for name in ("migrated", "skipped", "failed", "duration_s")},
    "rows_per_second": "rate",
    "write_mode": "write_mode",
    "migrated_at": "finished_at",
}
_EVIDENCE: Final = {**{verdict.value: verdict.value for verdict in RowVerdict}, "verified_at": "finished_at"}
_REQUESTS: Final = {"retries": "retries", "throttles": "throttles"}
_LATENCIES: Final = tuple(f"{kind}_{name}_ms" for kind in ("read", "write") for name in ("p50", "p95", "p99"))
_PARTITIONS: Final = (*("partition", "verdict", "rows", *_PASS, "in_ledger", *_EVIDENCE, *_REQUESTS, *_LATENCIES),)


def csv_tables(report: SummaryReport) -> dict[str, bytes]:
    """The CSV files by name, in UTF-8. No cell can be taken for a formula.

    The columns of rows' values are empty unless the report shows them. Columns that are not migrated have their own
    file where there are any.
    """
    columns = report.facts.columns
    treated = [(column, "unmapped", "") for column in columns.unmapped]
    treated += [(column, "ignored", reason) for column, reason in columns.ignored.items()]
    return {
        **({names.COLUMNS_TABLE: _csv(("column", "treatment", "reason"), treated)} if treated else {}),
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
    latencies = summary.traffic.as_numbers()
    return (
        *(summary.partition, summary.verdict.value, summary.rows),
        *_values(summary.migration, _PASS),
        len(summary.failures),
        *_values(summary.evidence, _EVIDENCE),
        *_values(summary.migration, _REQUESTS),
        *(latencies.get(name) for name in _LATENCIES),
    )


def _values(result: object | None, columns: Mapping[str, str]) -> Sequence[Any]:
    if result is None:
        return [None] * len(columns)
    declared: Mapping[str, Figure] = figures_of(type(result))  # type: ignore[arg-type]  # a class is hashable
    values = {name: getattr(result, name) for name in columns.values()}
    return [declared[name].shown(value) if name in declared else value for name, value in values.items()]


def _csv(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    with io.StringIO() as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(columns)
        table.writerows([spreadsheet_cell(value) for value in row] for row in rows)
        return file.getvalue().encode()
