"""The example project: two tables of PostgreSQL become items of one DynamoDB table, each by a component of its own."""

import importlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from dagster.components.core.package_entry import get_package_objects_in_module

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.defs.component import TableMigration
from imgmig_dagster.local_runs.instance import causes
from imgmig_dagster.mapping.declaration import DeclarationRefused
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import COMPONENT as TABLE
from imgmig_dagster.stage.tables import declarations
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.verification.census_results import CensusResult
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer
from imgmig_dagster_tests.orchestration.documents import REPOSITORY

EXAMPLE = REPOSITORY / "examples" / "two_tables"
ORDER = "00000000-0000-0000-0000-000000000001"
QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


@pytest.fixture
def project(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The example's module of definitions."""
    monkeypatch.syspath_prepend(str(EXAMPLE))
    yield importlib.import_module("two_tables.definitions")
    forget_the_project()


def forget_the_project() -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "two_tables"]:
        del sys.modules[name]


@pytest.fixture
def shop(platform: Platform) -> Iterator[Platform]:
    """The stage with the example's tables, a row in the one and two in the other."""
    owner = platform.source.owner
    owner.execute("DROP SCHEMA IF EXISTS shop CASCADE")
    owner.execute((EXAMPLE / "tables.sql").read_text().encode())
    owner.execute("INSERT INTO shop.orders VALUES (%s, 'c1', 12.50, true, '2024-02-03T04:05:06Z')", (ORDER,))
    for line in (1, 2):
        owner.execute("INSERT INTO shop.order_lines VALUES (%s, %s, 's', 3, '2024-03-04Z')", (ORDER, line))
    owner.execute("GRANT USAGE ON SCHEMA shop TO PUBLIC")
    owner.execute("GRANT SELECT ON ALL TABLES IN SCHEMA shop TO PUBLIC")
    for name in ("IMGMIG_SOURCE_SCHEMA", "IMGMIG_PARTITION_START"):
        platform.monkeypatch.delenv(name)
        del platform.environment[name]
    platform.set(IMGMIG_MAPPINGS=str(EXAMPLE / "two_tables" / "defs"))
    yield platform
    owner.execute("DROP SCHEMA shop CASCADE")


def run(platform: Platform, definitions: dg.Definitions, job: str, partition: str | None = None) -> bool:
    tags = {"dagster/partition": partition} if partition else {}
    found = definitions.resolve_job_def(job)
    return found.execute_in_process(
        instance=platform.instance, tags=tags, run_config=QUIET, raise_on_error=False
    ).success


@pytest.mark.usefixtures("clean_environment")
def test_each_table_has_a_group_and_names_of_its_own(project: Any) -> None:
    definitions: dg.Definitions = project.defs()
    dg.Definitions.validate_loadable(definitions)

    specs = {spec.key.to_user_string(): spec.group_name for spec in definitions.resolve_all_asset_specs()}
    jobs = {job.name for job in definitions.resolve_all_job_defs()}

    assert set(specs.values()) == {"orders", "order_lines"}
    assert {"source_orders", "migrated_orders", "orders_verification_report", "order_lines_table_census"} <= set(specs)
    assert {"orders_migrate", "order_lines_migrate", "orders_verify_due"} <= jobs
    told = {spec.key.to_user_string(): spec.description or "" for spec in definitions.resolve_all_asset_specs()}
    assert "in `orders_verification_report`" in told["orders_repair_report"]
    assert (
        told["orders_spot_check"]
        == "The sample: random rows beside their items, on a page for a person to review. Reads only"
    )


def test_the_command_line_makes_the_same_of_the_same_files(project: Any, clean_environment: pytest.MonkeyPatch) -> None:
    clean_environment.setenv("IMGMIG_MAPPINGS", str(EXAMPLE / "two_tables" / "defs"))
    loaded: dg.Definitions = project.defs()
    built = build_definitions(Stage.DEV)

    def all_names(definitions: dg.Definitions) -> list[set[str]]:
        repository = definitions.get_repository_def()
        return [
            {spec.key.to_user_string() for spec in definitions.resolve_all_asset_specs()},
            {job.name for job in definitions.resolve_all_job_defs()},
            {each.name for each in repository.sensor_defs},
            {each.name for each in repository.schedule_defs},
        ]

    assert all_names(loaded) == all_names(built)


def test_both_tables_are_migrated_and_verified_into_one(shop: Platform, project: Any, tmp_path: Path) -> None:
    definitions: dg.Definitions = project.defs()

    assert run(shop, definitions, "orders_migrate", "2024-02-01")
    assert run(shop, definitions, "order_lines_migrate", "2024-03-01")

    inventory = shop.instance.get_latest_materialization_event(dg.AssetKey("source_orders"))
    assert inventory is not None
    assert inventory.asset_materialization is not None
    assert inventory.asset_materialization.metadata["watermark"].value == "none", "it has no column of a last change"
    items = shop.target.client.scan(TableName=shop.target.name, ConsistentRead=True)["Items"]
    found = {(item["PK"]["S"], item["SK"]["S"]): item for item in items}
    key = f"ORDER#{ORDER}"
    assert set(found) == {(key, "METADATA"), (key, "LINE#1"), (key, "LINE#2")}
    assert found[key, "METADATA"] == {
        "PK": {"S": key},
        "SK": {"S": "METADATA"},
        "customer": {"S": "c1"},
        "total": {"N": "12.5"},
        "paid": {"BOOL": True},
        "placedAt": {"S": "2024-02-03T04:05:06.000Z"},
    }
    shop.target.client.put_item(TableName=shop.target.name, Item={"PK": {"S": "CART#1"}, "SK": {"S": "METADATA"}})
    for table, partition, others in (("orders", "2024-02-01", 3), ("order_lines", "2024-03-01", 2)):
        assert run(shop, definitions, f"{table}_verify", partition)
        assert run(shop, definitions, f"{table}_census"), "the other table's items are no orphans"
        census = load_record(LocalStateStore(tmp_path / "state" / "dev" / table), names.CENSUS, CensusResult)
        assert census
        assert (census.other_entities, census.unclaimed) == (others, 1)


def test_commands_ask_which_table_and_show_all(shop: Platform, commands: CommandServer) -> None:
    refused = commands.run("dry-run", environment=shop.environment)
    assert refused.exit_code == 2
    assert "dev has several tables: name one by --table, of order_lines, orders" in refused.stderr
    unknown = commands.run("migrate", "--table", "images", environment=shop.environment)
    assert unknown.exit_code == 2
    assert "dev has no table 'images': choose one of order_lines, orders" in unknown.stderr

    assert commands.run("migrate", "--table", "orders", environment=shop.environment).exit_code == 0

    status = commands.run("status", environment=shop.environment).stdout
    assert "next: imgmig verify --partition 2024-02-01 --stage dev --table orders\n" in status
    assert "imgmig migrate --partition 2024-03-01 --stage dev --table order_lines\n" in status
    assert "imgmig verify --partition 2024-03-01 --stage dev --table order_lines\n" in status
    document = commands.run("status", "--json", environment=shop.environment).document
    assert {name: len(found["partitions"]) for name, found in document["tables"].items()} == {
        "orders": 1,
        "order_lines": 1,
    }
    (migrated,), (not_migrated,) = (document["tables"][name]["partitions"] for name in ("orders", "order_lines"))
    assert (migrated["migrated"], not_migrated["migrated"]) == (1, None)


@pytest.mark.usefixtures("clean_environment")
def test_a_fault_in_a_declaration_is_named_with_its_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    shutil.copytree(EXAMPLE, tmp_path / "project")
    file = tmp_path / "project" / "two_tables" / "defs" / "orders" / "defs.yaml"
    file.write_text(file.read_text().replace("placed_at\n  part", "placed_at\n  parts", 1))
    monkeypatch.syspath_prepend(str(tmp_path / "project"))
    try:
        with pytest.raises(Exception, match="orders") as refused:
            importlib.import_module("two_tables.definitions").defs()
    finally:
        forget_the_project()

    [told] = [str(error) for error in causes(refused.value) if isinstance(error, DeclarationRefused)][:1]
    assert f"{file}:7: " in told
    assert "partsitions" in told


def test_a_table_that_is_scaffolded_loads(clean_environment: pytest.MonkeyPatch, tmp_path: Path) -> None:
    folder = tmp_path / "project"
    shutil.copytree(EXAMPLE, folder)
    program = str(Path(sys.executable).with_name("dg"))
    clean_environment.setenv("PYTHONPATH", str(folder))
    clean_environment.setenv("PATH", f"{Path(sys.executable).parent}:{os.environ['PATH']}")
    for words in (["scaffold", "defs", TABLE, "customers"], ["check", "defs"]):
        done = subprocess.run([program, *words], cwd=folder, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr

    clean_environment.setenv("IMGMIG_MAPPINGS", str(folder / "two_tables" / "defs"))
    assert list(declarations(Stage.PROD)) == ["customers", "order_lines", "orders"]


def test_dagster_finds_the_component_where_the_package_is_installed() -> None:
    project = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    assert '[project.entry-points."dagster_dg_cli.registry_modules"]\nimgmig_dagster = "imgmig_dagster"\n' in project
    found = dict(get_package_objects_in_module(importlib.import_module("imgmig_dagster")))
    assert found == {"TableMigration": TableMigration}
    assert TABLE == "imgmig_dagster.TableMigration"
