"""The ways that this project takes: the domain's own calls, as an asset makes them."""

from typing import Any

from benchmarks.job import MARCH, PAGE, Job, Sample, measured
from imgmig_dagster.migration.passes import MigrationRun
from imgmig_dagster.stage import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.verification.verifier import VerificationRun


def batch(job: Job) -> Sample:
    """A first pass in batch mode, checkpoints and ledger included."""
    return _migrate(job, WriteMode.BATCH)


def conditional(job: Job) -> Sample:
    """A first pass in conditional mode, the second look at the rows included."""
    return _migrate(job, WriteMode.CONDITIONAL)


def verify(job: Job) -> Sample:
    """A verification of what `batch` wrote."""
    _run_verification(job, job.warm_up_table)
    found: list[Any] = []
    sample = measured(job.rows, lambda: found.append(_run_verification(job, job.source_table)))
    if not found[0].passed or found[0].looked_at != job.rows:
        raise RuntimeError(f"the verification found {dict(found[0].verdicts)} in {job.rows} rows")
    return sample


def _migrate(job: Job, mode: WriteMode) -> Sample:
    _run_migration(job, job.warm_up_table, mode)
    found: list[Any] = []
    sample = measured(job.rows, lambda: found.append(_run_migration(job, job.source_table, mode)))
    if found[0].migrated != job.rows:
        raise RuntimeError(f"the migration ended with {dict(found[0].outcomes)} of {job.rows} rows")
    return sample


def _run_migration(job: Job, table: str, mode: WriteMode) -> Any:
    with job.reader(table) as reader:
        return MigrationRun(
            source=reader,
            target=job.target(),
            state=LocalStateStore(job.folder(f"state-{table}")),
            window=MARCH,
            run_id="bench",
            write_mode=mode,
            page_size=PAGE,
            settle_seconds=0.0,
            listener=lambda _progress: None,
        ).migrate()


def _run_verification(job: Job, table: str) -> Any:
    with job.reader(table) as reader:
        return VerificationRun(
            source=reader,
            target=job.target(),
            state=LocalStateStore(job.folder(f"state-{table}")),
            run_id="bench",
            page_size=PAGE,
            settle_seconds=0.0,
            listener=lambda _progress: None,
        ).verify(MARCH)
