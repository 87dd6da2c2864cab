"""The spec of each asset: key, group, owner, description, columns, lineage, version, freshness, automation.

Specs are made from the declaration. `assets`, `repair_assets` and `whole_table` make the assets; `claims` has the
claims of their checks. The source and the target table are here too: they begin and end the graph, and no run makes
them.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

import dagster as dg

from imgmig_dagster.defs.table import Table
from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.rules.invalidation import RENEWED_WITHIN
from imgmig_dagster.stage.places import Places
from imgmig_dagster.stage.stage_table import MIGRATED, SOURCE
from imgmig_dagster.verification.verification_result import VERIFIER_VERSION

_OWNERS: Final = ("team:data-platform",)
# Dagster flags evidence that the schedules stopped renewing. For a partitioned asset it looks at the latest
# materialization of any partition: this catches a stopped schedule, but not one skipped partition.
_RENEWED_DAILY: Final = dg.FreshnessPolicy.time_window(fail_window=RENEWED_WITHIN)
_RENEWED_WEEKLY: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=8))
_ATTRIBUTE_TYPES: Final = {
    FieldType.TEXT: "S",
    FieldType.INTEGER: "N",
    FieldType.NUMBER: "N",
    FieldType.BOOLEAN: "BOOL",
    FieldType.TIMESTAMP: "S",
    FieldType.EPOCH: "N",
    FieldType.DATE: "S",
    FieldType.DOCUMENT: "M, L, S, N or BOOL",
    FieldType.LIST: "L",
    FieldType.TEXT_SET: "SS",
    FieldType.NUMBER_SET: "NS",
    FieldType.BINARY: "B",
    FieldType.LABEL: "S",
}


def asset_specs(table: Table) -> Mapping[str, dg.AssetSpec]:
    """The spec of each asset that a run makes, by what `Table.asset` makes its name of."""
    return dict(_made_by_runs(table))


def end_specs(table: Table, places: Places) -> list[dg.AssetSpec]:
    """The two ends: the rows that are migrated, and the items that come of them."""
    migrated = table.asset(MIGRATED)
    return [
        dg.AssetSpec(
            table.rows,
            group_name=table.group("source"),
            kinds={"postgres", "table"},
            owners=_OWNERS,
            description="The table in PostgreSQL, as the application writes it. No run of this platform changes it",
            metadata={
                "dagster/column_schema": columns_of(table.mapping),
                **_place(places.source, places.source_name(table.mapping)),
            },
        ),
        dg.AssetSpec(
            table.items,
            deps=[migrated],
            group_name=table.group("target"),
            kinds={"dynamodb", "table"},
            owners=_OWNERS,
            description="The table in DynamoDB: the items of the migration, and those that the application writes",
            metadata={
                "dagster/column_schema": attributes_of(table.mapping),
                "dagster/column_lineage": _lineage(
                    (name, dg.AssetKey(migrated), name) for name in dict(_origins(table.mapping))
                ),
                **_place(places.target, places.target_table),
            },
        ),
    ]


def columns_of(mapping: TableMapping) -> dg.TableSchema:
    """The source's columns that the mapping reads."""
    is_unique = len(mapping.identity) == 1
    found = {name: _column(name, "text", nullable=False, unique=is_unique) for name in mapping.identity}
    for field in mapping.fields:
        kind = field.type.value if field.template is None else "text"
        for name in field.columns:
            found.setdefault(name, _column(name, kind, field.nullable))
    return dg.TableSchema(list(found.values()))


def attributes_of(mapping: TableMapping) -> dg.TableSchema:
    """The attributes of an item, with DynamoDB's types."""
    return dg.TableSchema(
        [
            *(
                _column(each.attribute, each.type, nullable=False, description=each.template.text)
                for each in mapping.primary_key
            ),
            *(_attribute(field) for field in mapping.fields),
            *(
                _column(each.attribute, next(iter(each.value)), nullable=False, description="constant")
                for each in mapping.constants
            ),
            *_version(mapping),
        ]
    )


def _version(mapping: TableMapping) -> Iterator[dg.TableColumn]:
    if mapping.version is not None:
        yield _column(mapping.version.attribute, "N", nullable=False, description=f"{mapping.version.initial} at first")


def _made_by_runs(table: Table) -> Iterator[tuple[str, dg.AssetSpec]]:
    # The version shows in Dagster what other code made. Changes of the same two invalidate evidence
    # (`verification.evidence`).
    mapped = f"mapping {table.mapping.fingerprint()}"
    judged = f"{mapped}, verifier {VERIFIER_VERSION}"
    partitions = table.definition
    pictures = " and their pictures" if table.mapping.pictures else ""

    def spec(
        of: str, group: str, kind: str, description: str, deps: Sequence[str], **rest: Any
    ) -> tuple[str, dg.AssetSpec]:
        return of, dg.AssetSpec(
            table.asset(of),
            group_name=table.group(group),
            kinds={kind},
            owners=_OWNERS,
            description=description,
            deps=[table.asset(each) for each in deps] or [table.rows],
            **rest,
        )

    yield spec(
        SOURCE,
        "migration",
        "postgres",
        "The rows of a partition in PostgreSQL: how many, bytes, NULLs, digest, newest change, and which rows cannot "
        "become items. Reads only",
        deps=[],
        code_version=mapped,
        partitions_def=partitions,
    )
    yield spec(
        "dry_run_plan",
        "migration",
        "python",
        "The dry run: what a migration would do to each row, which rows it would reject, and what it would cost. Never "
        "writes",
        deps=[SOURCE],
        code_version=mapped,
        partitions_def=partitions,
    )
    yield spec(
        MIGRATED,
        "migration",
        "dynamodb",
        "The migration of a partition: its rows become items in DynamoDB. Every row has one outcome, and the outcomes "
        "add up. A run that was stopped resumes",
        deps=[SOURCE],
        code_version=mapped,
        partitions_def=partitions,
        metadata={
            "dagster/column_schema": attributes_of(table.mapping),
            "dagster/column_lineage": _lineage((name, table.rows, column) for name, column in _origins(table.mapping)),
        },
    )
    yield spec(
        "verification_report",
        "verification",
        "python",
        "The verification of a partition: every row is compared with its item, field by field. A red partition has "
        "faults, or something wrote to it since. Reads only",
        deps=[MIGRATED],
        code_version=judged,
        partitions_def=partitions,
        freshness_policy=_RENEWED_DAILY,
        automation_condition=_once_migrated(table),
    )
    yield spec(
        "repair_report",
        "repair",
        "dynamodb",
        "The repair of a partition: what was done about each row that the last verification listed, or, as a dry run, "
        f"what would be. An applied repair verifies these rows again, in `{table.asset('verification_report')}`",
        deps=["verification_report"],
        code_version=mapped,
        partitions_def=partitions,
    )
    yield spec(
        "table_census",
        "verification",
        "dynamodb",
        "The census: all items of the table compared with all rows. It finds items without a row, rows without an "
        "item, and rows outside of all partitions. Reads only",
        deps=[MIGRATED],
        code_version=judged,
        freshness_policy=_RENEWED_WEEKLY,
    )
    yield spec(
        "spot_check",
        "verification",
        "html",
        f"The sample: random rows beside their items{pictures}, on a page for a person to review. Reads only",
        deps=[MIGRATED],
        code_version=judged,
        freshness_policy=_RENEWED_DAILY,
    )
    yield spec(
        "orphan_report",
        "repair",
        "dynamodb",
        "The repair of items without a row: what was done about each that the last census listed, or, as a dry run, "
        "what would be",
        deps=["table_census"],
        code_version=mapped,
    )
    yield spec(
        "migration_report",
        "reporting",
        "html",
        "The report and the certificate: verdict, what blocks the cutover, and what to type next. Look here first",
        deps=["verification_report", "table_census", "spot_check"],
        code_version=judged,
    )


def _once_migrated(table: Table) -> dg.AutomationCondition[Any]:
    """Verifies a partition once a run has migrated it and nothing writes to it.

    Dagster has no event for changes of the source, or for migrations before the condition was turned on: `schedules`
    covers those.
    """
    return (
        dg.AutomationCondition.any_deps_updated().since_last_handled()
        & dg.AutomationCondition.all_deps_blocking_checks_passed()
        & ~dg.AutomationCondition.any_deps_in_progress()
        & ~dg.AutomationCondition.in_progress()
        & ~dg.AutomationCondition.asset_matches(table.asset("repair_report"), dg.AutomationCondition.in_progress())
    ).with_label("once migrated")


def _place(url: str | None, table: str | None) -> dict[str, str]:
    return {"dagster/uri": url, "dagster/table_name": table} if url and table else {}


def _attribute(field: Field) -> dg.TableColumn:
    # The open-source UI shows these words, and no column lineage.
    origin = f"from {', '.join(field.columns)}; " if field.columns else ""
    words = f"{origin}compared: {field.rule.value}"
    return _column(field.name, _ATTRIBUTE_TYPES[field.type], field.nullable, description=words)


def _column(
    name: str, kind: str, nullable: bool, unique: bool = False, description: str | None = None
) -> dg.TableColumn:
    constraints = dg.TableColumnConstraints(nullable=nullable, unique=unique)
    return dg.TableColumn(name, kind, description, constraints)


def _origins(mapping: TableMapping) -> list[tuple[str, str]]:
    """Each attribute that comes of a column, with that column; the others are constants."""
    return [
        *((each.attribute, column) for each in mapping.primary_key for column in each.template.columns),
        *((field.name, column) for field in mapping.fields for column in field.columns),
    ]


def _lineage(edges: Iterable[tuple[str, dg.AssetKey, str]]) -> dg.TableColumnLineage:
    found: dict[str, list[dg.TableColumnDep]] = {}
    for name, upstream, column in edges:
        found.setdefault(name, []).append(dg.TableColumnDep(asset_key=upstream, column_name=column))
    return dg.TableColumnLineage(found)
