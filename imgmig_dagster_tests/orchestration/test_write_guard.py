"""Runs in prod: what writes asks the guard, what reads does not."""

import dagster as dg
import pytest

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.orchestration.arrange import MARCH

# The asset of each job that writes, and its config.
ASKING: dict[str, tuple[str, dict[str, bool]]] = {
    "migrate": ("migrated_images", {}),
    "retry_failures": ("migrated_images", {"retry_failures_only": True}),
    "repair": ("repair_report", {"apply": True}),
    "delete_orphans": ("orphan_report", {"apply": True}),
}


def errors_of(stage: Stage, job: str, instance: dg.DagsterInstance, confirm: str | None = None) -> str:
    definition = build_definitions(stage).resolve_job_def(job)
    asset, config = ASKING[job]
    result = definition.execute_in_process(
        instance=instance,
        partition_key=MARCH if definition.partitions_def else None,
        run_config={
            "ops": {asset: {"config": {**config, "confirm": confirm}}},
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
        },
        asset_selection=[dg.AssetKey(asset)],
        raise_on_error=False,
    )
    return "".join(
        event.step_failure_data.error.to_string()
        for event in result.all_events
        if event.is_step_failure and event.step_failure_data.error
    )


@pytest.mark.parametrize("job", ASKING)
def test_what_writes_is_refused_without_a_confirmation_before_anything_is_reached(
    clean_environment: pytest.MonkeyPatch, instance: dg.DagsterInstance, job: str
) -> None:
    for name, value in {
        "IMGMIG_SOURCE_URL": "postgresql://migrator@127.0.0.1:1/app?sslmode=verify-full",
        "IMGMIG_TARGET_TABLE": "images-prod",
        "IMGMIG_STATE_URL": "file:///nonexistent",
    }.items():
        clean_environment.setenv(name, value)

    assert "WritesRefused: writes to images-prod in prod are not confirmed" in errors_of(Stage.PROD, job, instance)
    # Confirmed, the next question is where the requests would go.
    clean_environment.setenv("AWS_REGION", "us-east-1")
    clean_environment.setenv("AWS_ENDPOINT_URL", "https://127.0.0.1:1")
    refused = "WritesRefused: writes to images-prod in prod are refused: the endpoint"
    assert refused in errors_of(Stage.PROD, job, instance, "images-prod")
    clean_environment.setenv("IMGMIG_CONFIRM_WRITES", "images-prod")
    assert refused in errors_of(Stage.PROD, job, instance)
