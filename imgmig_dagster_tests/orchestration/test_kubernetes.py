"""deploy/kubernetes: what Dagster's Helm chart makes of its values is an instance that Dagster takes.

The chart is not here. It renames each key of these sections, and hands its value on.
"""

import json
import re
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml  # type: ignore[import-untyped]
from dagster._cli import cli as dagster_command

from imgmig_dagster_tests.conftest import Services

VALUES: dict[str, Any] = yaml.safe_load((Path(__file__).parents[2] / "deploy/kubernetes/values.yaml").read_text())
# The sections of the chart's schema that are used here, and what it demands of a launcher.
SECTIONS = {
    "global",
    "generatePostgresqlPasswordSecret",
    "postgresql",
    "dagster-user-deployments",
    "runLauncher",
    "dagsterDaemon",
    "additionalInstanceConfig",
    "computeLogManager",
    "telemetry",
}
OF_A_LAUNCHER = {
    "imagePullPolicy",
    "loadInclusterConfig",
    "envConfigMaps",
    "envSecrets",
    "envVars",
    "volumeMounts",
    "volumes",
}


def renamed(values: Any) -> Any:
    """With the names of Dagster's own files: ``maxRetries`` is ``max_retries`` there."""
    if isinstance(values, list):
        return [renamed(each) for each in values]
    if not isinstance(values, dict):
        return values
    return {re.sub(r"[A-Z]", lambda found: f"_{found[0].lower()}", key): renamed(each) for key, each in values.items()}


def test_the_values_are_in_sections_that_the_chart_knows() -> None:
    launcher = VALUES["runLauncher"]
    assert set(VALUES) == SECTIONS
    assert launcher["type"] == "K8sRunLauncher"
    assert set(launcher["config"]["k8sRunLauncher"]) >= OF_A_LAUNCHER
    assert set(launcher["config"]["k8sRunLauncher"]) <= OF_A_LAUNCHER | {"runK8sConfig"}


def test_an_instance_takes_what_the_chart_makes_of_the_values(
    services: Services, clean_environment: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    url = "postgresql+psycopg2://{PGUSER}@{PGHOST}:{PGPORT}/dagster".format(**services.environment)
    clean_environment.setenv("DAGSTER_POSTGRES_URL", url)
    daemon = VALUES["dagsterDaemon"]
    config = {
        "storage": {"postgres": {"postgres_url": {"env": "DAGSTER_POSTGRES_URL"}}},
        "run_coordinator": {
            "module": "dagster",
            "class": daemon["runCoordinator"]["type"],
            "config": renamed(daemon["runCoordinator"]["config"]["queuedRunCoordinator"]),
        },
        "run_monitoring": renamed(daemon["runMonitoring"]),
        "run_retries": renamed(daemon["runRetries"]),
        "telemetry": VALUES["telemetry"],
        **VALUES["additionalInstanceConfig"],
    }
    (tmp_path / "dagster.yaml").write_text(json.dumps(config))

    with dg.DagsterInstance.from_config(str(tmp_path)) as instance:
        concurrency = instance.get_concurrency_config()
        queue, pools = concurrency.run_queue_config, concurrency.pool_config.default_pool_limit
        assert queue
        assert pools
        (backfills,) = queue.tag_concurrency_limits
        assert 1 < backfills["limit"] < pools < queue.max_concurrent_runs, "there is a place left beside a backfill"
        assert (instance.run_monitoring_enabled, instance.run_monitoring_max_runtime_seconds) == (True, 86_400)
        assert (instance.run_retries_enabled, instance.run_retries_retry_on_asset_or_op_failure) == (True, False)
        assert not instance.telemetry_enabled


def test_the_code_server_of_the_chart_knows_its_options() -> None:
    (deployment,) = VALUES["dagster-user-deployments"]["deployments"]
    group = dagster_command.get_command(None, "code-server")
    start = group.get_command(None, "start")
    options = ["-h", "0.0.0.0", "-p", str(deployment["port"]), *deployment["codeServerArgs"]]  # noqa: S104
    context = start.make_context("start", options)
    assert context.params["module_name"] == "imgmig_dagster.definitions"
    assert context.params["attribute"] == "defs"
    assert deployment["envSecrets"], "variables come from a secret"
    assert deployment["includeConfigInLaunchedRuns"] == {"enabled": True}
