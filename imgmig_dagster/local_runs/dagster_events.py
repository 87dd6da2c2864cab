"""What Dagster does not promise to keep, of the events of assets: those that an op records of each partition by itself.

Beside it `dagster_internals` has that of instances and runs. No other module uses any of it, which a test holds.
"""

import logging
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import dagster as dg
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationTargetMaterializationData
from dagster._core.definitions.data_version import (
    CODE_VERSION_TAG,
    DATA_VERSION_TAG,
    DEFAULT_DATA_VERSION,
    NULL_EVENT_POINTER,
    get_input_data_version_tag,
    get_input_event_pointer_tag,
)
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value


def version_tags(
    instance: dg.DagsterInstance, spec: dg.AssetSpec, partition: str, data_version: str
) -> Mapping[str, str]:
    """What a partition's materialization is of, by which Dagster tells whether it is out of date.

    Dagster adds it to what an op puts out, and not to what it logs.
    """
    tags = {CODE_VERSION_TAG: spec.code_version or "", DATA_VERSION_TAG: data_version}
    for each in spec.deps:
        wanted = dg.AssetRecordsFilter(asset_key=each.asset_key, asset_partitions=[partition])
        records = instance.fetch_materializations(wanted, limit=1).records
        made = records[0] if records else None
        made_tags = made.asset_materialization.tags if made and made.asset_materialization else None
        version = (made_tags or {}).get(DATA_VERSION_TAG, DEFAULT_DATA_VERSION.value)
        tags[get_input_data_version_tag(each.asset_key)] = version
        tags[get_input_event_pointer_tag(each.asset_key)] = str(made.storage_id) if made else NULL_EVENT_POINTER
    return tags


def evaluated(
    instance: dg.DagsterInstance,
    run_id: str,
    asset: dg.AssetKey,
    partition: str,
    results: Sequence[dg.AssetCheckResult],
    blocking: Collection[str],
) -> list[dg.AssetCheckEvaluation]:
    """The events of an asset's checks, of its last materialization, which the run has just recorded of that partition.

    Without it a check's Partitions tab takes them for those of an earlier one.
    """
    made: Final = dg.DagsterEventType.ASSET_MATERIALIZATION
    [found] = instance.get_asset_event_summary_records(made, asset, run_id, limit=1)
    target = AssetCheckEvaluationTargetMaterializationData(
        run_id=run_id, storage_id=found.storage_id, timestamp=found.timestamp
    )
    return [
        dg.AssetCheckEvaluation(
            asset_key=asset,
            check_name=result.check_name or "",
            passed=result.passed,
            metadata=result.metadata,
            severity=result.severity,
            description=result.description,
            blocking=result.check_name in blocking,
            partition=partition,
            target_materialization_data=target,
        )
        for result in results
    ]


def recording(context: dg.OpExecutionContext) -> dg.AssetExecutionContext:
    """The context of an op that is of no asset, to record assets and their checks by."""
    return dg.AssetExecutionContext(context)


def logged(context: dg.AssetExecutionContext) -> Iterator[dg.DagsterEvent]:
    """The events that an op has logged, for its run's result: an error would keep them from it."""
    yield from context.consume_events()


def released(context: dg.AssetExecutionContext) -> Iterator[dg.DagsterEvent]:
    """What tells Dagster that this op's assets are there: it skips what is downstream in the same run otherwise.

    An output of the op would do, but Dagster would materialize every partition of the range once more for it.
    """
    step = context.get_step_execution_context()
    for key in sorted(context.selected_asset_keys):
        name = context.assets_def.get_output_name_for_asset_key(key)
        yield dg.DagsterEvent.step_output_event(step, StepOutputData(StepOutputHandle(step.step.key, name)))


def announced_again(context: dg.AssetExecutionContext, asset: dg.AssetKey, partition: str) -> None:
    """Have Dagster show a partition as failed once this run has failed, although the run has materialized it.

    Failed is what a failed run announced, and did not materialize since.
    """
    step = context.get_step_execution_context().step.key
    announced = AssetMaterializationPlannedData(asset, partition)
    event = dg.DagsterEvent.build_asset_materialization_planned_event(context.run.job_name, step, announced)
    context.instance.report_dagster_event(event, context.run.run_id, logging.DEBUG)


def shown_as_failed(
    context: dg.AssetExecutionContext,
    asset: dg.AssetKey,
    partitions: dg.PartitionsDefinition[str],
    whys: Mapping[str, str],
    in_progress_too: bool = False,
) -> None:
    """Have Dagster show partitions as failed that it shows as materialized, until they are materialized again.

    It keeps each partition's status beside its events, and brings it up to date by those that are new: what is written
    there stands until a new materialization. An observation of the partition says why.

    Args:
        context: of the run that found out.
        asset: whose partitions.
        partitions: the asset's.
        whys: the partitions, and why.
        in_progress_too: also those that the run has announced, and will not materialize.
    """
    instance, failing = context.instance, {"MATERIALIZED", *(["IN_PROGRESS"] if in_progress_too else [])}
    found = instance.get_status_by_partition(asset, list(whys), partitions) or {}
    due = [key for key, status in found.items() if status is not None and status.value in failing]
    if not due:
        return
    for key in due:
        context.log_event(dg.AssetObservation(asset, description=whys[key], partition=key))
    status = get_and_update_asset_status_cache_value(instance, asset, partitions)
    if status is not None:
        failed = status.deserialize_failed_partition_subsets(partitions).with_partition_keys(due)
        shown = status._replace(serialized_failed_partition_subset=failed.serialize())
        instance.update_asset_cached_status_data(asset, shown)
