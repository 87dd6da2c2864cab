"""Private parts of Dagster: those of an op that records partitions, and of how Dagster shows their status.

`partition_events` writes the events; `dagster_internals` has the private parts of instances and runs. No other module
uses any, which a test checks.
"""

import logging
from collections.abc import Iterator, Mapping

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData
from dagster._core.execution.plan.outputs import StepOutputData, StepOutputHandle
from dagster._core.storage.partition_status_cache import get_and_update_asset_status_cache_value


def recording(context: dg.OpExecutionContext) -> dg.AssetExecutionContext:
    """The context of an op without assets, with which to record assets and their checks."""
    return dg.AssetExecutionContext(context)


def logged(context: dg.AssetExecutionContext) -> Iterator[dg.DagsterEvent]:
    """The events that an op has logged, for its run's result: an error would drop them."""
    yield from context.consume_events()


def released(context: dg.AssetExecutionContext) -> Iterator[dg.DagsterEvent]:
    """Tells Dagster that this op's assets exist: otherwise it skips what is downstream in the same run.

    An output of the op would do so too, but Dagster would materialize every partition of the range again for it.
    """
    step = context.get_step_execution_context()
    for key in sorted(context.selected_asset_keys):
        name = context.assets_def.get_output_name_for_asset_key(key)
        yield dg.DagsterEvent.step_output_event(step, StepOutputData(StepOutputHandle(step.step.key, name)))


def announced_again(context: dg.AssetExecutionContext, asset: dg.AssetKey, partition: str) -> None:
    """Make Dagster show a partition as failed once this run has failed, although the run has materialized it.

    To Dagster, failed is what a failed run announced and did not materialize afterwards.
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
    """Make Dagster show materialized partitions as failed, until they are materialized again.

    Dagster caches each partition's status and updates the cache from new events. What we write there stays until a new
    materialization. An observation of the partition says why.

    Args:
        context: of the run that found the fault.
        asset: whose partitions.
        partitions: the asset's.
        whys: the partitions, each with its reason.
        in_progress_too: also those that the run has announced but will not materialize.
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
