"""What all assets have in common."""

from typing import TYPE_CHECKING, Any, TypeAlias

import dagster as dg

from imgmig_dagster.defs.resources import (
    SourceDatabase,
    TargetDynamoDB,
)
from imgmig_dagster.progress import Listener
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.verifier import VerificationRun

# Dagster recognizes the bare class only: with a type argument it takes an asset with checks for one of many outputs.
if TYPE_CHECKING:
    Materialized: TypeAlias = dg.MaterializeResult[Any]
else:
    Materialized = dg.MaterializeResult


def verification_run(
    context: dg.AssetExecutionContext,
    reader: SourceReader,
    source: SourceDatabase,
    target: TargetDynamoDB,
    store: StateStore,
    listener: Listener,
) -> VerificationRun:
    """A verification, or a census, with the settings of the stage and in the name of the Dagster run."""
    return VerificationRun(
        source=reader,
        target=target.open_settings(context.instance),
        state=store,
        run_id=context.run.run_id,
        page_size=source.settings.page_size,
        settle_seconds=source.settings.settle_seconds,
        listener=listener,
    )
