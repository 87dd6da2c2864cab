"""A stage's state as runs leave it, in a real store, for tests of what is reported of it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta, timezone
from typing import Any

from imgmig_dagster.reporting.model import RunFacts, SummaryReport, build_report
from imgmig_dagster.reporting.partition_summary import Verdict
from imgmig_dagster.reporting.published_mapping import published_mapping
from imgmig_dagster.reporting.recheckable import Recheck
from imgmig_dagster.rules.invalidation import LastWrite
from imgmig_dagster.source.published import PublishedSource
from imgmig_dagster.source.sampling import Shape
from imgmig_dagster.state import names
from imgmig_dagster.state.checkpoints import CheckpointFile
from imgmig_dagster.state.failures import Failure, FailureLedger
from imgmig_dagster.state.records import save_lines, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.state.writes import writes_so_far
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.verification.census_results import ORPHANS, CensusResult
from imgmig_dagster.verification.review import ReviewedImage, SpotCheckReview
from imgmig_dagster.verification.spot_check_results import SpotCheckPair, SpotCheckResult, StoredObject
from imgmig_dagster.verification.verification_result import Identity, Mismatch, VerificationResult
from imgmig_dagster.window import Window
from imgmig_dagster_tests.images import IMAGE

IDENTITY = Identity("mapping-1", "db.public.images", "arn:table/images", "2025-01-01T00:00:00+00:00", "1", "0.1.0")
FACTS = RunFacts(
    run_id="report-run",
    made_at="2025-01-02T12:00:01.000+00:00",
    counted_at="2025-01-02T12:00:00.000+00:00",
    identity=IDENTITY,
    settings={"write mode": "batch", "page size": "1000"},
    versions={"imgmig-dagster": "0.1.0"},
    assumptions=[],
    recheck=Recheck(published_mapping(IMAGE), PublishedSource("public", "images", True, "UTC", {})),
)
_DAY = datetime(2025, 1, 2, 10, tzinfo=timezone.utc)
# The order in which the steps of a clean migration end.
MIGRATED, VERIFIED, COUNTED = 10, 20, 30


def moment(minute: int) -> str:
    return (_DAY + timedelta(minutes=minute)).isoformat(timespec="milliseconds")


def month(number: int) -> Window:
    start = datetime(2024, number, 1, tzinfo=timezone.utc)
    return Window(start.date().isoformat(), start, (start + timedelta(days=32)).replace(day=1))


MARCH = month(3)
VERIFY_MARCH = "imgmig verify --partition 2024-03-01 --stage staging"
MIGRATE_MARCH = "imgmig migrate --partition 2024-03-01 --stage staging"


@dataclass
class StageState:
    """Saves what each kind of run would save. A minute says when it began; it takes one minute."""

    store: StateStore
    rows: dict[str, int] = field(default_factory=dict)
    windows: list[Window] = field(default_factory=list)

    def window(self, window: Window, rows: int) -> None:
        self.windows.append(window)
        self.rows[window.partition] = rows

    def clean(self, window: Window, rows: int) -> None:
        self.window(window, rows)
        self.migrate(window, {"written": rows})
        self.verify(window, {"match": rows})

    def migrate(self, window: Window, outcomes: Mapping[str, int], minute: int = MIGRATED - 1, **changes: Any) -> None:
        checkpoints = CheckpointFile(self.store, window.partition)
        checkpoint = checkpoints.open(f"migrate-{minute}", {}, moment(minute))
        result = MigrationResult(
            partition=window.partition,
            run_id=f"migrate-{minute}",
            write_mode="batch",
            outcomes=dict(outcomes),
            rows_in_window=sum(outcomes.values()),
            late=0,
            left_window=0,
            started_at=moment(minute),
            finished_at=moment(minute + 1),
            duration_s=2.0,
            resumes=0,
            retries=3,
            throttles=1,
            write_units=float(sum(outcomes.values())),
        )
        checkpoints.archive(checkpoint, result.finished_at, {"result": asdict(replace(result, **changes))})
        self.write(window.partition, "migration", minute)

    def write(self, partition: str | None, by: str, minute: int, ended: bool = True) -> None:
        number = (writes_so_far(self.store, partition) or 0) + 1
        last = LastWrite(by, f"{by}-{minute}", moment(minute), moment(minute + 1) if ended else None, number=number)
        save_record(self.store, names.last_write(partition), last)

    def interrupt_a_pass(self, window: Window) -> None:
        CheckpointFile(self.store, window.partition).open("killed", {}, moment(50))

    def fail(self, window: Window, *failures: Failure) -> None:
        FailureLedger(self.store, window.partition).record(failures)

    def verify(
        self,
        window: Window,
        verdicts: Mapping[str, int],
        mismatches: Sequence[Mismatch] = (),
        /,
        minute: int = VERIFIED,
        **changes: Any,
    ) -> None:
        by_attribute: dict[str, int] = {}
        for mismatch in mismatches:
            if mismatch.attribute:
                by_attribute[mismatch.attribute] = by_attribute.get(mismatch.attribute, 0) + 1
        result = VerificationResult(
            partition=window.partition,
            run_id="verify",
            window=window.describe(),
            verdicts=dict(verdicts),
            rows_in_window=sum(verdicts.values()),
            late=0,
            left_window=0,
            by_attribute=by_attribute,
            mismatches=[],
            mismatches_found=len(mismatches),
            agreed_on_recheck=0,
            inexact_timestamps=0,
            undeclared={},
            digest="1",
            watermark=None,
            identity=IDENTITY,
            started_at=moment(minute),
            finished_at=moment(minute + 1),
            duration_s=1.0,
            writes=writes_so_far(self.store, window.partition),
        )
        save_record(self.store, names.evidence(window.partition), replace(result, **changes))
        save_lines(self.store, names.mismatches(window.partition), mismatches)

    def census(self, minute: int = COUNTED, **changes: Any) -> None:
        result = CensusResult(
            run_id="census",
            source_rows=sum(self.rows.values()),
            rows_counted=sum(self.rows.values()),
            rows_in_partitions=sum(self.rows.values()),
            repeated=0,
            target_items=sum(self.rows.values()),
            other_entities=0,
            missing=0,
            orphans=0,
            differing=0,
            unverified=0,
            agreed_on_recheck=0,
            samples={},
            rows_outside=0,
            rows_outside_sample=[],
            partitions_from=min(window.start for window in self.windows).isoformat(),
            partitions_to="2025-01-01T00:00:00+00:00",
            identity=IDENTITY,
            started_at=moment(minute),
            finished_at=moment(minute + 1),
            duration_s=1.5,
            writes={each.partition: writes_so_far(self.store, each.partition) for each in self.windows}
            | {ORPHANS: writes_so_far(self.store, None)},
        )
        save_record(self.store, names.CENSUS, replace(result, **changes))

    def spot_check(self, *pairs: SpotCheckPair) -> None:
        save_record(self.store, names.SPOT_CHECK, spot_check(*pairs))

    def review(self, *images: ReviewedImage, **changes: Any) -> None:
        save_record(self.store, names.SPOT_CHECK_REVIEW, review(*images, **changes))

    def report(self, facts: RunFacts = FACTS, digest: str = "1", table: str | None = None) -> SummaryReport:
        """The report; the source's digests are today those of the evidence, unless another is given."""
        digests = {window.partition: digest for window in self.windows}
        return build_report(self.store, "staging", self.windows, self.rows, facts, digests, table)


def spot_check(*pairs: SpotCheckPair, source_rows: int = 15_432) -> SpotCheckResult:
    return SpotCheckResult("spot", 7, len(pairs), pairs, source_rows, IDENTITY, moment(40))


def pair(
    row_id: str,
    *fields: tuple[str, str, str, bool],
    has_item: bool = True,
    shape: Shape = Shape.RANDOM,
    picture: StoredObject | None = None,
) -> SpotCheckPair:
    there = StoredObject("images-prod", "uploads/1.jpg", 1_000, "image/jpeg", [])
    return SpotCheckPair(row_id, shape, fields, has_item, picture or there, None)


def review(*images: ReviewedImage, **changes: Any) -> SpotCheckReview:
    """A review of `spot_check`."""
    return replace(SpotCheckReview("staging", "spot", 7, "", moment(50), images), **changes)


def blockers(report: SummaryReport) -> str:
    """What a report lacks, a line each."""
    return "\n".join(each.sentence for each in report.blockers)


def verdict_of(report: SummaryReport, partition: str = MARCH.partition) -> Verdict:
    """What a report says of a partition."""
    return next(each.verdict for each in report.partitions if each.partition == partition)
