"""What Dagster loads: the same graph in every stage, without a service, a network or a variable."""

import re
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]  # no stubs

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.orchestration.commands import CommandServer

LOAD_OFFLINE = """
import sys
import dagster as dg

def forbid(event, arguments):
    if event in ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname"):
        raise RuntimeError(f"{event}{arguments} while the definitions load")

sys.addaudithook(forbid)
from imgmig_dagster.definitions import defs
loaded = defs()
dg.Definitions.validate_loadable(loaded)
print(len(list(loaded.resolve_all_asset_specs())), loaded.resources["source"].stage)
"""


@pytest.mark.parametrize("stage", ["dev", "staging", "prod", None])
def test_every_stage_loads_without_a_variable_a_file_or_a_network(
    commands: CommandServer, tmp_path: Path, stage: str | None
) -> None:
    environment = {"STAGE": stage} if stage else {}
    loaded = commands.run(environment=environment, folder=tmp_path, code=LOAD_OFFLINE)
    assert (loaded.exit_code, loaded.stderr) == (0, "")
    assert loaded.stdout == f"11 {stage or 'dev'}\n"
    assert list(tmp_path.iterdir()) == [], "loading leaves nothing behind"


def test_an_unknown_stage_is_an_error_that_names_the_choices(commands: CommandServer, tmp_path: Path) -> None:
    refused = commands.run(environment={"STAGE": "production"}, folder=tmp_path, code=LOAD_OFFLINE)
    assert refused.exit_code == 1
    assert "SettingsError: STAGE is 'production'; choose one of dev, staging, prod" in refused.stderr


@pytest.fixture(params=list(Stage), ids=lambda stage: stage.value)
def definitions(request: pytest.FixtureRequest, clean_environment: pytest.MonkeyPatch) -> dg.Definitions:  # noqa: ARG001
    """The definitions of each stage."""
    return build_definitions(request.param)


def keys(found: Iterable[dg.AssetKey]) -> set[str]:
    return {key.to_user_string() for key in found}


def test_the_assets_are_these(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    found = {
        node.key.to_user_string(): (node.group_name, node.kinds, node.is_partitioned, keys(node.parent_keys))
        for node in graph.asset_nodes
    }
    assert found == {
        "postgresql/images": ("source", {"postgres", "table"}, False, set()),
        "source_images": ("migration", {"postgres"}, True, {"postgresql/images"}),
        "dry_run_plan": ("migration", {"python"}, True, {"source_images"}),
        "migrated_images": ("migration", {"dynamodb"}, True, {"source_images"}),
        "dynamodb/images": ("target", {"dynamodb", "table"}, False, {"migrated_images"}),
        "repair_report": ("repair", {"dynamodb"}, True, {"verification_report"}),
        "orphan_report": ("repair", {"dynamodb"}, False, {"table_census"}),
        "verification_report": ("verification", {"python"}, True, {"migrated_images"}),
        "table_census": ("verification", {"dynamodb"}, False, {"migrated_images"}),
        "spot_check": ("verification", {"html"}, False, {"migrated_images"}),
        "migration_report": ("reporting", {"html"}, False, {"verification_report", "table_census", "spot_check"}),
    }
    assert keys(graph.external_asset_keys) == {"postgresql/images", "dynamodb/images"}
    for node in graph.asset_nodes:
        assert node.description, node.key
        assert node.owners, node.key
        policy = dg.BackfillPolicy.multi_run(100) if node.is_partitioned else None
        assert node.is_external or node.backfill_policy == policy, node.key


def test_the_checks_are_these(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    specs = [graph.get_check_spec(key) for key in graph.asset_check_keys]
    found = {
        (spec.asset_key.to_user_string(), spec.name): (
            "blocking" if spec.blocking else "",
            "partitioned" if spec.partitions_def else "",
        )
        for spec in specs
    }
    assert found == {
        ("source_images", "rows_are_mappable"): ("", "partitioned"),
        ("source_images", "ids_are_unique"): ("blocking", "partitioned"),
        ("source_images", "columns_are_declared"): ("", "partitioned"),
        ("migrated_images", "every_row_is_accounted_for"): ("blocking", "partitioned"),
        ("migrated_images", "no_failed_items"): ("", "partitioned"),
        ("verification_report", "zero_mismatches"): ("blocking", "partitioned"),
        ("verification_report", "coverage_is_complete"): ("blocking", "partitioned"),
        ("verification_report", "timestamps_are_exact"): ("", "partitioned"),
        ("repair_report", "every_fault_is_repaired"): ("", "partitioned"),
        ("table_census", "no_missing_items"): ("", ""),
        ("table_census", "no_orphan_items"): ("", ""),
        ("table_census", "no_differing_items"): ("", ""),
        ("table_census", "no_rows_outside_partitions"): ("", ""),
        ("table_census", "no_repeated_ids"): ("", ""),
        ("table_census", "counts_agree"): ("", ""),
        ("orphan_report", "every_orphan_is_deleted"): ("", ""),
        ("spot_check", "spot_check_is_clean"): ("", ""),
        ("spot_check", "pictures_are_as_declared"): ("", ""),
        ("migration_report", "ready_for_cutover"): ("", ""),
    }
    assert all(spec.description for spec in specs)


def test_the_jobs_are_these_and_none_mixes_partitioned_and_unpartitioned_assets(definitions: dg.Definitions) -> None:
    graph = definitions.resolve_asset_graph()
    jobs = [job for job in definitions.resolve_all_job_defs() if job.name != "__ASSET_JOB"]
    assert {job.name: keys(job.asset_layer.executable_asset_keys) for job in jobs} == {
        "dry_run": {"source_images", "dry_run_plan"},
        "migrate": {"source_images", "migrated_images"},
        "retry_failures": {"migrated_images"},
        "verify": {"verification_report"},
        "verify_due": set(),
        "plan_repair": {"repair_report"},
        "repair": {"repair_report"},
        "delete_orphans": {"orphan_report"},
        "census": {"table_census"},
        "draw_spot_check": {"spot_check"},
        "report": {"migration_report"},
    }
    for job in jobs:
        assert len({graph.get(key).partitions_def for key in job.asset_layer.executable_asset_keys}) <= 1, job.name
        assert job.executor_def.name == "in_process", job.name
        assert job.description, job.name


def test_a_job_of_partitions_links_to_one_run_of_all_with_its_own_config(definitions: dg.Definitions) -> None:
    own = {
        "retry_failures": {"ops": {"migrated_images": {"config": {"retry_failures_only": True}}}},
        "repair": {"ops": {"repair_report": {"config": {"apply": True}}}},
    }
    for name in ("dry_run", "migrate", "retry_failures", "verify", "plan_repair", "repair"):
        job = definitions.resolve_job_def(name)
        link = re.search(r"\[All partitions in one run\]\((.*)\), (.*) to (.*)$", job.description or "")
        assert link
        assert job.partitions_def
        assert job.partitioned_config
        page, *ends = link.groups()
        keys = job.partitions_def.get_partition_keys()
        assert ends == [keys[0], keys[-1]]
        assert urlsplit(page).path == f"/locations/imgmig_dagster/jobs/{name}/playground/setup"
        filled = dict(parse_qsl(urlsplit(page).query))
        config = yaml.safe_load(filled.pop("config", "{}"))
        assert config == own.get(name, {})
        of_dialog = job.partitioned_config.get_run_config_for_partition_key(keys[0])
        assert dg.validate_run_config(job, config) == dg.validate_run_config(job, of_dialog)
        assert filled == {
            "tags[0][key]": "dagster/asset_partition_range_start",
            "tags[0][value]": keys[0],
            "tags[1][key]": "dagster/asset_partition_range_end",
            "tags[1][value]": keys[-1],
        }


def test_the_schedules_are_these_and_run_by_default_but_in_dev(definitions: dg.Definitions) -> None:
    source = (definitions.resources or {})["source"]
    status = "STOPPED" if source.stage == "dev" else "RUNNING"
    assert {
        each.name: (each.job_name, each.cron_schedule, each.execution_timezone, each.default_status.value)
        for each in definitions.get_repository_def().schedule_defs
    } == {
        "verify_changed": ("verify_due", "0 3 * * *", "UTC", status),
        "verify_all": ("verify_due", "0 4 * * *", "UTC", status),
        "census_weekly": ("census", "0 5 * * 0", "UTC", status),
        "spot_check_daily": ("draw_spot_check", "0 6 * * *", "UTC", status),
    }


def test_the_sensors_are_these_and_run_by_default_but_in_dev(definitions: dg.Definitions) -> None:
    source = (definitions.resources or {})["source"]
    repository = definitions.get_repository_def()
    status = "STOPPED" if source.stage == "dev" else "RUNNING"
    assert {each.name: each.default_status.value for each in repository.sensor_defs} == {
        "alert_failed_runs": status,
        "alert_failed_checks": status,
        "alert_failure_ledgers": status,
        "alert_stale_evidence": status,
        "verify_once_migrated": status,
    }
    assert all(each.description for each in repository.sensor_defs)
    assert all(each.description for each in repository.schedule_defs)


def test_the_evidence_has_to_be_fresh(definitions: dg.Definitions) -> None:
    nodes = definitions.resolve_asset_graph().asset_nodes
    policies = {node.key.to_user_string(): node.freshness_policy for node in nodes}
    daily, weekly = (dg.FreshnessPolicy.time_window(fail_window=timedelta(days=days)) for days in (2, 8))
    assert {name: policy for name, policy in policies.items() if policy} == {
        "verification_report": daily,
        "table_census": weekly,
        "spot_check": daily,
    }


def test_the_resources_have_the_same_keys_and_types_in_every_stage(definitions: dg.Definitions) -> None:
    assert {key: type(resource).__name__ for key, resource in (definitions.resources or {}).items()} == {
        "source": "SourceDatabase",
        "target": "TargetDynamoDB",
        "pictures": "PictureBuckets",
        "state": "StateDirectory",
        "reports": "ReportBucket",
        "progress": "ProgressListener",
        "alerts": "AlertWebhook",
    }


def test_the_retry_job_takes_up_the_ledger_and_the_migrate_job_does_not(definitions: dg.Definitions) -> None:
    retry, migrate = (definitions.resolve_job_def(name).partitioned_config for name in ("retry_failures", "migrate"))
    assert retry
    assert retry.get_run_config_for_partition_key("2024-03-01")["ops"] == {
        "migrated_images": {"config": {"start_over": False, "retry_failures_only": True, "partitions": []}}
    }
    assert migrate is None or "ops" not in migrate.get_run_config_for_partition_key("2024-03-01")
