"""What Dagster shows as out of date: a partition that other code made, or that was made of other data."""

from collections.abc import Iterator, Sequence

import dagster as dg
import pytest
from dagster._core.asset_graph_view.asset_graph_view import AssetGraphView
from dagster._core.definitions.data_version import CachingStaleStatusResolver

from imgmig_dagster.defs import specs
from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.orchestration.arrange import FEBRUARY, MARCH, Platform, images_of

PARTITIONED = ("source_images", "migrated_images", "verification_report")


@pytest.fixture
def verified(platform: Platform) -> Iterator[Platform]:
    """Two partitions, migrated and verified, on an instance without runs of other tests."""
    platform.source.insert([*images_of(2, [20, 21]), *images_of(3, [30, 31])])
    with dg.DagsterInstance.ephemeral() as platform.instance:
        for job in ("migrate", "verify"):
            assert platform.run_range(job, FEBRUARY, MARCH).success
        yield platform


def stale(
    platform: Platform, partition: str, definitions: dg.Definitions | None = None, assets: Sequence[str] = PARTITIONED
) -> dict[str, list[str]]:
    """Why each asset's partition is out of date; nothing of one that is not."""
    loaded = definitions or platform.definitions
    view = AssetGraphView.for_test(loaded, platform.instance)
    resolver = CachingStaleStatusResolver(platform.instance, loaded.resolve_asset_graph(), view)
    causes = {asset: resolver.get_stale_causes(dg.AssetKey(asset), partition) for asset in assets}
    return {asset: [cause.reason for cause in found] for asset, found in causes.items() if found}


def test_what_was_made_in_order_is_up_to_date(verified: Platform) -> None:
    assert stale(verified, FEBRUARY) == stale(verified, MARCH) == {}


def test_what_other_rules_judged_is_shown(verified: Platform, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(specs, "VERIFIER_VERSION", "the next one")
    assert stale(verified, MARCH, build_definitions(Stage.DEV)) == {"verification_report": ["has a new code version"]}


def test_another_migration_puts_the_verification_of_its_partition_out_of_date(verified: Platform) -> None:
    verified.source.update(30, width=3)
    verified.succeed("migrate", MARCH)
    assert stale(verified, MARCH) == {"verification_report": ["has a new dependency data version"]}
    assert stale(verified, FEBRUARY) == {}
    assert verified.run("verify_due").success
    assert stale(verified, MARCH) == {}


def test_another_look_at_the_same_rows_changes_nothing_and_at_others_it_does(verified: Platform) -> None:
    verified.succeed("dry_run", MARCH)
    assert stale(verified, MARCH) == {}
    verified.source.insert(images_of(3, [32]))
    verified.succeed("dry_run", MARCH)
    assert stale(verified, MARCH)["migrated_images"] == ["has a new dependency data version"]


def test_a_repair_leaves_the_verification_up_to_date(verified: Platform) -> None:
    verified.change_item(30, "width", {"N": "1"})
    assert not verified.run("verify", MARCH).success
    assert verified.run("repair", MARCH).success
    assert stale(verified, MARCH, assets=(*PARTITIONED, "repair_report")) == {}
