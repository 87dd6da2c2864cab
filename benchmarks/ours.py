"""The ways that this project takes: the domain's own calls, as an asset makes them."""

from benchmarks.job import MARCH, Job, Sample, measured
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.steps.migrate import migrate
from imgmig_dagster.steps.migration_result import MigrationResult
from imgmig_dagster.steps.verify import verify as verify_window
from imgmig_dagster.verification.verification_result import VerificationResult


def batch(job: Job) -> Sample:
    """A first pass in batch mode, checkpoints and ledger included."""
    return _migrate(job, WriteMode.BATCH)


def conditional(job: Job) -> Sample:
    """A first pass in conditional mode, the second look at the rows included."""
    return _migrate(job, WriteMode.CONDITIONAL)


def verify(job: Job) -> Sample:
    """A verification of what `batch` wrote."""
    _run_verification(job, job.warm_up_table)
    found: list[VerificationResult] = []
    sample = measured(job.rows, lambda: found.append(_run_verification(job, job.source_table)))
    if not found[0].passed or found[0].looked_at != job.rows:
        raise RuntimeError(f"the verification found {dict(found[0].verdicts)} in {job.rows} rows")
    return sample


def _migrate(job: Job, mode: WriteMode) -> Sample:
    _run_migration(job, job.warm_up_table, mode)
    found: list[MigrationResult] = []
    sample = measured(job.rows, lambda: found.append(_run_migration(job, job.source_table, mode)))
    if found[0].migrated != job.rows:
        raise RuntimeError(f"the migration ended with {dict(found[0].outcomes)} of {job.rows} rows")
    return sample


def _run_migration(job: Job, table: str, mode: WriteMode) -> MigrationResult:
    return job.work_on(table, f"state-{table}", lambda work: migrate(work, MARCH, mode))


def _run_verification(job: Job, table: str) -> VerificationResult:
    return job.work_on(table, f"state-{table}", lambda work: verify_window(work, MARCH))
