"""The summary of a stage, built from the evidence in the state store; Dagster's checks have no part in it.

`partition_summary` judges a partition, `census_verdict` the census, `cutover` the spot check. `render` shows it.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Annotated

from imgmig_dagster import remedies
from imgmig_dagster.figures import REQUESTS, SECONDS, SHARE, Figure, total, values
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.mapping.rows import Cursor
from imgmig_dagster.reporting.census_verdict import judge_census
from imgmig_dagster.reporting.cutover import Cutover, SpotCheckSummary, judge_review, summarize_spot_check
from imgmig_dagster.reporting.partition_summary import (
    Blocker,
    PartitionSummary,
    Verdict,
    command,
    summarize,
)
from imgmig_dagster.reporting.recheckable import Recheck
from imgmig_dagster.rules.invalidation import NOT_LOOKED_AT
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import Failure
from imgmig_dagster.state.records import load_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.migration_result import MigrationCounts, Outcome
from imgmig_dagster.target.marks import Ownership
from imgmig_dagster.traffic import Percentiles, TrafficRecord
from imgmig_dagster.verification.census_results import COUNTS_DISAGREE_ADVICE, CensusResult, LeftSince
from imgmig_dagster.verification.evidence import CurrentState
from imgmig_dagster.verification.review import SpotCheckReview
from imgmig_dagster.verification.schema_changes import SchemaDrift
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.verification.verification_result import FAULTS_FOUND, Identity, Mismatch, Rounds, VerificationCounts
from imgmig_dagster.window import Window


@dataclass(frozen=True)
class RunFacts:
    """What the state store does not know, and the run that makes the report does.

    `counted_at` is when the source's rows were counted: the time T that a PASS is about. `settings` and `versions` are
    shown as they are, so they must hold no secret. `identity` is what a verification would compare now. `show_values`
    says whether the report may hold rows' values, which are personal data. `assumptions` are those that the source
    table needs, and `rows_outside` counts the rows outside of every partition. `repeated` are some ids of more than one
    row, and `miscounted` are partitions for which two ways of reading give different counts. `rounds` says how the
    evidence was brought to `counted_at`, and `ends` has the first and the last row's place in each partition then.
    `columns` are those of the source that no item carries. `recheck` is what an outsider needs to check the
    certificate. `left` is what became of the rows that have left the source since the census; None skips that. `owner`
    is whether this state alone writes to the target. `schema` is what has changed on either side since the first
    migration.
    """

    run_id: str
    made_at: str
    counted_at: str
    identity: Identity | None
    settings: Mapping[str, str]
    versions: Mapping[str, str]
    show_values: bool = False
    assumptions: Sequence[str] = field(default_factory=list)
    rows_outside: int = 0
    repeated: Sequence[str] = field(default_factory=list)
    miscounted: Sequence[str] = field(default_factory=list)
    rounds: Rounds | None = None
    ends: Mapping[str, tuple[Cursor, Cursor]] = field(default_factory=dict)
    columns: NotMigrated = field(default_factory=NotMigrated)
    recheck: Recheck | None = None
    left: LeftSince | None = None
    owner: Ownership = field(default_factory=Ownership)
    schema: SchemaDrift = field(default_factory=SchemaDrift)


@dataclass(frozen=True)
class Totals:
    """Sums over the partitions: of the rows now, of each last migration pass, and of the evidence that counts.

    `partitions` counts by `Verdict` value, `outcomes` rows by `Outcome` value, `verdicts` rows by `RowVerdict` value,
    `write_modes` partitions by how their last pass wrote. `latency` are the percentiles of `traffic`.
    """

    partitions: Mapping[str, int]
    rows: Annotated[int, Figure("rows in the source now", label="rows in the source")]
    read: int
    migrated: Annotated[int, Figure("rows that the last passes wrote", label="written by the last pass")]
    skipped: Annotated[int, Figure("rows that needed no write, or must not be written", label="needed no write")]
    failed: Annotated[int, Figure("rows that the last passes did not write", label="failed in the last pass")]
    in_ledger: Annotated[int, Figure("rows in the failure ledgers", label="in failure ledgers")]
    outcomes: Mapping[str, int]
    duration_s: Annotated[float, Figure("sum of the passes' durations", SECONDS, label="time in passes")]
    rate: Annotated[float, Figure("rows read per second of that time", "rows/s", "rate_rows_per_s", "rows per second")]
    success_rate: Annotated[
        float | None,
        Figure(
            "share of the rows read that have an item; no value before any was read", SHARE, "success_percent", digits=4
        ),
    ]
    retries: Annotated[int, Figure("requests that were tried again", REQUESTS, label="retried requests")]
    throttles: Annotated[int, Figure("requests that DynamoDB throttled", REQUESTS, label="throttled requests")]
    write_units: Annotated[float, Figure("capacity that the writes used up", "write units")]
    write_modes: Mapping[str, int]
    verified: Annotated[int, Figure("rows of verifications that count", label="rows verified")]
    verdicts: Mapping[str, int]
    mismatches_found: Annotated[int, Figure(FAULTS_FOUND, name="faults_found", label="faults found")]
    mismatches_by_attribute: Mapping[str, int]
    agreed_on_recheck: Annotated[int, Figure("rows that differed at first and agreed on recheck")]
    inexact_timestamps: Annotated[int, Figure("within tolerance", label="timestamps not cut to the millisecond")]
    undeclared: Mapping[str, int]
    traffic: Annotated[TrafficRecord, Figure("of the last passes and verifications", REQUESTS)]
    latency: Mapping[str, Percentiles]

    @property
    def in_target(self) -> Annotated[int, Figure(label="in the target")]:
        """The rows of the last passes that have an item."""
        return self.read - self.failed - self.outcomes.get(Outcome.VANISHED.value, 0)

    @property
    def undeclared_found(self) -> Annotated[int, Figure(label="attributes that the mapping does not declare")]:
        """The number of attributes found that the mapping does not declare."""
        return sum(self.undeclared.values())


@dataclass(frozen=True)
class SummaryReport:
    """Everything that is known about a stage. Of rows only ids and attribute names, unless `RunFacts.show_values`.

    `verdict` judges the data alone, `cutover` the data and the review. `blockers` keep the verdict from PASS,
    `cutover_blockers` the cutover from READY.
    """

    stage: str
    facts: RunFacts
    verdict: Verdict
    cutover: Cutover
    blockers: tuple[Blocker, ...]
    cutover_blockers: tuple[Blocker, ...]
    totals: Totals
    partitions: tuple[PartitionSummary, ...]
    census: CensusResult | None
    spot_check: SpotCheckSummary | None

    @property
    def table_shown(self) -> str:
        """The name of the table's declaration, if the run knows it."""
        return self.facts.recheck.mapping.name if self.facts.recheck else "a table"

    @property
    def filled(self) -> Sequence[PartitionSummary]:
        """The partitions that are not empty."""
        return [each for each in self.partitions if each.verdict is not Verdict.EMPTY]

    @property
    def empty_ranges(self) -> Sequence[tuple[str, str]]:
        """The empty partitions as runs of neighbours: the first and the last of each."""
        runs = groupby(self.partitions, key=lambda each: each.verdict is Verdict.EMPTY)
        keys = [[each.partition for each in run] for is_empty, run in runs if is_empty]
        return [(run[0], run[-1]) for run in keys]

    @property
    def failures(self) -> Sequence[tuple[str, Failure]]:
        """Every entry of every ledger, with its partition."""
        return [(each.partition, failure) for each in self.partitions for failure in each.failures]

    @property
    def mismatches(self) -> Sequence[tuple[str, Mismatch]]:
        """Every mismatch that is listed, with its partition; `Totals.mismatches_found` may be more."""
        return [(each.partition, mismatch) for each in self.partitions for mismatch in each.mismatches]


def build_report(
    store: StateStore,
    stage: str,
    windows: Sequence[Window],
    rows_now: Mapping[str, int],
    run_facts: RunFacts,
    digests_now: Mapping[str, str] | None = None,
    table: str | None = None,
    lists_mismatches: bool = True,
) -> SummaryReport:
    """Summarize what the state store proves about a stage.

    Args:
        store: the stage's state.
        stage: its name.
        windows: every partition, oldest first.
        rows_now: rows by partition, as the source counts them at `run_facts.counted_at`; of every window, zeros too.
        run_facts: what else the report states.
        digests_now: the source's digests by partition now: evidence of a partition without one does not
            count. None skips the check whether the rows are still the same.
        table: what commands need as `--table`; None where the stage has one table.
        lists_mismatches: whether to read each mismatch; they are counted in any case.

    Raises:
        StateError: a state file cannot be read.
        KeyError: `rows_now` has no count of a partition. It is never taken for empty.
    """
    options = remedies.options(stage, table)
    current = CurrentState(run_facts.counted_at, run_facts.identity)
    partitions = tuple(
        summarize(
            store,
            window,
            rows_now[window.partition],
            current,
            options,
            None if digests_now is None else digests_now.get(window.partition, NOT_LOOKED_AT),
            run_facts.show_values,
            lists_mismatches,
        )
        for window in windows
    )
    census = load_record(store, names.CENSUS, CensusResult)
    sample = load_record(store, names.SPOT_CHECK, SpotCheckResult)
    review = load_record(store, names.SPOT_CHECK_REVIEW, SpotCheckReview)
    census_verdict, census_blockers = judge_census(store, census, run_facts.left, partitions, current, options)
    blockers = [each for partition in partitions for each in partition.blockers] + census_blockers
    if run_facts.rows_outside:
        # Includes those that came since the census.
        what = f"{run_facts.rows_outside:,} rows are in no partition. Once `partitions` in the declaration reaches them"
        blockers.append(Blocker(what, (command("migrate", options), command("verify", options))))
    if run_facts.miscounted:
        what = f"PostgreSQL's index and table give different counts of rows in partition {run_facts.miscounted[0]}"
        blockers.append(Blocker(f"{what}: {COUNTS_DISAGREE_ADVICE}. Then", (command("verify", options),)))
    if run_facts.repeated:
        what = f"{run_facts.repeated[0]} and perhaps other ids are in the source more than once. Once that is fixed"
        blockers.append(Blocker(what, (command("verify", options),)))
    if run_facts.rounds and run_facts.rounds.behind:
        what = f"The evidence did not catch up with the source: {run_facts.rounds.behind}. At a quieter hour"
        blockers.append(Blocker(what, (command("report", options),)))
    found = {partition.verdict for partition in partitions}
    if found <= {Verdict.EMPTY}:
        # An empty table is no success: more likely it is the wrong table, or the wrong first partition.
        what = "No partition holds a row. Check `table` and `partitions` in the declaration"
        blockers.append(Blocker(what, (command("dry-run", options),)))
    if run_facts.owner.fault:
        # Nothing here counts what it wrote.
        blockers.insert(0, Blocker(run_facts.owner.fault, (run_facts.owner.remedy, command("verify", options))))
    for fault in run_facts.schema.faults:
        what = f"Since the first migration {fault}. Once that is done"
        blockers.insert(0, Blocker(what, (command("report", options),)))
    if run_facts.columns.unmapped:
        found.add(Verdict.FAIL)
        what = f"{run_facts.columns.fault}. To fix that, {run_facts.columns.remedy}. Once that is done"
        blockers.insert(0, Blocker(what, (command("report", options),)))
    cutover_blockers = judge_review(sample, review, run_facts.identity, options)
    return SummaryReport(
        stage=stage,
        facts=run_facts,
        verdict=_overall(found | {census_verdict}, blockers),
        cutover=Cutover.NOT_READY if blockers or cutover_blockers else Cutover.READY,
        blockers=tuple(blockers),
        cutover_blockers=tuple(cutover_blockers),
        totals=_totals(partitions),
        partitions=partitions,
        census=census,
        spot_check=summarize_spot_check(sample, review) if sample else None,
    )


def _overall(verdicts: set[Verdict], blockers: Sequence[Blocker]) -> Verdict:
    if Verdict.FAIL in verdicts:
        return Verdict.FAIL
    return Verdict.NOT_VERIFIED if blockers else Verdict.PASS


def _totals(partitions: Sequence[PartitionSummary]) -> Totals:
    migrations = [each.migration for each in partitions if each.migration]
    passes = total(MigrationCounts, migrations)
    evidence = total(VerificationCounts, (each.evidence for each in partitions if each.evidence))
    traffic = sum((each.traffic for each in partitions), TrafficRecord())
    return Totals(
        partitions=dict(Counter(each.verdict.value for each in partitions)),
        rows=sum(each.rows for each in partitions),
        read=passes.total,
        **values(passes, "migrated", "skipped", "failed", "outcomes", "retries", "throttles", "write_units"),
        in_ledger=sum(len(each.failures) for each in partitions),
        duration_s=round(passes.duration_s, 3),
        rate=round(passes.rate, 1),
        success_rate=passes.success_rate if passes.total else None,
        write_modes=dict(Counter(each.write_mode for each in migrations)),
        verified=evidence.looked_at,
        **values(evidence, "verdicts", "mismatches_found", "agreed_on_recheck", "inexact_timestamps", "undeclared"),
        mismatches_by_attribute=evidence.by_attribute,
        traffic=traffic,
        latency=traffic.latency(),
    )
