"""A run over many partitions: each has its own materialization, verdicts and end."""

import asyncio
import threading
from collections import UserDict
from collections.abc import ItemsView, Iterator
from contextlib import nullcontext
from datetime import date
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from psycopg import sql

from imgmig_dagster.defs.failed_partitions import FailedPartitions
from imgmig_dagster.defs.range_run import Part, over_range
from imgmig_dagster.defs.table import Table
from imgmig_dagster.errors import TargetRefused
from imgmig_dagster.progress import Ended
from imgmig_dagster.stage.partitions import TimeWindows
from imgmig_dagster.stage.stage_table import MIGRATED
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import row_id
from imgmig_dagster_tests.fault_proxy import FaultProxy, error, holds
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.orchestration.arrange import APRIL, FEBRUARY, MARCH, RANGE, Platform, failure_of


def checks_by_partition(platform: Platform, asset: str, check: str) -> dict[str | None, str]:
    """What the check's Partitions tab shows."""
    key = dg.AssetCheckKey(dg.AssetKey(asset), check)
    found = platform.instance.event_log_storage.get_asset_check_partition_info([key])
    assert all(each.is_current for each in found if each.latest_execution_status.value != "PLANNED")
    return {each.partition_key: each.latest_execution_status.value for each in found}


def materialized(platform: Platform, asset: str) -> set[str]:
    return set(platform.instance.get_materialized_partitions(dg.AssetKey(asset)))


def test_one_run_records_each_partition_and_its_checks_by_itself(ranged: Platform) -> None:
    assert ranged.run_range("migrate", FEBRUARY, APRIL).success
    assert len(ranged.target.items()) == 9
    green = dict.fromkeys(RANGE, "SUCCEEDED")
    for asset, check in (
        ("source_images", "rows_are_mappable"),
        ("source_images", "ids_are_unique"),
        ("source_images", "columns_are_declared"),
        ("migrated_images", "every_row_is_accounted_for"),
        ("migrated_images", "no_failed_items"),
    ):
        assert checks_by_partition(ranged, asset, check) == green
    assert materialized(ranged, "source_images") == materialized(ranged, "migrated_images") == set(RANGE)
    assert materialized(ranged, "dry_run_plan") == set(), "the job is not of it"

    ranged.target.delete(31)
    result = ranged.run_range("verify", FEBRUARY, APRIL)
    assert not result.success
    failure = failure_of(result)
    assert failure.error
    assert failure.error.cls_name == "ChecksDoNotHold"
    assert failure.user_failure_data
    assert str(failure.user_failure_data.description).startswith(
        f"blocking checks do not hold of 1 of 3 partitions: {MARCH}: zero_mismatches."
    )
    assert checks_by_partition(ranged, "verification_report", "zero_mismatches") == {**green, MARCH: "FAILED"}
    assert checks_by_partition(ranged, "verification_report", "coverage_is_complete") == green
    assert materialized(ranged, "verification_report") == set(RANGE)


def test_an_error_ends_its_partition_and_no_other(ranged: Platform) -> None:
    ranged.state.write(f"{MARCH}/migration-progress.json", b"{torn")
    result = ranged.run_range("migrate", FEBRUARY, APRIL)
    failure = failure_of(result)
    assert failure.error
    assert failure.error.cls_name == "PartitionsFailed"
    assert failure.user_failure_data
    assert str(failure.user_failure_data.description).startswith(
        f"1 of 3 partitions failed: {MARCH}: partition {MARCH}: "
    )
    assert failure.user_failure_data.metadata["failed"].value == {MARCH: "CheckpointRefused"}
    assert materialized(ranged, "migrated_images") == {FEBRUARY, APRIL}
    assert materialized(ranged, "source_images") == set(RANGE)
    verdicts = checks_by_partition(ranged, "migrated_images", "no_failed_items")
    assert verdicts == {FEBRUARY: "SUCCEEDED", MARCH: "PLANNED", APRIL: "SUCCEEDED"}
    assert {item["PK"]["S"] for item in ranged.target.items().values()} == {
        f"IMAGE#{row_id(number)}" for number in (20, 21, 22, 40, 41, 42)
    }


def test_what_the_others_would_meet_too_ends_the_run_and_names_those_that_are_not_finished(
    ranged: Platform, proxy: FaultProxy
) -> None:
    ranged.through(proxy.url)
    proxy.inject(error("AccessDeniedException"), "BatchWriteItem", when=holds(row_id(30)))
    failure = failure_of(ranged.run_range("migrate", FEBRUARY, APRIL)).user_failure_data
    assert failure
    assert str(failure.description).startswith("1 of 3 partitions failed")
    assert f"{MARCH}: DynamoDB refused BatchWriteItem: AccessDeniedException" in str(failure.description)
    failed = failure.metadata["failed"].value
    assert set(failed.values()) == {"TargetRefused"}
    # The others are worked on at the same time: each is either recorded or named.
    assert MARCH in failed
    assert set(failed) | materialized(ranged, "migrated_images") == set(RANGE)
    assert not set(failed) & materialized(ranged, "migrated_images")


class _Held(UserDict[str, Any]):
    """Facts that are not read before `may_go_on`: whoever records them waits in the midst of it."""

    may_go_on: threading.Event

    def items(self) -> ItemsView[str, Any]:
        assert self.may_go_on.wait(60)
        return super().items()


@pytest.mark.parametrize("stopped_while", ["it is recorded", "it is looked at once more"])
def test_a_partition_that_is_recorded_while_another_one_ends_the_run_is_not_named(
    tmp_path: Path, stopped_while: str
) -> None:
    table = Table(Stage.DEV, IMAGE, TimeWindows("monthly", date.fromisoformat(FEBRUARY)), 100, is_only=True)
    spec = dg.AssetSpec("migrated_images", partitions_def=table.definition)
    keys = [FEBRUARY, MARCH, APRIL, "2024-05-01", "2024-06-01"]
    begun, ended = list[str](), list[Ended]()
    others_are_cancelled = threading.Event()
    facts = _Held(rows=3)
    facts.may_go_on = others_are_cancelled

    async def work(refused: asyncio.Event, part: Part) -> None:
        begun.append(part.partition)
        if part.partition == MARCH:
            # February waits for it, and so records what it records, or ends, after March's end in the recorder's queue.
            refused.set()
            raise TargetRefused("a permission is missing")
        if part.partition != FEBRUARY:
            try:
                await asyncio.Event().wait()
            finally:
                others_are_cancelled.set()
        if stopped_while == "it is recorded":
            await refused.wait()
            await part.record(MIGRATED, facts)
        else:
            await part.record(MIGRATED, {"rows": 3})
            await refused.wait()
            part.recorder.submit(others_are_cancelled.wait, 60)

    @dg.multi_asset(specs=[spec], backfill_policy=dg.BackfillPolicy.single_run())
    def images(context: dg.AssetExecutionContext) -> Iterator[dg.DagsterEvent]:
        standing = FailedPartitions(table, LocalStateStore(tmp_path))
        opening = nullcontext(asyncio.Event())
        yield from over_range(context, {MIGRATED: spec}, keys, opening, work, ended.append, standing)

    with dg.DagsterInstance.ephemeral() as instance:
        result = dg.materialize(
            [images],
            instance=instance,
            tags={"dagster/asset_partition_range_start": keys[0], "dagster/asset_partition_range_end": keys[-1]},
            raise_on_error=False,
        )
        assert instance.get_materialized_partitions(spec.key) == {FEBRUARY}
    failure = failure_of(result).user_failure_data
    assert failure
    assert failure.metadata["failed"].value == dict.fromkeys(keys[1:], "TargetRefused")
    assert str(failure.description).startswith("1 of 5 partitions failed, and 3 were not begun or not finished")
    assert {each.partition: each.error is None for each in ended} == {MARCH: False, FEBRUARY: True}
    assert begun == keys[:4], "the run has ended: no other one is begun"


def test_a_blocking_check_keeps_its_partition_from_being_written_and_no_other(ranged: Platform) -> None:
    # Only of a view or a partitioned table can an id stand twice.
    ranged.source.execute("ALTER TABLE {t} RENAME TO plain")
    view = "CREATE VIEW {t} AS SELECT * FROM {plain} UNION ALL SELECT * FROM {plain} WHERE id = {id}"
    table, plain = (sql.Identifier(ranged.source.schema, name) for name in ("images", "plain"))
    ranged.source.owner.execute(sql.SQL(view).format(t=table, plain=plain, id=sql.Literal(row_id(30))))
    ranged.source.execute("GRANT SELECT ON {t} TO imgmig_reader")
    failure = failure_of(ranged.run_range("migrate", FEBRUARY, APRIL)).user_failure_data
    assert failure
    assert failure.metadata["checks_that_do_not_hold"].value == {MARCH: ["ids_are_unique"]}
    assert materialized(ranged, "migrated_images") == {FEBRUARY, APRIL}
    assert len(ranged.target.items()) == 6


def test_config_names_which_of_the_range(ranged: Platform) -> None:
    only = {"partitions": [FEBRUARY, APRIL]}
    assert ranged.run_range("migrate", FEBRUARY, APRIL, {"migrated_images": only}).success
    assert materialized(ranged, "migrated_images") == {FEBRUARY, APRIL}
    refused = failure_of(ranged.run_range("migrate", FEBRUARY, MARCH, {"migrated_images": only}))
    assert refused.error
    assert f"the run config names partitions that the run is not of: {APRIL}" in refused.error.to_string()


def test_what_depends_on_a_range_runs_in_the_same_run_unless_a_partition_is_amiss(ranged: Platform) -> None:
    def run() -> dg.ExecuteInProcessResult:
        return dg.materialize(
            [each for each in ranged.definitions.assets or () if isinstance(each, dg.AssetsDefinition)],
            selection=["migrated_images", "verification_report"],
            tags={"dagster/asset_partition_range_start": FEBRUARY, "dagster/asset_partition_range_end": APRIL},
            resources=ranged.definitions.resources,
            instance=ranged.instance,
            raise_on_error=False,
        )

    assert run().success
    assert materialized(ranged, "verification_report") == set(RANGE)
    ranged.state.write(f"{MARCH}/migration-progress.json", b"{torn")
    assert {event.step_key for event in run().all_events if event.is_step_start} == {"migrated_images"}
