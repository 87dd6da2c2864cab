"""The pool decides how many runs there are, and nothing of the rate that they share."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.defs.resources import TARGET_POOL, TargetDynamoDB
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.local_runs.dagster_internals import pool_limit
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.orchestration.arrange import Platform


@pytest.fixture
def own_instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    """An instance without a word about pools."""
    (tmp_path / "instance").mkdir()
    with dg.instance_for_test(temp_dir=str(tmp_path / "instance")) as instance:
        yield instance


@pytest.mark.parametrize("limit", [None, 1, 4])
def test_the_ceiling_is_of_all_runs_together_whatever_the_pools_limit(
    platform: Platform, own_instance: dg.DagsterInstance, limit: int | None
) -> None:
    platform.set(IMGMIG_WRITE_RATE="600")
    if limit is not None:
        own_instance.event_log_storage.set_concurrency_slots(TARGET_POOL, limit)

    assert TargetDynamoDB(stage="dev").target_settings(IMAGE, own_instance).rate == 600.0


@pytest.mark.parametrize("ceiling", ["600", None])
def test_a_pool_that_lets_no_run_in_is_obeyed_by_the_command_line_too(
    platform: Platform, own_instance: dg.DagsterInstance, ceiling: str | None
) -> None:
    if ceiling is not None:
        platform.set(IMGMIG_WRITE_RATE=ceiling)
    own_instance.event_log_storage.set_concurrency_slots(TARGET_POOL, 0)

    assert pool_limit(own_instance, TARGET_POOL) == 0
    with pytest.raises(SettingsError, match="dagster instance concurrency set target 4"):
        TargetDynamoDB(stage="dev").target_settings(IMAGE, own_instance)


def test_whatever_reads_or_writes_items_takes_its_place_in_the_pool() -> None:
    assets = build_definitions(Stage.DEV).resolve_all_asset_specs()
    definitions = build_definitions(Stage.DEV).resolve_asset_graph()
    pools = {
        spec.key.to_user_string(): definitions.assets_def_for_key(spec.key).op.pool
        for spec in assets
        if "target" in definitions.assets_def_for_key(spec.key).required_resource_keys
    }

    # The summary asks DynamoDB which table it is, and for nothing else.
    assert pools.pop("migration_report") is None
    assert len(pools) > 5
    assert set(pools.values()) == {TARGET_POOL}
