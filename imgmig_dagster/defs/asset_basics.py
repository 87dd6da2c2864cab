"""What all assets have in common."""

import logging
from collections.abc import Iterator
from contextlib import AbstractAsyncContextManager, contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import dagster as dg

from imgmig_dagster.defs.resources import ProgressListener, SourceDatabase, StateDirectory
from imgmig_dagster.target.table import TargetTable
from imgmig_dagster.work import Target, Work, open_work

Table = TypeVar("Table", bound=TargetTable)

# Dagster recognizes the bare class only: with a type argument it takes an asset with checks for one of many outputs.
if TYPE_CHECKING:
    Materialized: TypeAlias = dg.MaterializeResult[Any]
else:
    Materialized = dg.MaterializeResult


@contextmanager
def working(
    context: dg.AssetExecutionContext,
    source: SourceDatabase,
    target: Target[Table],
    state: StateDirectory,
    progress: ProgressListener,
) -> Iterator[tuple[AbstractAsyncContextManager[Work[Table]], logging.Logger]]:
    """The work of a Dagster run, by the settings of the stage and in the run's name, and the stage's log."""
    settings = source.settings
    with source.reader() as reader, state.log() as log:
        work = open_work(
            reader,
            target,
            state.open(),
            context.run.run_id,
            page_size=settings.page_size,
            settle_seconds=settings.settle_seconds,
            listener=progress.for_run(log, context.log),
            keep_values=settings.show_values,
        )
        yield work, log
