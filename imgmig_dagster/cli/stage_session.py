"""One command's work on a stage: chooses partitions, runs jobs, and returns their results."""

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from imgmig_dagster import remedies
from imgmig_dagster.cli import command_results, left_out, migrations, repairs, status
from imgmig_dagster.cli.choice import RowsCounted, adjoining, chosen_partitions, refuse_beside_another
from imgmig_dagster.cli.console import CommandResult, Output, Relay, finish
from imgmig_dagster.cli.web_page import open_page
from imgmig_dagster.errors import ImgmigError, Interrupted
from imgmig_dagster.files import refusals_as
from imgmig_dagster.garbage import kept_for_good
from imgmig_dagster.sandbox.attaching import attach, require_running
from imgmig_dagster.stage.config import dagster_home, hand_on_dagster_variables, load_settings
from imgmig_dagster.stage.dagster_home import check_dagster_home
from imgmig_dagster.stage.services import source_connections, source_reader, stage_state
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stage_table import MIGRATED
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import set_in, stage_tables
from imgmig_dagster.state import names
from imgmig_dagster.state.failures import confirmed_deletes
from imgmig_dagster.state.opening import table_state
from imgmig_dagster.state.records import load_record, save_record
from imgmig_dagster.state.store import StateStore
from imgmig_dagster.steps.census_sides import disk_needed
from imgmig_dagster.steps.repair_result import RepairResult
from imgmig_dagster.verification.review import ReviewRefused, read_review
from imgmig_dagster.verification.spot_check_results import SpotCheckResult
from imgmig_dagster.window import Window, now, span

if TYPE_CHECKING:
    from imgmig_dagster.local_runs.runner import JobRunner

# The config of the assets for a run over some partitions.
_Config: TypeAlias = Callable[[Sequence[str]], Mapping[str, Any] | None]


class StageSession:
    """A table of a stage, opened for one command. Ctrl-C within it ends the command cleanly.

    In dev the sandbox is started, if the stage is of it and the command `starts` anything.
    """

    def __init__(self, stage: Stage, output: Output, table: str, starts: bool = True) -> None:
        self._starts = starts
        self._chosen = table
        self.stage = stage
        self.output = output
        self._relay = Relay()
        self._resources = ExitStack()
        self._whole_table = False

    def __enter__(self) -> "StageSession":
        # Settings before imports: this reports a missing setting at once, while Dagster takes a second.
        if self._starts:
            attach(self.stage)
        self.settings: Settings = load_settings(self.stage)
        if not self._starts:
            require_running(self.stage)
        hand_on_dagster_variables(self.stage)
        self._home = dagster_home(self.stage)
        check_dagster_home(self._home, self.stage)
        self.table = next(each for each in stage_tables(self.stage) if each.name == self._chosen)
        self._options = remedies.options(self.stage.value, self.table.option)
        self.windows: Sequence[Window] = self.table.partitions.windows()
        self._set_in = set_in(self.stage, self.table.name)
        self.state: StateStore = table_state(stage_state(self.settings), self.table.name)
        mapping = self.settings.applied_to(self.table.mapping)
        with self._resources:
            reader = source_reader(self.settings, source_connections(self.settings), mapping)
            self.source = self._resources.enter_context(reader)
            self._counted = RowsCounted(self.source, self.windows)
            _ = self.source.table  # refuses a table that does not fit its mapping, before Dagster starts
            self._resources = self._resources.pop_all()
        return self

    @cached_property
    def _runner(self) -> "JobRunner":
        """Runs the jobs. Dagster takes longer to import than a command takes that runs none."""
        with kept_for_good():
            from imgmig_dagster.defs.build import build_definitions
            from imgmig_dagster.local_runs.runner import JobRunner

        definitions = build_definitions(self.stage, self._relay, self._relay.end, self._relay.notice)
        return self._resources.enter_context(JobRunner(definitions, self._home))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._resources.close()
        if isinstance(error, KeyboardInterrupt):
            raise Interrupted("stopped; nothing is lost. Run the same command again to resume") from None

    def finish(self, finding: CommandResult) -> None:
        """Show the result, and end the command with its exit code."""
        finish(self.output, finding)

    def choose(self, keys: Sequence[str] | None, first: str | None, last: str | None) -> list[str]:
        """The partitions that the options name; without any, those that hold rows or of which something is known.

        Raises:
            SettingsError: an option names no partition.
        """
        self._whole_table = not (keys or first or last)
        return chosen_partitions(self.windows, self._counted, self.state, keys, first, last, self._set_in)

    def dry_run(self, keys: Sequence[str]) -> CommandResult:
        """Run the job `dry_run`."""
        finished, errors, took = self._run("dry_run", "Planned", keys)
        return self._naming_left_out(migrations.of_plans(self.state, finished, errors, took), keys)

    def migrate(
        self,
        keys: Sequence[str],
        start_over: bool = False,
        confirm: str | None = None,
        confirm_deletes: int | None = None,
    ) -> CommandResult:
        """Run the job `migrate`.

        `confirm` is the target table's name, which prod asks for; `confirm_deletes` the number of deletes that are held
        back in the ledgers of all these partitions.

        Raises:
            SettingsError: another number is held back.
        """
        refuse_beside_another(self.state, keys)
        confirmed = confirmed_deletes(self.state, keys, confirm_deletes)
        config = {"start_over": start_over, "confirm": confirm}
        finished, errors, took = self._run("migrate", "Migrated", keys, self._confirming(config, confirmed))
        found = migrations.of_migration(self.state, keys, finished, errors, took, self._options)
        return self._naming_left_out(found, keys)

    def retry_failures(
        self, keys: Sequence[str], confirm: str | None = None, confirm_deletes: int | None = None
    ) -> CommandResult:
        """Run the job `retry_failures` on the partitions whose ledger is not empty; the rest as in `migrate`."""
        failing = [key for key, entries in migrations.ledgers(self.state, keys).items() if entries]
        refuse_beside_another(self.state, failing)
        confirmed = confirmed_deletes(self.state, failing, confirm_deletes)
        config = self._confirming({"confirm": confirm}, confirmed)
        finished, errors, took = self._run("retry_failures", "Retried", failing, config)
        return migrations.of_ledgers(
            self.state, failing, finished, errors, took, self._options, self.settings.reports.keep_values
        )

    def repair(
        self,
        keys: Sequence[str],
        apply: bool,
        source_wins: bool,
        delete_orphans: bool,
        whole_table: bool,
        confirm: str | None,
        confirm_deletes: int | None,
    ) -> CommandResult:
        """Run the job `repair` where the last verification lists a key, or `plan_repair` unless `apply`.

        With `whole_table` the orphans of the last census are listed, and with `delete_orphans` deleted by the job of
        that name, `confirm_deletes` of them where they are many; then the `census` is taken again. `confirm` as in
        `migrate`.
        """
        failing, orphan_repair = repairs.to_repair(self.state, keys), None
        if apply:
            refuse_beside_another(self.state, failing)
        config = {self.table.asset("repair_report"): {"source_wins": source_wins, "confirm": confirm}}
        job = "repair" if apply else "plan_repair"
        finished, errors, took = self._run(job, "Repaired", failing, lambda _keys: config)
        if delete_orphans and not errors and repairs.orphans(self.state):
            deletion = {"apply": apply, "confirm": confirm, "confirm_deletes": confirm_deletes}
            deletion |= {"census": repairs.census_of(self.state)}
            errors += self._run_one("delete_orphans", {self.table.asset("orphan_report"): deletion})
            orphan_repair = None if errors else load_record(self.state, names.ORPHAN_REPAIR, RepairResult)
            if apply and orphan_repair and not repairs.held_back(orphan_repair):
                errors += self._census()
        if apply:
            errors += self._run_one("report")
        left = repairs.orphans(self.state) if whole_table else []
        return repairs.of_repair(self.state, finished, errors, took, apply, left, orphan_repair, self._options)

    def verify(self, keys: Sequence[str], whole_table: bool, only_failed: bool = False) -> CommandResult:
        """Run the jobs `verify` and `report`, and with `whole_table` the `census` in between."""
        config = {self.table.asset("verification_report"): {"only_failed": only_failed}}
        finished, errors, took = self._run("verify", "Verified", keys, lambda _keys: config)
        if whole_table and not errors:
            errors += self._census()
        errors += self._run_one("report")
        found = command_results.of_verification(self.state, finished, errors, took, whole_table)
        return found if whole_table else self._naming_columns(found)

    def spot_check(self, count: int, seed: int | None, keep_last: bool = False) -> CommandResult:
        """Run the job `draw_spot_check`; with `keep_last` a sample that a person has reviewed, or may, stays."""
        config = {"count": count, "seed": seed, "keep_last": keep_last}
        errors = self._run_one("draw_spot_check", {self.table.asset("spot_check"): config})
        return command_results.of_spot_check(self.state, errors)

    def review(self, file: Path) -> CommandResult:
        """Record the review in the file, in the state and in Dagster.

        Raises:
            ReviewRefused: it is not of the last sample, or not complete.
        """
        from imgmig_dagster.defs.metadata import of_review

        sample = load_record(self.state, names.SPOT_CHECK, SpotCheckResult)
        with refusals_as(ReviewRefused, file, "save it elsewhere", reads=True):
            content = file.read_bytes()
        found = read_review(content, sample, self.stage.value, self.table.option)
        save_record(self.state, names.SPOT_CHECK_REVIEW, found)
        self._runner.observe(self.table.asset("spot_check"), of_review(found))
        return command_results.of_review(found, self.table.mapping.noun, self._options)

    def report(self, opens: bool = False) -> CommandResult:
        """Run the job `report`, and open its page in a browser if asked to."""
        errors = self._run_one("report")
        if opens and not errors:
            open_page(self.state.locate(names.report(names.SUMMARY_HTML)), self.settings, self.output)
        return command_results.of_report(self.state, errors)

    def status(self, keys: Sequence[str] = ()) -> CommandResult:
        """What is known of these partitions, or of all, judged as the report does; runs no job."""
        counted_at = now()
        rows = self._counted.rows_per_window(self.windows)
        return status.of_table(self.settings, self.table, self.state, self.source, rows, counted_at, keys)

    def _naming_left_out(self, finding: CommandResult, keys: Sequence[str]) -> CommandResult:
        """The result, with the rows that no migration reaches; unchanged if the source could not be asked."""
        if finding.exit_code > 1:
            return finding
        outside = self.source.rows_outside(*span(self.windows))
        repeated = left_out.repeated_ids(self.state, keys)
        order_column = self.source.mapping.order.column
        found = self._naming_columns(finding)
        return left_out.naming_left_out(found, outside, repeated, order_column, self._whole_table, self._set_in)

    def _naming_columns(self, finding: CommandResult) -> CommandResult:
        """The result, with the columns that no item carries; unchanged if the source could not be asked."""
        if finding.exit_code > 1:
            return finding
        return left_out.naming_columns(finding, self.state, self.source, self.settings)

    def _run(
        self, job: str, verb: str, keys: Sequence[str], config: _Config = lambda _keys: None
    ) -> tuple[list[str], list[ImgmigError], float]:
        """Run a job over partitions; where they do not adjoin, once for each stretch that does.

        Returns the partitions that were finished, the errors that ended the others early, and the total seconds. The
        state of the others is from an earlier command.

        An error of one partition lets the others go on; what the others would meet too ends the command.
        """
        started = time.monotonic()
        finished: list[str] = []
        errors: list[ImgmigError] = []
        chosen = set(keys)
        rows = self._counted.rows_per_window([each for each in self.windows if each.partition in chosen])
        total = sum(rows.values())
        with self.output.progress(verb, total) as self._relay.watched:
            for stretch in adjoining(self.windows, keys):
                self._relay.ended = []
                result = self._runner.run(self.table.named(job), stretch, config(stretch))
                if result.interrupted:
                    raise KeyboardInterrupt
                ended = sorted(self._relay.ended, key=lambda each: stretch.index(each.partition))
                finished += [each.partition for each in ended if each.error is None]
                failed = [each.error for each in ended if each.error is not None]
                # A run that could not begin with any of its partitions has an error of its own.
                errors += failed or ([result.error] if result.error is not None else [])
                if any(error.ends_all for error in errors):
                    break
        self._relay.watched = None
        return finished, errors, time.monotonic() - started

    def _census(self) -> list[ImgmigError]:
        rows = sum(self._counted.rows_per_window(self.windows).values())
        self.output.say(f"Taking the census of the whole table ({disk_needed(rows)}) ...")
        with self.output.phases() as self._relay.watched:
            errors = self._run_one("census")
        self._relay.watched = None
        return errors

    def _run_one(self, job: str, config: Mapping[str, Any] | None = None) -> list[ImgmigError]:
        result = self._runner.run(self.table.named(job), config=config)
        if result.interrupted:
            raise KeyboardInterrupt
        return [result.error] if result.error is not None else []

    def _confirming(self, config: Mapping[str, Any], deletes: Mapping[str, int | None]) -> _Config:
        """The config of a migration, which confirms the deletes that are held back in the ledgers of its partitions."""
        asset = self.table.asset(MIGRATED)
        return lambda keys: {asset: {**config, "confirm_deletes": sum(deletes[key] or 0 for key in keys) or None}}
