"""What to type about each failed check and each error: the same words in alerts, in the UI and in the doctor.

`docs/runbook.md` says more of each.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RUNBOOK: Final = "docs/runbook.md"
_NAMED: Final = 3


@dataclass(frozen=True)
class Remedy:
    """`words` name commands: in them ``{stage}`` is the choice of a stage, ``{where}`` of a stage and partitions;
    ``{write_all}`` and ``{write}`` are the same for commands that write. `section` is the runbook's.
    """

    words: str
    section: str

    def told(self, stage: str, partitions: Sequence[str] = (), table: str | None = None) -> str:
        """The commands as they can be pasted, and where to read on; of a `table` where the stage has several."""
        only = options(stage, table)
        where = f"{only}{_choice(partitions)}"
        confirm = " --confirm TABLE" if stage == "prod" else ""
        words = self.words.format(stage=only, where=where, write=where + confirm, write_all=only + confirm)
        return f"{words} ({RUNBOOK}, {self.section})"

    def general(self) -> str:
        """The same where neither stage nor partitions are known."""
        return self.told("STAGE", ["KEY"])


def options(stage: str, table: str | None = None) -> str:
    """What names a stage to a command, and a `table` of it where it has several."""
    return f"--stage {stage}{f' --table {table}' if table else ''}"


def _choice(partitions: Sequence[str]) -> str:
    if len(partitions) > _NAMED:
        return f" --from {min(partitions)} --to {max(partitions)}"
    return "".join(f" --partition {partition}" for partition in sorted(partitions))


_CHECKS: Final = {
    "rows_are_mappable": "mend these rows in PostgreSQL, then imgmig dry-run {where}",
    "ids_are_unique": "mend the ids that it names in PostgreSQL, then imgmig migrate {write}",
    "columns_are_declared": "map the columns that it names, or give the reason why not in IMGMIG_IGNORED_COLUMNS; then "
    "imgmig report {stage}",
    "every_row_is_accounted_for": "imgmig migrate {write}",
    "no_failed_items": "mend what is permanent, then imgmig retry-failures {write}",
    "zero_mismatches": "imgmig repair {where} tells what a repair would do; imgmig repair {write} --apply does it",
    "coverage_is_complete": "imgmig verify {where}",
    "timestamps_are_exact": "nothing is lost; find out which writer rounds",
    "no_missing_items": "imgmig status {stage} shows what was not migrated; then imgmig migrate {write}",
    "no_orphan_items": "ask whether the application deletes on both sides; imgmig repair {stage} --delete-orphans "
    "tells what would be deleted",
    "no_differing_items": "imgmig verify {stage} says in which partitions; then imgmig repair {stage}",
    "no_rows_outside_partitions": "imgmig doctor {stage} names them; set IMGMIG_PARTITION_START earlier, or mend their "
    "created_at",
    "no_repeated_ids": "mend the ids that it names in PostgreSQL, then imgmig verify {stage}",
    "counts_agree": "imgmig verify {stage} again; if they still disagree, check the table's indexes by pg_amcheck",
    "spot_check_is_clean": "imgmig verify {stage}; then imgmig repair {stage}",
    "pictures_are_as_declared": "report the keys to the application's owners",
    "ready_for_cutover": "imgmig report {stage} lists what is lacking, with the command for each",
}

_JOBS_OF_CHECKS: Final = {
    "every_row_is_accounted_for": "migrate",
    "no_failed_items": "retry_failures",
    "zero_mismatches": "plan_repair, then repair",
    "coverage_is_complete": "verify",
    "no_missing_items": "migrate, then census",
    "no_orphan_items": "delete_orphans, then census",
    "no_differing_items": "verify, then repair and census",
    "no_repeated_ids": "census",
    "counts_agree": "census",
    "spot_check_is_clean": "verify, then repair",
    "ready_for_cutover": "report",
}

_DOCTOR: Final = "imgmig doctor {stage} says what is wrong and how to mend it"
_AWAY: Final = "imgmig doctor {stage} says what is away; wait until it is back"
_ERRORS: Final = {
    "SourceUnavailable": _AWAY,
    "TargetUnavailable": _AWAY,
    "StateUnavailable": _AWAY,
    "InstanceUnavailable": "start the server of Dagster's storage, or mend DAGSTER_POSTGRES_URL; imgmig doctor "
    "{stage} says whether it answers",
    "SettingsError": _DOCTOR,
    "SourceRefused": _DOCTOR,
    "SessionRefused": _DOCTOR,
    "LoginRefused": _DOCTOR,
    "UnreadableText": _DOCTOR,
    "CredentialsUnavailable": "log in to AWS again",
    "TlsRefused": _DOCTOR,
    "ProxyRefused": _DOCTOR,
    "ClockWrong": "set the clock of the machine that ran it",
    "FilesUnavailable": "free the disk or mend the folder that the message on the run's page names",
    "TargetRefused": _DOCTOR,
    "WritesRefused": "docs/errors.md, Writes in prod, says how a write is confirmed",
    "CheckpointRefused": "find out which table, mapping or window changed; if the new one is right, imgmig migrate "
    "{write} --start-over",
    "PartitionBusy": "imgmig status {stage} shows what is being written; wait for the other run",
    "StateChanged": "another run took the partition over: imgmig status {stage} shows it; wait for that run",
    "TooManyFailures": "imgmig status {stage} counts them; key, field and code stand in migration-failures.json",
}
JOBS: Final = {
    "dry_run": "imgmig dry-run {where}",
    "migrate": "imgmig migrate {write}",
    "retry_failures": "imgmig retry-failures {write}",
    "verify": "imgmig verify {where}",
    "verify_due": "imgmig verify {where}",
    "plan_repair": "imgmig repair {where}",
    "repair": "imgmig repair {write} --apply",
    "delete_orphans": "imgmig repair {write_all} --apply --delete-orphans",
    "census": "imgmig verify {stage}",
    "draw_spot_check": "imgmig spot-check {stage}",
    "report": "imgmig report {stage}",
}
"""What to type to do what a job does."""

STALE: Final = Remedy(
    "look at the schedules and their last ticks in the UI; by hand: imgmig verify {where}", "Stale evidence"
)
LEDGER: Final = Remedy(_CHECKS["no_failed_items"], "Checks")


def of_check(name: str) -> Remedy:
    """What to do where a check does not hold."""
    return Remedy(_CHECKS[name], "Checks")


def job_of_check(name: str) -> str | None:
    """The jobs that do the same in Dagster's UI; None where it takes more than a job."""
    return _JOBS_OF_CHECKS.get(name)


def of_run(job: str, class_name: str | None) -> Remedy:
    """What to do about a failed run of a job; the class of the error that ended it, where one did."""
    words = _ERRORS.get(class_name or "", "read the message on the run's page")
    again = JOBS.get(job, "re-execute it there")
    return Remedy(words if again in words else f"{words}; then {again}", "Alerts")
