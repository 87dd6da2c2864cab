"""A migrated partition is verified without waiting for the night: once it was migrated, and nothing writes to it."""

from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg
import pytest
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.automation_tick_evaluation_context import build_run_requests

from imgmig_dagster.defs.build import build_definitions
from imgmig_dagster.stage.stages import Stage

MIGRATED, VERIFIED = dg.AssetKey("migrated_images"), dg.AssetKey("verification_report")
JANUARY, FEBRUARY, MARCH = "2024-01-01", "2024-02-01", "2024-03-01"


class Daemon:
    """Evaluates the conditions tick by tick, as Dagster's daemon does."""

    def __init__(self, definitions: dg.Definitions, instance: dg.DagsterInstance) -> None:
        self.definitions, self.instance = definitions, instance
        self._cursor: Any = None
        self.tick()

    def tick(self) -> set[str | None]:
        """The partitions whose verification the next tick asks for."""
        return set(self._evaluated().get_requested_partitions(VERIFIED))

    def requests(self) -> Sequence[dg.RunRequest]:
        """What the next tick asks Dagster to run."""
        graph = self.definitions.resolve_asset_graph()
        sensor = self.definitions.get_repository_def().get_sensor_def("verify_once_migrated")
        assert isinstance(sensor, dg.AutomationConditionSensorDefinition)
        return build_run_requests(list(self._evaluated()._requested_subsets), graph, {}, sensor.emit_backfills)

    def _evaluated(self) -> Any:
        selected = dg.AssetSelection.assets(VERIFIED)
        result = dg.evaluate_automation_conditions(self.definitions, self.instance, selected, cursor=self._cursor)
        self._cursor = result.cursor
        return result

    def migrated(self, *partitions: str, accounted: bool = True) -> None:
        """One run over the partitions, each recorded by itself."""

        @dg.op
        def migrate(context: dg.OpExecutionContext) -> None:
            for partition in partitions:
                context.log_event(dg.AssetMaterialization(MIGRATED, partition=partition))
                wanted = dg.AssetRecordsFilter(MIGRATED, asset_partitions=[partition])
                [made] = context.instance.fetch_materializations(wanted, limit=1).records
                check: Any = dg.AssetCheckEvaluation(
                    check_name="every_row_is_accounted_for",
                    asset_key=MIGRATED,
                    passed=accounted,
                    metadata={},
                    partition=partition,
                    blocking=True,
                    target_materialization_data=AssetCheckEvaluationTargetMaterializationData(
                        storage_id=made.storage_id, run_id=made.run_id, timestamp=made.timestamp
                    ),
                )
                context.log_event(check)

        dg.GraphDefinition("job", node_defs=[migrate]).execute_in_process(instance=self.instance)

    def verified(self, partition: str) -> None:
        self.instance.report_runless_asset_event(dg.AssetMaterialization(VERIFIED, partition=partition))

    def begin(self, job: str, *partitions: str) -> dg.DagsterRun:
        """A run over the partitions from the first to the last, as a backfill makes it."""
        definition = self.definitions.resolve_job_def(job)
        ends = {"start": partitions[0], "end": partitions[-1]}
        tags = {f"dagster/asset_partition_range_{end}": partition for end, partition in ends.items()}
        if len(partitions) == 1:
            tags = {"dagster/partition": partitions[0]}
        return self.instance.create_run_for_job(definition, tags=tags, status=dg.DagsterRunStatus.STARTED)


@pytest.fixture
def daemon(clean_environment: pytest.MonkeyPatch) -> Iterator[Daemon]:
    """A daemon of stage staging, on an instance in which March was migrated before it began."""
    clean_environment.setenv("IMGMIG_PARTITION_START", "2024-01-01")
    with dg.DagsterInstance.ephemeral() as instance:
        instance.report_runless_asset_event(dg.AssetMaterialization(MIGRATED, partition=MARCH))
        yield Daemon(build_definitions(Stage.STAGING), instance)


def test_a_migrated_partition_is_verified_once(daemon: Daemon) -> None:
    assert daemon.tick() == set(), "what was migrated before is left to the schedules"
    daemon.migrated(JANUARY)
    assert daemon.tick() == {JANUARY}
    assert daemon.tick() == set()
    daemon.verified(JANUARY)
    assert daemon.tick() == set()
    daemon.migrated(JANUARY)
    assert daemon.tick() == {JANUARY}, "another pass has invalidated the evidence"


def test_the_partitions_of_a_range_are_asked_for_together(daemon: Daemon) -> None:
    daemon.migrated(JANUARY, FEBRUARY, MARCH)
    [request] = daemon.requests()
    assert request.requires_backfill_daemon(), "a backfill, whose runs are as large as its policy lets them"


def test_the_partitions_of_a_run_over_a_range_wait_for_its_end(daemon: Daemon) -> None:
    daemon.migrated(JANUARY, FEBRUARY, MARCH)
    daemon.begin("verify", JANUARY, FEBRUARY)
    assert daemon.tick() == {MARCH}


def test_what_was_verified_by_hand_meanwhile_is_not_verified_again(daemon: Daemon) -> None:
    daemon.migrated(JANUARY)
    daemon.verified(JANUARY)
    assert daemon.tick() == set()


@pytest.mark.parametrize("job", ["migrate", "retry_failures", "verify", "repair"])
def test_a_partition_that_a_run_works_on_waits_for_its_end(daemon: Daemon, job: str) -> None:
    daemon.migrated(JANUARY, FEBRUARY)
    run = daemon.begin(job, JANUARY)
    assert daemon.tick() == {FEBRUARY}
    daemon.instance.report_run_failed(run)
    writes = job in ("migrate", "retry_failures")
    assert daemon.tick() == (set() if writes else {JANUARY}), "no verification counts while a write has not ended"


def test_a_pass_that_lost_a_row_is_not_verified(daemon: Daemon) -> None:
    daemon.migrated(JANUARY, accounted=False)
    assert daemon.tick() == set()
    daemon.migrated(JANUARY)
    assert daemon.tick() == {JANUARY}
