"""What the graph shows of its assets: columns, lineage and versions, as the mapping declares them."""

from typing import Any

import dagster as dg
import pytest

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.unit.mapping.rows import FULL_ITEM

MIGRATED = dg.AssetKey("migrated_images")
SOURCE_TABLE = dg.AssetKey(["postgresql", "images"])
TARGET_TABLE = dg.AssetKey(["dynamodb", "images"])


@pytest.fixture
def graph(clean_environment: pytest.MonkeyPatch) -> Any:  # noqa: ARG001
    """The assets of stage dev."""
    return build_definitions(Stage.DEV).resolve_asset_graph()


def columns(graph: Any, asset: dg.AssetKey) -> dict[str, tuple[str, bool]]:
    schema = graph.get(asset).metadata["dagster/column_schema"]
    return {column.name: (column.type, column.constraints.nullable) for column in schema.columns}


def origins(graph: Any, asset: dg.AssetKey) -> dict[str, list[tuple[dg.AssetKey, str]]]:
    lineage = graph.get(asset).metadata["dagster/column_lineage"].deps_by_column
    return {name: [(dep.asset_key, dep.column_name) for dep in deps] for name, deps in lineage.items()}


def test_the_source_has_the_columns_of_the_mapping(graph: Any) -> None:
    assert columns(graph, SOURCE_TABLE) == {
        "id": ("text", False),
        **{field.column: (field.type.value, field.nullable) for field in IMAGE.fields},
    }


@pytest.mark.parametrize("asset", [MIGRATED, TARGET_TABLE], ids=str)
def test_the_items_have_the_attributes_that_the_application_writes(graph: Any, asset: dg.AssetKey) -> None:
    shown = columns(graph, asset)
    assert {name: kind for name, (kind, _nullable) in shown.items()} == {
        name: next(iter(value)) for name, value in FULL_ITEM.items()
    }
    assert {name for name, (_kind, nullable) in shown.items() if nullable} == {"thumbnailS3Key", "width", "height"}


def test_the_words_of_an_attribute_name_its_column(graph: Any) -> None:
    schema = graph.get(MIGRATED).metadata["dagster/column_schema"]
    words = {column.name: column.description for column in schema.columns}
    assert words["userId"] == "from user_id; compared: exact"


def test_each_attribute_is_traced_to_its_column(graph: Any) -> None:
    traced = origins(graph, MIGRATED)
    assert traced["PK"] == [(SOURCE_TABLE, "id")]
    assert traced["thumbnailS3Key"] == [(SOURCE_TABLE, "thumbnail_s3_key")]
    assert {column for deps in traced.values() for _asset, column in deps} == set(IMAGE.columns)
    assert traced.keys() == FULL_ITEM.keys() - {"SK", "version"}, "what is constant comes of no column"
    assert origins(graph, TARGET_TABLE) == {name: [(MIGRATED, name)] for name in traced}


def test_a_version_of_code_says_by_which_rules_an_asset_was_made(graph: Any) -> None:
    versions = {node.key.to_user_string(): node.code_version for node in graph.asset_nodes if node.is_executable}
    mapped = f"mapping {IMAGE.fingerprint()}"
    assert all(version.startswith(mapped) for version in versions.values())
    assert {name for name, version in versions.items() if "verifier" in version} == {
        "verification_report",
        "table_census",
        "spot_check",
        "migration_report",
    }


def test_tables_and_resources_say_where_they_are_and_no_secret(clean_environment: pytest.MonkeyPatch) -> None:
    for name, value in {
        "IMGMIG_SOURCE_URL": "postgresql://reader:geheim@db.example:5433/app?sslmode=verify-full&password=geheim",
        "IMGMIG_TARGET_TABLE": "images-staging",
        "IMGMIG_STATE_URL": "s3://state/imgmig",
        "AWS_REGION": "eu-central-1",
        "AWS_ENDPOINT_URL": "https://key:geheim@dynamodb.example",
    }.items():
        clean_environment.setenv(name, value)
    definitions = build_definitions(Stage.STAGING)
    graph, found = definitions.resolve_asset_graph(), definitions.resources or {}
    assert graph.get(SOURCE_TABLE).metadata["dagster/uri"] == "postgresql://db.example:5433/app"
    assert graph.get(SOURCE_TABLE).metadata["dagster/table_name"] == "public.images"
    assert graph.get(TARGET_TABLE).metadata["dagster/uri"] == "dynamodb://eu-central-1/images-staging"
    assert found["source"].database == "postgresql://db.example:5433/app"
    target = found["target"]
    assert (target.table, target.region, target.endpoint) == (
        "images-staging",
        "eu-central-1",
        "https://dynamodb.example",
    )
    assert (found["state"].place, found["reports"].place) == ("s3://state/imgmig", None)
    shown = [node.metadata for node in graph.asset_nodes], {name: repr(each) for name, each in found.items()}
    assert "geheim" not in repr(shown)
    assert "reader" not in repr(shown)


def test_a_source_url_that_nobody_can_read_keeps_no_definitions_from_loading(
    clean_environment: pytest.MonkeyPatch,
) -> None:
    clean_environment.setenv("IMGMIG_SOURCE_URL", "postgresql://[::1/app")
    definitions = build_definitions(Stage.STAGING)
    assert (definitions.resources or {})["source"].database is None
