"""The names of a stage's state files. All readers and writers take them from here."""

from dataclasses import dataclass
from typing import Final

CENSUS: Final = "census.json"
CENSUS_FINDINGS: Final = "census-findings.jsonl"
"""Where earlier versions listed what a census found."""
CENSUSES: Final = "censuses"
CENSUS_EXPORT: Final = "census-export.json"
"""The export to S3 that a census has asked for and not read yet (`steps.census_export.ExportRequest`)."""
ORPHAN_REPAIR: Final = "orphan-repair.json"
CERTIFICATES: Final = "certificates"
SPOT_CHECK: Final = "spot-check.json"
SPOT_CHECK_REVIEW: Final = "spot-check-review.json"
LOG: Final = "migration.log"
"""The log of all runs in a directory (`log`). In a bucket this is an earlier version's."""
STATE_ID: Final = "state-id.json"
"""The id by which the target's mark names this state (`state.identity`)."""
TARGET: Final = "target.json"
"""The table that bears this state's mark (`stage.write_guard`)."""
SCHEMA: Final = "schema.json"
"""Columns and indexes of both sides as the first migration saw them (`verification.schema_changes`)."""
REPORTS: Final = "reports"
SPOT_CHECK_PAGE: Final = f"{REPORTS}/spot-check.html"
THROTTLE: Final = "throttle.json"
RATE_SHARES: Final = "rate-shares.json"
"""Which run holds how much of the stage's rate (`state.rate_shares`)."""
PROBE: Final = "doctor-probe"
"""What the doctor writes, reads and deletes again."""
ORPHANS_LOCK: Final = "orphans.lock"
"""Held while orphan items are deleted."""
TABLE: Final = "whole-table"
"""The index's name for the files at the top, which belong to the whole table."""
INDEX_ENTRIES: Final = "partition-index/entries"
"""What each partition's files say, in S3 (`state.index`)."""
INDEX: Final = "partition-index/index.json.gz"
"""All of these in one."""

# Names within the folder of reports.
CERTIFICATE: Final = "certificate.json"
SUMMARY_JSON: Final = "summary.json"
SUMMARY_MARKDOWN: Final = "summary.md"
SUMMARY_HTML: Final = "summary.html"
PARTITIONS_TABLE: Final = "partitions.csv"
COLUMNS_TABLE: Final = "columns.csv"
FAILURES_TABLE: Final = "failures.csv"
MISMATCHES_TABLE: Final = "mismatches.csv"

# Names within a partition's folder.
MIGRATION_PROGRESS: Final = "migration-progress.json"
FAILURES: Final = "migration-failures.json"
VERIFICATION_PROGRESS: Final = "verification-progress.json"
SEEN: Final = "seen"
VERIFIED: Final = "verified"
PASSES: Final = "passes"
EVIDENCE: Final = "evidence.json"
MISMATCHES: Final = "mismatches.jsonl"
LAST_WRITE: Final = "last-write.json"
LATE_WRITES: Final = "late-writes.jsonl"


@dataclass(frozen=True)
class AppendedFile:
    """A file that runs only add to (`state.appending`).

    In a directory it is the file `name`. With `keep`, a large file is closed and a new one begun; that many earlier
    ones are kept. In a bucket, what one run adds is in objects in the run's `folder`.
    """

    name: str
    folder: str
    keep: int | None = None


def report(name: str) -> str:
    """A file of the last report."""
    return f"{REPORTS}/{name}"


def write_lock(partition: str) -> str:
    """Held while a run writes a partition's items: a migration, a retry, a repair."""
    return f"{partition}/run.lock"


def verification_lock(partition: str) -> str:
    """Held while a run verifies a partition."""
    return f"{partition}/verify.lock"


def passes(partition: str) -> str:
    """The folder of a partition's finished passes."""
    return f"{partition}/{PASSES}"


def finished_pass(partition: str, moment: str, run_id: str) -> str:
    """The record of a pass that finished then."""
    return f"{passes(partition)}/{_stamp(moment)}-{run_id}.json"


def part(folder: str, run_id: str, number: int) -> str:
    """The results of some of a pass's rows; the folder is a partition's `SEEN`, `VERIFIED` or `evidence_parts`."""
    return f"{folder}/{run_id}-{number:06d}.json"


def index_entry(place: str) -> str:
    """What the files say of a partition, or of the `TABLE`."""
    return f"{INDEX_ENTRIES}/{place}.json"


def place_of(name: str) -> tuple[str, str]:
    """The partition of a file, or the `TABLE`, and the file's name there."""
    folder, slash, rest = name.partition("/")
    return (folder, rest) if slash else (TABLE, name)


def inventory(partition: str) -> str:
    """What the source says about a partition (`steps.inventory.SourceInventory`)."""
    return f"{partition}/inventory.json"


def plan(partition: str) -> str:
    """The last dry run (`steps.dry_run.MigrationPlan`)."""
    return f"{partition}/plan.json"


def evidence(partition: str) -> str:
    """The last verification (`verification.verification_result.VerificationResult`), without values."""
    return f"{partition}/{EVIDENCE}"


def evidence_parts(partition: str) -> str:
    """The folder of what the evidence says row by row (`verification.row_parts`)."""
    return f"{partition}/segments"


def faults_of(part: str) -> str:
    """The faults of a part of the evidence, with full values, which are personal data."""
    return f"{part.removesuffix('.json')}-faults.jsonl"


def mismatches(partition: str) -> str:
    """What the last verification found (`verification.verification_result.Mismatch`), with full values."""
    return f"{partition}/{MISMATCHES}"


def last_write(partition: str | None) -> str:
    """Our run that last wrote to a partition's items; None: to orphan items (`state.writes.LastWrite`)."""
    return f"{partition}/{LAST_WRITE}" if partition else LAST_WRITE


def late_writes(partition: str | None) -> str:
    """Our runs that wrote, or may have, after they lost their lock, one line each (`state.writes.LastWrite`)."""
    return f"{partition}/{LATE_WRITES}" if partition else LATE_WRITES


def census(run_id: str) -> str:
    """The folder of the lists of a census."""
    return f"{CENSUSES}/{run_id}"


def census_ids(run_id: str, group: str) -> str:
    """The list of the ids that a census saw in a partition, or outside of all (`state.long_lists`)."""
    return f"{census(run_id)}/ids/{group}"


def census_findings(run_id: str) -> str:
    """The list of the keys on which a census found a difference (`verification.census_results`)."""
    return f"{census(run_id)}/findings"


def rows_left(run_id: str) -> str:
    """The list of the ids whose rows have left the source since a census."""
    return f"{census(run_id)}/left"


def orphans_since(run_id: str) -> str:
    """The list of those among them whose items still exist (`verification.census_results.CensusFinding`)."""
    return f"{census(run_id)}/orphans-since"


def part_of_list(folder: str, number: int) -> str:
    """A file of a long list."""
    return f"{folder}/{number:06d}.json.gz"


def retry(partition: str) -> str:
    """The last retry of a partition's failure ledger (`steps.migration_result.MigrationResult`)."""
    return f"{partition}/retry.json"


def repair(partition: str) -> str:
    """The last repair of a partition (`steps.repair_result.RepairResult`)."""
    return f"{partition}/repair.json"


def audit(moment: str, run_id: str, of: str) -> AppendedFile:
    """The changes that a run made to a partition, or to orphan items, one line each."""
    folder = f"audit/{_stamp(moment)}-{run_id}-{of}"
    return AppendedFile(f"{folder}.jsonl", folder)


def log(moment: str, run_id: str) -> AppendedFile:
    """The log that a run opened then."""
    return AppendedFile(LOG, f"log/{_stamp(moment)}-{run_id}", keep=9)


def certificate(moment: str) -> str:
    """A certificate that was made then."""
    return f"{CERTIFICATES}/{_stamp(moment)}.json"


def _stamp(moment: str) -> str:
    return moment.replace(":", "").replace("+0000", "Z")
