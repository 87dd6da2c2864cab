"""Shows partitions as failed in Dagster if the state says so, although their last materialization succeeded.

Dagster takes the status of a partition from its last materialization, which stays green when a later migration has
invalidated the evidence, or while a pass is unfinished. The state knows better, and `FailedPartitions` shows it: the
asset's Partitions tab says Failed until the partition is materialized again. `local_runs.dagster_events` records that;
`range_run` shows failed blocking checks.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import dagster as dg

from imgmig_dagster.defs.table import Table
from imgmig_dagster.local_runs import dagster_events as events
from imgmig_dagster.stage.stage_table import MIGRATED
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.verification.evidence import CurrentState, why_invalid
from imgmig_dagster.verification.verification_result import VerificationResult
from imgmig_dagster.window import now

if TYPE_CHECKING:
    from imgmig_dagster.reporting.model import SummaryReport

_BROKEN_OFF: Final = "a migration pass was begun and has not finished. The job migrate resumes it"
_STOPPED: Final = "a run was stopped while it worked on this partition. Execute it again: it resumes"
_FAULTS: Final = "the last verification found rows and items that differ. The job verify names them in its checks"


@dataclass(frozen=True)
class FailedPartitions:
    """The faults of a table's partitions in the state, which Dagster would not show."""

    table: Table
    store: StateStore

    def show(self, context: dg.AssetExecutionContext, partition: str) -> None:
        """Show the fault of a partition that a run has worked on; see `events.shown_as_failed`.

        This reads only the state: changes of the source, or another table, are found by the report.

        Raises:
            StateError: a file of the partition cannot be read.
        """
        for asset, why in self._amiss(partition).items():
            self._show(context, asset, {partition: why})

    def show_broken_off(self, context: dg.AssetExecutionContext, partition: str) -> bool:
        """Show the fault of a partition at which a run was stopped; see `show`. Returns whether it shows as failed.

        An asset of the run that was never made fails too. One made earlier, whose evidence still counts, does not.
        """
        whys = {dg.AssetKey(self.table.asset(asset)): why for asset, why in self._amiss(partition).items()}
        for key in context.selected_asset_keys:
            if partition not in context.instance.get_materialized_partitions(key):
                whys.setdefault(key, _STOPPED)
        for key, why in whys.items():
            events.shown_as_failed(context, key, self.table.definition, {partition: why}, in_progress_too=True)
        return bool(whys)

    def show_judged(self, context: dg.AssetExecutionContext, report: "SummaryReport") -> None:
        """Show the faults of partitions that a report found: also those that a killed run could not show."""
        judged: dict[str, dict[str, str]] = {MIGRATED: {}, "verification_report": {}}
        for each in report.partitions:
            if each.pass_open:
                judged[MIGRATED][each.partition] = _BROKEN_OFF
            if each.invalidation:
                judged["verification_report"][each.partition] = _invalidated(each.invalidation.what)
            elif each.verification and not each.verification.passed:
                judged["verification_report"][each.partition] = _FAULTS
        for asset, whys in judged.items():
            self._show(context, asset, whys)

    def _amiss(self, partition: str) -> Mapping[str, str]:
        found = {}
        if CheckpointFile(self.store, partition).is_open():
            found[MIGRATED] = _BROKEN_OFF
        evidence = load_record(self.store, names.evidence(partition), VerificationResult)
        if evidence:
            window, current = self.table.partitions.window(partition), CurrentState(now(), None)
            invalidation = why_invalid(self.store, window, evidence, current, evidence.rows_in_window, None)
            if invalidation:
                found["verification_report"] = _invalidated(invalidation.what)
            elif not evidence.passed:
                found["verification_report"] = _FAULTS
        return found

    def _show(self, context: dg.AssetExecutionContext, asset: str, whys: Mapping[str, str]) -> None:
        key = dg.AssetKey(self.table.asset(asset))
        events.shown_as_failed(context, key, self.table.definition, whys)


def _invalidated(why: str) -> str:
    return f"the verification no longer counts, because {why}. The job verify makes a new one"
