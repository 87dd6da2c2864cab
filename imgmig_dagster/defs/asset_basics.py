"""What all assets share: how their op gets the work of its run. The assets are in `assets`, `whole_table`,
`repair_assets`."""

import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import dagster as dg

from imgmig_dagster.clock import SYSTEM_CLOCK
from imgmig_dagster.defs.resources import ProgressListener, SourceDatabase, StateDirectory
from imgmig_dagster.defs.run_log import RunLog
from imgmig_dagster.defs.table import Table
from imgmig_dagster.metrics import RunMetrics
from imgmig_dagster.metrics_export import exported
from imgmig_dagster.stage.config import metrics_collector
from imgmig_dagster.stage.work import SourceWork, Target, Work, open_work
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.throttle import read_throttle
from imgmig_dagster.target.target_table import TargetTable
from imgmig_dagster.verification.schema_changes import schema_drift

Opened = TypeVar("Opened", bound=TargetTable)

# Dagster recognizes only the bare class: with a type argument it takes an asset with checks for several outputs.
if TYPE_CHECKING:
    Materialized: TypeAlias = dg.MaterializeResult[Any]
else:
    Materialized = dg.MaterializeResult


@contextmanager
def reading_source(
    context: dg.AssetExecutionContext,
    table: Table,
    source: SourceDatabase,
    state: StateDirectory,
    progress: ProgressListener,
) -> Iterator[tuple[SourceWork, logging.Logger]]:
    """The work of a Dagster run that does not use the target, in the run's name, and the table's log."""
    metrics, run_id, page_size = RunMetrics(), context.run.run_id, source.settings.source.page_size
    attributes = {"stage": table.stage.value, "table": table.name}
    run_log = RunLog(context.log, lambda: _pause(state.of_stage(), table.stage.value))
    with (
        source.reader(table.mapping) as reader,
        state.log(table.name, context.run.run_id) as log,
        exported(metrics, metrics_collector(table.stage), run_id, attributes, log),
        run_log.telling(),
    ):
        listener = metrics.watching(progress.for_run(log, run_log.listen))
        yield SourceWork(reader, state.open(table.name), run_id, page_size, listener, SYSTEM_CLOCK, metrics), log


def _pause(state: StateStore, stage: str) -> str:
    asked = read_throttle(state)
    return asked.line(stage) if asked.paused else ""


@contextmanager
def working(
    context: dg.AssetExecutionContext,
    table: Table,
    source: SourceDatabase,
    target: Target[Opened],
    state: StateDirectory,
    progress: ProgressListener,
) -> Iterator[tuple[AbstractAsyncContextManager[Work[Opened]], logging.Logger]]:
    """The work of a Dagster run, by the settings of the stage and in the run's name, and the table's log."""
    settings = source.settings
    with reading_source(context, table, source, state, progress) as (reading, log):
        work = open_work(
            reading.source,
            target,
            reading.state,
            reading.run_id,
            page_size=reading.page_size,
            recheck_delay_s=settings.recheck_delay_s,
            listener=reading.listener,
            keep_values=settings.reports.keep_values,
            throttled_by=state.of_stage(),
            tell_throttle=progress.telling_throttle(table.stage.value, log, context.log),
            metrics=reading.metrics,
        )
        for line in schema_drift(reading.state, reading.source, target.identity).lines:
            log.warning(line)
        yield work, log
