"""The certificate of a stage: what the evidence proved at one moment, and the differences between two certificates.

`certificate_file` writes and reads it as a file, with hash and signature.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Annotated, Any, Final

from imgmig_dagster.figures import values
from imgmig_dagster.mapping.not_migrated import NotMigrated
from imgmig_dagster.reporting.cutover import Cutover, SpotCheckSummary
from imgmig_dagster.reporting.model import RunFacts, SummaryReport
from imgmig_dagster.reporting.partition_summary import PartitionSummary, Verdict
from imgmig_dagster.reporting.recheckable import Recheck, Side, both_sides
from imgmig_dagster.rules.invalidation import Invalidation, LastWrite
from imgmig_dagster.state.records import renamed
from imgmig_dagster.verification.census_results import CensusResult, LeftSince
from imgmig_dagster.verification.schema_changes import SchemaDrift
from imgmig_dagster.verification.verification_result import Identity, Rounds, VerificationResult
from imgmig_dagster.window import seconds_between

FORMAT: Final = 4
READABLE: Final = (3, 4)
"""Format 3 had other names for the blockers and for why evidence does not count."""
_OF_VERSIONS: Final = "every application write raises the item's {}"
_OF_CLOCKS: Final = "the clocks of application and database agree within 1 second"
_ASSUMPTIONS: Final = (
    "PostgreSQL is the truth until cutover",
    "the application commits to PostgreSQL first, then writes to DynamoDB",
    "every read of the source was of the primary",
    "a row's id is unique and never changes",
)
_CERTIFIED: Final = (
    "Every row{where} that was visible in the source at {counted_at} has its item in the target, equal in every mapped "
    "field, under the assumptions. The source's digests were then those of the comparisons; what somebody changed in "
    "the target alone since each comparison is not covered.{moving}{orphans}"
)
_NO_ORPHANS: Final = (
    " Every item that the census met had its row: the table was {read}. An item without a row that others put there "
    "after {since} is not covered. Of the rows that the census read {left:,} have left the source until {counted_at}; "
    "the items of all of them are gone."
)
_MOVING: Final = (
    " {rows:,} of these rows changed again while they were looked at: each was seen equal, or gone on both sides, "
    "after that."
)
_NOT_CERTIFIED: Final = "Nothing is certified: PASS is blocked by what is listed."


@dataclass(frozen=True)
class CertifiedTable:
    """The migrated table: the name of its declaration, its own name, and which of its rows are migrated.

    Columns that no item carries are in `Certificate.columns`, the declaration's hash in `Certificate.identity`.
    """

    name: str
    source: str
    where: str | None

    @property
    def shown(self) -> str:
        """The table in words."""
        return f"{self.name} ({self.source})" + (f", rows where {self.where}" if self.where else "")


@dataclass(frozen=True)
class CertifiedPartition:
    """One partition that is not empty: the rows whose order column is in ``[start, end)``.

    `source` and `target` are what each side held at the certificate's time. `invalidation` says why the evidence does
    not count; `age_s` is the age of its oldest comparison.
    """

    partition: str
    start: str
    end: str
    source: Side | None
    target: Side | None
    verdict: Verdict
    rows: int
    in_ledger: int
    evidence: VerificationResult | None
    age_s: float | None
    invalidation: Annotated[Invalidation | None, renamed("invalidation", "void")]
    last_write: LastWrite | None


@dataclass(frozen=True)
class Certificate:
    """Everything that a verdict is based on, and `meaning`: what the verdict states.

    `verdict` judges the data alone, `cutover` the data and the review. `blockers` keep the verdict from PASS,
    `cutover_blockers` the cutover from READY. `counted_at` is when the source's rows were counted. `empty` are the
    first and last of each run of partitions without a row. `ledger` counts the rows of the failure ledgers,
    ``rejected`` those that no retry can help. `columns` are those of the source that no item carries. `rounds` says how
    the evidence was brought to `counted_at`, `left` what became of the rows that have left the source since the census.
    `recheck` is what else an outsider needs to check all that. `schema` is what has changed on either side since the
    first migration.
    """

    format: int
    stage: str
    verdict: Verdict
    cutover: Cutover
    meaning: str
    assumptions: Sequence[str]
    made_at: str
    counted_at: str
    run_id: str
    blockers: Annotated[Sequence[str], renamed("blockers", "lacking")]
    cutover_blockers: Annotated[Sequence[str], renamed("cutover_blockers", "lacking_review")]
    partitions: Sequence[CertifiedPartition]
    empty: Sequence[tuple[str, str]]
    census: CensusResult | None
    ledger: Mapping[str, int]
    spot_check: SpotCheckSummary | None
    identity: Identity | None
    settings: Mapping[str, str]
    versions: Mapping[str, str]
    columns: NotMigrated = field(default_factory=NotMigrated)
    rounds: Rounds | None = None
    left: LeftSince | None = None
    recheck: Recheck | None = None
    table: CertifiedTable | None = None
    schema: SchemaDrift = field(default_factory=SchemaDrift)

    @property
    def rows(self) -> int:
        """The rows of all partitions."""
        return sum(each.rows for each in self.partitions)


@dataclass(frozen=True)
class CertificateChange:
    """One difference between two certificates: where, what, and the value in each."""

    where: str
    what: str
    before: Any
    after: Any


def certify(report: SummaryReport) -> Certificate:
    """The certificate of a report."""
    failures = report.failures
    return Certificate(
        format=FORMAT,
        stage=report.stage,
        verdict=report.verdict,
        cutover=report.cutover,
        meaning=_NOT_CERTIFIED if report.blockers else _meaning(report.facts, report.census),
        assumptions=[*_assumptions(report.facts.recheck), *report.facts.assumptions],
        made_at=report.facts.made_at,
        counted_at=report.facts.counted_at,
        run_id=report.facts.run_id,
        blockers=[each.sentence for each in report.blockers],
        cutover_blockers=[each.sentence for each in report.cutover_blockers],
        partitions=[_certified(each, report.facts) for each in report.filled],
        empty=list(report.empty_ranges),
        census=report.census,
        ledger={"rows": len(failures), "rejected": sum(failure.permanent for _partition, failure in failures)},
        spot_check=report.spot_check,
        identity=report.facts.identity,
        settings=report.facts.settings,
        versions=report.facts.versions,
        columns=report.facts.columns,
        rounds=report.facts.rounds,
        left=report.facts.left,
        recheck=report.facts.recheck,
        table=_table(report.facts.recheck),
        schema=report.facts.schema,
    )


def compare(before: Certificate, after: Certificate) -> Sequence[CertificateChange]:
    """What changed between two certificates; times, runs and ages always do, and are left out."""
    changes = [
        *_changes("certificate", _facts_of_stage(before), _facts_of_stage(after)),
        *_changes("census", _facts_of_census(before.census), _facts_of_census(after.census)),
        *_changes("ledger", before.ledger, after.ledger),
    ]
    first, second = ({each.partition: each for each in found.partitions} for found in (before, after))
    for partition in sorted({*first, *second}):
        facts = (_facts_of_partition(found.get(partition)) for found in (first, second))
        changes += _changes(f"partition {partition}", *facts)
    return changes


def _certified(summary: PartitionSummary, facts: RunFacts) -> CertifiedPartition:
    evidence = summary.verification
    source, target = both_sides(summary, facts.ends.get(summary.partition), facts.recheck)
    return CertifiedPartition(
        partition=summary.partition,
        start=summary.start.isoformat(),
        end=summary.end.isoformat(),
        source=source,
        target=target,
        verdict=summary.verdict,
        rows=summary.rows,
        in_ledger=len(summary.failures),
        evidence=evidence,
        age_s=round(seconds_between(evidence.oldest_look_at, facts.counted_at), 3) if evidence else None,
        invalidation=summary.invalidation,
        last_write=summary.written,
    )


def _table(recheck: Recheck | None) -> CertifiedTable | None:
    if recheck is None:
        return None
    mapping, source = recheck.mapping, recheck.source
    return CertifiedTable(mapping.name, f"{source.schema}.{source.table}", mapping.where)


def _assumptions(recheck: Recheck | None) -> list[str]:
    mapping = recheck.mapping if recheck else None
    of_versions = [_OF_VERSIONS.format(mapping.version)] if mapping and mapping.version else []
    return [*_ASSUMPTIONS, *of_versions, *([_OF_CLOCKS] if mapping and mapping.modified else [])]


def _meaning(facts: RunFacts, census: CensusResult | None) -> str:
    moving = len(facts.rounds.moving) if facts.rounds else 0
    orphans = ""
    if census and facts.left:
        # The census covers items that never had a row, the report those that lost their row.
        orphans = _NO_ORPHANS.format(
            read=census.target_read,
            since=census.target_as_of or census.started_at,
            left=facts.left.rows,
            counted_at=facts.counted_at,
        )
    condition = facts.recheck.mapping.where if facts.recheck else None
    return _CERTIFIED.format(
        where=f" where {condition}" if condition else "",
        counted_at=facts.counted_at,
        orphans=orphans,
        moving=_MOVING.format(rows=moving) if moving else "",
    )


def _facts_of_stage(found: Certificate) -> Mapping[str, Any]:
    spot_check = asdict(found.spot_check) if found.spot_check else None
    words = {"verdict": found.verdict.value, "cutover": found.cutover.value}
    facts = {
        "spot check": spot_check,
        "identity": found.identity,
        "columns not migrated": found.columns,
        "schema": found.schema,
    }
    return {"stage": found.stage, "table": found.table and found.table.shown, **words, **facts}


def _facts_of_census(census: CensusResult | None) -> Mapping[str, Any]:
    if census is None:
        return {}
    counted = values(census, "source_rows", "rows_counted", "rows_in_partitions", "repeated", "target_items", "missing")
    faults = values(census, "orphans", "differing", "unverified", "rows_outside")
    return {**counted, **faults, "began at": census.started_at, "target": census.target_read}


def _facts_of_partition(found: CertifiedPartition | None) -> Mapping[str, Any]:
    if found is None:
        return {}
    facts: dict[str, Any] = {"verdict": found.verdict.value, "rows": found.rows, "in ledger": found.in_ledger}
    if found.invalidation:
        facts["invalidation"] = found.invalidation.what
    if found.evidence:
        facts["digest"] = found.evidence.digest
        facts["verified at"] = found.evidence.started_at
        facts |= found.evidence.verdicts
    return facts


def _changes(where: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> list[CertificateChange]:
    return [
        CertificateChange(where, what, before.get(what), after.get(what))
        for what in dict.fromkeys([*before, *after])
        if before.get(what) != after.get(what)
    ]
