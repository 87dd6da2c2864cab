"""Repairs the rows of a partition in which a verification found a fault. A dry run unless the work may write.

`row_writer` writes by the rule for existing items, `orphans` deletes items without a row.
"""

from collections.abc import Sequence

from imgmig_dagster.progress import ProgressMeter
from imgmig_dagster.rules.brake import Brake
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.stage.work import ReadingWork
from imgmig_dagster.state import names
from imgmig_dagster.state.records import load_lines, load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.audited import repairing
from imgmig_dagster.steps.migration_result import Outcome
from imgmig_dagster.steps.page import PageResult
from imgmig_dagster.steps.repair_result import RepairResult
from imgmig_dagster.steps.row_writer import RowWriter
from imgmig_dagster.target.dry_run_table import Written
from imgmig_dagster.verification.row_parts import ids_at_fault
from imgmig_dagster.verification.verification_result import Mismatch, VerificationResult
from imgmig_dagster.walk.walk import walk_ids


def keys_at_fault(store: StateStore, partition: str) -> tuple[Sequence[str], int]:
    """Every row id of a partition in which its last verification found a fault, and how many faults it did not list.

    Only a verification of an earlier version left any out.

    Raises:
        StateError: what it found is gone or cannot be read.
    """
    evidence = load_record(store, names.evidence(partition), VerificationResult)
    if evidence is None:
        return [], 0
    if evidence.segments:
        return ids_at_fault(store, evidence), 0
    listed = load_lines(store, names.mismatches(partition), Mismatch)
    return list(dict.fromkeys(found.row_id for found in listed)), evidence.mismatches_found - len(listed)


async def repair(
    work: ReadingWork, partition: str, ids: Sequence[str], unlisted: int, source_wins: bool = False
) -> RepairResult:
    """Repair exactly these rows of a partition, by the one rule for existing items.

    An item whose row is gone is left alone: it is an orphan item, which the next census names. With `source_wins` an
    item that is newer than its row is overwritten too. If the work may not write, it is a dry run.

    Raises:
        PartitionBusy: another run works on this partition.
        SourceError, TargetError: see there. The audit record holds what was done until then.
    """
    async with work.owning(names.write_lock(partition)) as owned:
        started_at = owned.clock.now()
        async with repairing(owned, partition, partition, ids) as (target, audit):
            meter = owned.meter("Repaired", partition, len(ids))
            step = _Repair(owned, partition, target, meter, source_wins)
            without = await walk_ids(owned, ids, step)
            # An item written for a row that was deleted during the write must be deleted too; all of them pass one
            # brake.
            departed = await step.judge_departed(step.went, Brake(len(ids)))
        outcomes = {**dict.fromkeys(without, Outcome.VANISHED), **step.outcomes, **departed.outcomes}
        return RepairResult(
            partition=partition,
            run_id=work.run_id,
            applied=audit is not None,
            outcomes={row_id: outcomes[row_id].value for row_id in ids},
            unlisted=unlisted,
            audit=audit.place if audit is not None else None,
            started_at=started_at,
            finished_at=work.clock.now(),
        )


class _Repair(RowWriter):
    """Notes what happened to each row; those that `went` during the write have no outcome yet."""

    def __init__(
        self, work: ReadingWork, partition: str, target: Written, meter: ProgressMeter, source_wins: bool
    ) -> None:
        # Regardless of the setting: a repair never replaces an item that it has not seen.
        super().__init__(work, partition, target, WriteMode.CONDITIONAL, meter, source_wins)
        self.outcomes: dict[str, Outcome] = {}
        self.went: list[str] = []

    async def record(self, found: PageResult) -> PageResult:
        """See `Step.record`."""
        self.went += (row_id for row_id, outcome in found.results.items() if outcome is Outcome.VANISHED)
        done = {row_id: of for row_id, of in found.results.items() if of is not Outcome.VANISHED}
        self.outcomes.update(done)
        await self.account(done, found.failures)
        return found
