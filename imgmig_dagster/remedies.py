"""What to do about each failed check and each failed run. Alerts, the UI and the runbook show these words.

``python -m imgmig_dagster.remedies`` prints the table of checks for `docs/runbook.md`. Why a single row is rejected is
in `mapping.unfit`.
"""

import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

RUNBOOK: Final = "docs/runbook.md"
_LINK: Final = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_NAMED: Final = 3


@dataclass(frozen=True)
class Remedy:
    """What to do. In `words`, ``{stage}`` becomes the options for the stage, ``{where}`` those for stage and
    partitions; ``{write_all}`` and ``{write}`` are the same for commands that write. `section` is the runbook's.
    """

    words: str
    section: str

    def text(self, stage: str, partitions: Sequence[str] = (), table: str | None = None) -> str:
        """The commands, ready to paste, and where to read more."""
        return f"{self.commands(stage, partitions, table)} ({RUNBOOK}, {self.section})"

    def commands(self, stage: str, partitions: Sequence[str] = (), table: str | None = None) -> str:
        """The commands, ready to paste; for a `table` where the stage has several."""
        only = options(stage, table)
        where = f"{only}{_choice(partitions)}"
        confirm = " --confirm TABLE" if stage == "prod" else ""
        return self.words.format(stage=only, where=where, write=where + confirm, write_all=only + confirm)


def options(stage: str, table: str | None = None) -> str:
    """The options that name a stage, and a `table` where it has several."""
    return f"--stage {stage}{f' --table {table}' if table else ''}"


def _choice(partitions: Sequence[str]) -> str:
    if len(partitions) > _NAMED:
        return f" --from {min(partitions)} --to {max(partitions)}"
    return "".join(f" --partition {partition}" for partition in sorted(partitions))


@dataclass(frozen=True)
class CheckAdvice:
    """What to know about a failed check: the source for the runbook, the UI and alerts.

    `means` and `also` are Markdown. `words` are as in `Remedy`. `jobs` do the same in Dagster's UI, in this order.
    """

    means: str
    words: str
    jobs: tuple[str, ...] = ()
    also: str = ""


CHECKS: Final = {
    "rows_are_mappable": CheckAdvice(
        "Rows cannot become items: a key is empty, a timestamp is out of range, or an item is too large. The metadata "
        "names key, field and [code](errors.md#rows-that-are-rejected-before-they-are-sent)",
        "fix these rows in PostgreSQL, then `imgmig dry-run {where}`",
        ("dry_run",),
    ),
    "ids_are_unique": CheckAdvice(
        "An id of the partition is in the table more than once, or is NULL: two rows would become one item. The check "
        "blocks the migration. It can fail only where no index on the id alone forbids duplicates",
        "fix the ids that the metadata names in PostgreSQL, then `imgmig migrate {write}`",
        ("migrate",),
    ),
    "columns_are_declared": CheckAdvice(
        "The source has columns that are neither mapped nor ignored. The items are as declared, and hold nothing of "
        "these columns",
        "map the columns, or give the reason why not in `ignored` of the declaration; then `imgmig report {stage}`",
        ("report",),
        "[How to decide](#columns-that-are-not-migrated)",
    ),
    "every_row_is_accounted_for": CheckAdvice(
        "The outcomes of the migration do not add up to the rows of the partition",
        "`imgmig migrate {write}`",
        ("migrate",),
        "If it fails again, keep the state folder and report a bug",
    ),
    "no_failed_items": CheckAdvice(
        "The failure ledger holds rows that are not in the target: `rejected` rows need a fix in the source, `failed` "
        "rows used up their retries. Deletes that were held back are in the ledger too",
        "fix what is permanent, then `imgmig retry-failures {write}`",
        ("retry_failures",),
        "For deletes see [below](#deletes-were-held-back)",
    ),
    "zero_mismatches": CheckAdvice(
        "Rows differ from their items, or have no item. The metadata names key and field; the values are in "
        "`mismatches.jsonl`",
        "`imgmig repair {where}` shows what a repair would do; `imgmig repair {write} --apply` does it",
        ("plan_repair", "repair"),
        "A [repair](certificate.md#repair) verifies the same keys again. It leaves an item alone that is newer than "
        "its row: ask the application's owners who wrote it before you use `--source-wins` (in the UI: "
        "`source_wins: true`)",
    ),
    "coverage_is_complete": CheckAdvice(
        "Rows could not be read, or changed at every look: nothing is known of them",
        "`imgmig verify {where}`",
        ("verify",),
    ),
    "timestamps_are_exact": CheckAdvice(
        "A warning: timestamps are within a second of the row's, but are not its milliseconds",
        "nothing is lost; find out which writer rounds",
    ),
    "every_fault_is_repaired": CheckAdvice(
        "A warning: faults that the last verification found are still there. It was a dry run, or items are newer than "
        "their rows, or writes failed. The table `each_key` in the metadata says which and why",
        "`imgmig repair {write} --apply`; for items that are newer, ask the application's owners who wrote them, then "
        "`imgmig repair {write} --apply --source-wins`",
        ("repair",),
        "In the UI the run config of the job `repair` has `source_wins: true`",
    ),
    "no_missing_items": CheckAdvice(
        "Rows have no item. The metadata names their partitions",
        "`imgmig status {stage}` shows what was not migrated; then `imgmig migrate {write}`",
        ("migrate", "census"),
    ),
    "no_orphan_items": CheckAdvice(
        "Items have no row: somebody deleted the rows in PostgreSQL only, or the items are not ours",
        "ask whether the application deletes on both sides; `imgmig repair {stage} --delete-orphans` shows what would "
        "be deleted",
        ("delete_orphans", "census"),
        "If nobody wants the items: `imgmig repair --stage staging --apply --delete-orphans`. Where they are many it "
        "asks for their number; the job always does, as the run config `confirm_deletes`",
    ),
    "no_differing_items": CheckAdvice(
        "The comparison of the whole table found items that differ from their rows. The metadata names their "
        "partitions",
        "`imgmig verify {where}`, then `imgmig repair {where}`",
        ("verify", "plan_repair", "repair", "census"),
    ),
    "no_rows_outside_partitions": CheckAdvice(
        "Rows are before the first partition, in the future, or at no time",
        "`imgmig doctor {stage}` names them; let `partitions` in the declaration start earlier, or fix their "
        "`created_at` in PostgreSQL",
    ),
    "no_repeated_ids": CheckAdvice(
        "An id is in the source more than once, or is NULL: the key is more than the id, the source is a view, or a "
        "unique index is corrupt",
        "fix the rows in PostgreSQL, then `imgmig migrate {write}` and `imgmig verify {stage}`",
        ("migrate", "census"),
        "`REINDEX` a unique index that let the rows in",
    ),
    "counts_agree": CheckAdvice(
        "The census, one plain count and the sum of the partitions give different numbers of rows in one snapshot: an "
        "index is corrupt, or a table that inherits from this one holds rows",
        "`imgmig verify {stage}`; if the counts still disagree, `imgmig doctor {stage}` names tables that inherit, and "
        "`pg_amcheck` a damaged index",
        ("census",),
        "`REINDEX TABLE CONCURRENTLY` repairs the index. Then migrate and verify again: rows may have been missed",
    ),
    "every_orphan_is_deleted": CheckAdvice(
        "A warning: items without a row are still there. It was a dry run, or their number was not confirmed, or "
        "somebody writes them still. The table `each_key` in the metadata says which and why",
        "`imgmig repair {write_all} --apply --delete-orphans`",
        ("delete_orphans", "census"),
        "In the UI the run config of the job `delete_orphans` has to say `confirm_deletes: N`, the number to delete",
    ),
    "spot_check_is_clean": CheckAdvice(
        "Rows of the sample differ from their items, or there is nothing to sample. The page shows both records",
        "`imgmig verify {stage}`, then `imgmig repair {stage}`",
        ("verify", "plan_repair", "repair"),
    ),
    "pictures_are_as_declared": CheckAdvice(
        "A warning: S3 does not have an object as both databases declare it. The fault is older than the migration",
        "report the keys to the application's owners",
    ),
    "ready_for_cutover": CheckAdvice(
        "The cutover is NOT READY: the verdict is not PASS, or a person has not reviewed the spot check. The table "
        "`what_blocks` in the metadata lists each blocker, with its commands",
        "type the commands of the blockers, then `imgmig report {stage}`",
        ("report",),
    ),
}

_DOCTOR: Final = "`imgmig doctor {stage}` says what is wrong and how to fix it"
_AWAY: Final = "`imgmig doctor {stage}` says what is away; wait until it is back"
_ERRORS: Final = {
    "SourceUnavailable": _AWAY,
    "TargetUnavailable": _AWAY,
    "StateUnavailable": _AWAY,
    "InstanceUnavailable": "start the server of Dagster's storage, or fix DAGSTER_POSTGRES_URL; `imgmig doctor "
    "{stage}` says whether it answers",
    "SettingsError": _DOCTOR,
    "SourceRefused": _DOCTOR,
    "SessionRefused": _DOCTOR,
    "LoginRefused": _DOCTOR,
    "UnreadableText": _DOCTOR,
    "CredentialsUnavailable": "log in to AWS again",
    "TlsRefused": _DOCTOR,
    "ProxyRefused": _DOCTOR,
    "ClockWrong": "set the clock of the machine that ran it",
    "FilesUnavailable": "free the disk or fix the folder that the message on the run's page names",
    "TargetRefused": _DOCTOR,
    "WritesRefused": "docs/errors.md, Writes in prod, says how a write is confirmed",
    "CheckpointRefused": "find out which table, mapping or window changed; if the new one is right, `imgmig migrate "
    "{write} --start-over`",
    "PartitionBusy": "`imgmig status {stage}` shows what is being written; wait for the other run",
    "StateChanged": "another run took the partition over: `imgmig status {stage}` shows it; wait for that run",
    "TooManyFailures": "`imgmig status {stage}` counts them; key, field and code are in migration-failures.json",
}
JOBS: Final = {
    "dry_run": "`imgmig dry-run {where}`",
    "migrate": "`imgmig migrate {write}`",
    "retry_failures": "`imgmig retry-failures {write}`",
    "verify": "`imgmig verify {where}`",
    "verify_due": "`imgmig verify {where}`",
    "plan_repair": "`imgmig repair {where}`",
    "repair": "`imgmig repair {write} --apply`",
    "delete_orphans": "`imgmig repair {write_all} --apply --delete-orphans`",
    "census": "`imgmig verify {stage}`",
    "draw_spot_check": "`imgmig spot-check {stage}`",
    "report": "`imgmig report {stage}`",
}
"""The command that does the same as a job."""

STALE: Final = Remedy(
    "look at the schedules and their last ticks in the UI; by hand: `imgmig verify {where}`", "Stale evidence"
)
LEDGER: Final = Remedy(CHECKS["no_failed_items"].words, "Checks")


def of_check(name: str) -> Remedy:
    """What to do about a failed check."""
    return Remedy(CHECKS[name].words, "Checks")


def table_of_checks() -> str:
    """The runbook's table: each check, what its failure means, and what to do."""
    rows = [
        f"| `{name}` | {each.means} | {_sentences(of_check(name).commands('staging', ['KEY']), each.also)} "
        f"| {_in_code(each.jobs)} |"
        for name, each in CHECKS.items()
    ]
    return "\n".join(
        ["| check | what it means when it fails | what to do | jobs in the UI |", "|---|---|---|---|", *rows]
    )


def of_check_in_full(name: str, stage: str, partitions: Sequence[str] = (), table: str | None = None) -> str:
    """The runbook's advice on a check, as Markdown, with the commands for this stage and these partitions."""
    advice = CHECKS[name]
    to_do = _sentences(of_check(name).commands(stage, partitions, table), advice.also)
    text = f"**{name}**\n\n{advice.means}.\n\nNext: {to_do}.\n\nMore: `{RUNBOOK}`, section Checks."
    # Links between documents do not work in the UI.
    return _LINK.sub(r"\1", text)


def _sentences(first: str, second: str) -> str:
    return f"{first}. {second}" if second else first


def _in_code(words: Sequence[str]) -> str:
    return ", then ".join(f"`{word}`" for word in words)


def of_run(job: str, class_name: str | None) -> Remedy:
    """What to do about a failed run of a job; `class_name` is the class of the error that ended it, if any."""
    words = _ERRORS.get(class_name or "", "read the message on the run's page")
    again = JOBS.get(job, "re-execute it there")
    return Remedy(words if again in words else f"{words}; then {again}", "Alerts")


if __name__ == "__main__":
    sys.stdout.write(f"{table_of_checks()}\n")
