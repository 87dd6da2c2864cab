"""What Dagster knows of each asset: key, place, owner, description, columns, lineage, version, freshness, automation.

Made from the one field list. How an asset is made is in `assets`, `repair` and `whole_table`; what its checks claim is
in `claims`. Both tables are here too: they begin and end the graph, and no run makes them.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import dagster as dg

from imgmig_dagster.mapping.fields import Field, FieldType
from imgmig_dagster.mapping.image import IMAGE
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.places import Places
from imgmig_dagster.verification.evidence import RENEWED_WITHIN
from imgmig_dagster.verification.results import VERIFIER_VERSION

SOURCE_TABLE: Final = dg.AssetKey(["postgresql", "images"])
TARGET_TABLE: Final = dg.AssetKey(["dynamodb", "images"])

_OWNERS: Final = ("team:data-platform",)
# Evidence that its schedule no longer renews shows on its asset's page. Of a partitioned asset Dagster judges the last
# materialization of any partition: that the rotation stands still is seen, not that one partition was left out.
_RENEWED_DAILY: Final = dg.FreshnessPolicy.time_window(fail_window=RENEWED_WITHIN)
_RENEWED_WEEKLY: Final = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=8))
# Dagster shows by the version what other code made. The same two void evidence (`verification.evidence`).
_MAPPED: Final = f"mapping {IMAGE.fingerprint()}"
_JUDGED: Final = f"{_MAPPED}, verifier {VERIFIER_VERSION}"
# A partition is verified once a run has migrated it, and nothing writes to it. Dagster has no event of what changes in
# the source, or was migrated before the condition was turned on: that is left to `schedules`.
_ONCE_MIGRATED: Final = (
    dg.AutomationCondition.any_deps_updated().since_last_handled()
    & dg.AutomationCondition.all_deps_blocking_checks_passed()
    & ~dg.AutomationCondition.any_deps_in_progress()
    & ~dg.AutomationCondition.in_progress()
    & ~dg.AutomationCondition.asset_matches("repair_report", dg.AutomationCondition.in_progress())
).with_label("once migrated")
_ATTRIBUTE_TYPES: Final = {FieldType.TEXT: "S", FieldType.TIMESTAMP: "S", FieldType.INTEGER: "N"}


def asset_specs(partitions: dg.TimeWindowPartitionsDefinition) -> Mapping[str, dg.AssetSpec]:
    """The spec of each asset that a run makes, by its name."""
    return {spec.key.to_user_string(): spec for spec in _made_by_runs(partitions)}


def table_specs(places: Places) -> list[dg.AssetSpec]:
    """The two tables: what is migrated, and what comes of it."""
    return [
        dg.AssetSpec(
            SOURCE_TABLE,
            group_name="tables",
            kinds={"postgres", "table"},
            owners=_OWNERS,
            description="The source: the rows as the application writes them",
            metadata={
                "dagster/column_schema": columns_of(IMAGE),
                **_place(places.source, places.source_name),
            },
        ),
        dg.AssetSpec(
            TARGET_TABLE,
            deps=["migrated_images"],
            group_name="tables",
            kinds={"dynamodb", "table"},
            owners=_OWNERS,
            description="The target: the items, those of the application among them",
            metadata={
                "dagster/column_schema": attributes_of(IMAGE),
                "dagster/column_lineage": _lineage(
                    (name, dg.AssetKey("migrated_images"), name) for name, _column in _origins(IMAGE)
                ),
                **_place(places.target, places.target_table),
            },
        ),
    ]


def columns_of(mapping: TableMapping) -> dg.TableSchema:
    """The source's columns that the mapping reads."""
    return dg.TableSchema(
        [
            *(_column(name, "text", nullable=False, unique=len(mapping.identity) == 1) for name in mapping.identity),
            *(_column(field.column, field.type.value, field.nullable) for field in mapping.fields),
        ]
    )


def attributes_of(mapping: TableMapping) -> dg.TableSchema:
    """The attributes of an item, with DynamoDB's types."""
    return dg.TableSchema(
        [
            *(
                _column(each.attribute, each.type, nullable=False, description=each.template.text)
                for each in mapping.primary_key
            ),
            *(_attribute(field) for field in mapping.fields),
            *_version(mapping),
        ]
    )


def _version(mapping: TableMapping) -> Iterator[dg.TableColumn]:
    if mapping.version is not None:
        yield _column(mapping.version.attribute, "N", nullable=False, description=f"{mapping.version.initial} at first")


def _made_by_runs(partitions: dg.TimeWindowPartitionsDefinition) -> Iterator[dg.AssetSpec]:
    yield _spec(
        "source_images",
        "migration",
        "postgres",
        "Inventory of the source rows: count, bytes, NULLs, digest, watermark, and whether each can be mapped",
        deps=[SOURCE_TABLE],
        code_version=_MAPPED,
        partitions_def=partitions,
    )
    yield _spec(
        "migration_plan",
        "migration",
        "python",
        "The dry run: what a migration would do to each row, rejects, write units, cost. Never writes",
        deps=["source_images"],
        code_version=_MAPPED,
        partitions_def=partitions,
    )
    yield _spec(
        "migrated_images",
        "migration",
        "dynamodb",
        "The items written, with an outcome for every row of the window",
        deps=["source_images"],
        code_version=_MAPPED,
        partitions_def=partitions,
        metadata={
            "dagster/column_schema": attributes_of(IMAGE),
            "dagster/column_lineage": _lineage((name, SOURCE_TABLE, column) for name, column in _origins(IMAGE)),
        },
    )
    yield _spec(
        "verification_report",
        "verification",
        "python",
        "Every row of the window compared with its item, field by field, by strongly consistent reads",
        deps=["migrated_images"],
        code_version=_JUDGED,
        partitions_def=partitions,
        freshness_policy=_RENEWED_DAILY,
        automation_condition=_ONCE_MIGRATED,
    )
    yield _spec(
        "repair_report",
        "migration",
        "dynamodb",
        "What was done about each key that the last verification listed; what would be done, unless applied. Once "
        "applied, those keys are verified again, and the checks of `verification_report` evaluated anew",
        deps=["verification_report"],
        code_version=_MAPPED,
        partitions_def=partitions,
    )
    yield _spec(
        "table_census",
        "verification",
        "dynamodb",
        "A full parallel scan of the target against the whole source: keys and content",
        deps=["migrated_images"],
        code_version=_JUDGED,
        freshness_policy=_RENEWED_WEEKLY,
    )
    yield _spec(
        "spot_check",
        "verification",
        "html",
        "Random images, both records side by side and their pictures, for a person to review",
        deps=["migrated_images"],
        code_version=_JUDGED,
        freshness_policy=_RENEWED_DAILY,
    )
    yield _spec(
        "orphan_report",
        "migration",
        "dynamodb",
        "What was done about each orphan that the last census listed; what would be done, unless applied",
        deps=["table_census"],
        code_version=_MAPPED,
    )
    yield _spec(
        "migration_summary",
        "reporting",
        "html",
        "The report for people, and the certificate for machines, built from evidence, whatever the checks say",
        deps=["verification_report", "table_census", "spot_check"],
        code_version=_JUDGED,
    )


def _spec(name: str, group: str, kind: str, description: str, **rest: Any) -> dg.AssetSpec:
    return dg.AssetSpec(name, group_name=group, kinds={kind}, owners=_OWNERS, description=description, **rest)


def _place(url: str | None, table: str | None) -> dict[str, str]:
    return {"dagster/uri": url, "dagster/table_name": table} if url and table else {}


def _attribute(field: Field) -> dg.TableColumn:
    return _column(
        field.attribute, _ATTRIBUTE_TYPES[field.type], field.nullable, description=f"compared: {field.rule.value}"
    )


def _column(
    name: str, kind: str, nullable: bool, unique: bool = False, description: str | None = None
) -> dg.TableColumn:
    constraints = dg.TableColumnConstraints(nullable=nullable, unique=unique)
    return dg.TableColumn(name, kind, description, constraints)


def _origins(mapping: TableMapping) -> list[tuple[str, str]]:
    """Each attribute that comes of a column, with that column; the others are constants."""
    return [
        *((each.attribute, column) for each in mapping.primary_key for column in each.template.columns),
        *((field.attribute, field.column) for field in mapping.fields),
    ]


def _lineage(edges: Iterable[tuple[str, dg.AssetKey, str]]) -> dg.TableColumnLineage:
    return dg.TableColumnLineage(
        {name: [dg.TableColumnDep(asset_key=upstream, column_name=column)] for name, upstream, column in edges}
    )
