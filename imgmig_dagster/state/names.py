"""The names of a stage's state files, in one place: every reader and writer of them agrees here."""

from typing import Final

CENSUS: Final = "census.json"
CENSUS_FINDINGS: Final = "census-findings.jsonl"
ORPHAN_REPAIR: Final = "orphan-repair.json"
CERTIFICATES: Final = "certificates"
SPOT_CHECK: Final = "spot-check.json"
SPOT_CHECK_REVIEW: Final = "spot-check-review.json"
LOG: Final = "migration.log"
REPORTS: Final = "reports"
SPOT_CHECK_PAGE: Final = "reports/spot-check.html"


# Names within a partition's folder.
MIGRATION_PROGRESS: Final = "migration-progress.json"
FAILURES: Final = "migration-failures.json"
VERIFICATION_PROGRESS: Final = "verification-progress.json"
SEEN: Final = "seen"
VERIFIED: Final = "verified"


def inventory(partition: str) -> str:
    """What the source says of a partition (`migration.inventory.SourceInventory`)."""
    return f"{partition}/inventory.json"


def plan(partition: str) -> str:
    """The last dry run (`migration.plan.MigrationPlan`)."""
    return f"{partition}/plan.json"


def evidence(partition: str) -> str:
    """The last verification (`verification.results.VerificationResult`), without values."""
    return f"{partition}/evidence.json"


def mismatches(partition: str) -> str:
    """What the last verification found (`verification.results.Mismatch`), with full values."""
    return f"{partition}/mismatches.jsonl"


def last_write(partition: str | None) -> str:
    """What of ours wrote last to a partition's items; None: to items without a row (`state.writes.LastWrite`)."""
    return f"{partition}/last-write.json" if partition else "last-write.json"


def retry(partition: str) -> str:
    """The last retry of a partition's failure ledger (`migration.results.MigrationResult`)."""
    return f"{partition}/retry.json"


def repair(partition: str) -> str:
    """The last repair of a partition (`migration.repair.RepairResult`)."""
    return f"{partition}/repair.json"


def audit(moment: str, run_id: str) -> str:
    """The changes that a repair made, one line each."""
    return f"audit/{_stamp(moment)}-{run_id}.jsonl"


def certificate(moment: str) -> str:
    """A certificate that was made then."""
    return f"{CERTIFICATES}/{_stamp(moment)}.json"


def _stamp(moment: str) -> str:
    return moment.replace(":", "").replace("+0000", "Z")
