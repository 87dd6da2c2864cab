"""The command line: the commands that work on a stage. Each command's result is worded in its own module here."""

import gc
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from imgmig_dagster import __version__
from imgmig_dagster.cli import (
    capacity,
    certificate_commands,
    demo,
    doctor,
    init,
    mapping,
    rehearsal,
    sandbox,
    throttle_commands,
    ui,
)
from imgmig_dagster.cli.console import CommandResult, Output, finish, finish_all
from imgmig_dagster.cli.ending import run
from imgmig_dagster.cli.options import Json, StageOption, TableOption, TablesOption, chosen
from imgmig_dagster.cli.self_test import check_the_checker
from imgmig_dagster.cli.stage_session import StageSession
from imgmig_dagster.errors import Interrupted, SettingsError
from imgmig_dagster.local_runs.signals import terminated_like_ctrl_c
from imgmig_dagster.stage.tables import chosen_table, chosen_tables


class _Commands(TyperGroup):
    """Ctrl-C, or SIGTERM, ends every command with one line and the exit code of `Interrupted`."""

    def invoke(self, ctx: Any) -> Any:
        try:
            with terminated_like_ctrl_c():
                return super().invoke(ctx)
        except KeyboardInterrupt:
            raise Interrupted("stopped. Give the same command again to go on") from None


app = typer.Typer(
    name="imgmig",
    cls=_Commands,
    help="Moves image metadata from PostgreSQL to DynamoDB, and proves that nothing was lost or changed.",
    epilog="Exit codes: 0 done and clean; 1 mismatches, or failed, rejected or unverified items; 2 wrong usage or "
    "settings; 3 a service cannot be reached; 4 another run works on the same partitions; 130 stopped by Ctrl-C.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"imgmig {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version.")
    ] = False,
) -> None:
    pass


app.add_typer(certificate_commands.app, name="certificate")
app.add_typer(mapping.app, name="mapping")
app.add_typer(sandbox.app, name="sandbox")
app.command("demo", epilog="Example: imgmig demo --images 2000")(demo.demo)
app.command("doctor", epilog=doctor.EXAMPLE)(doctor.doctor)
app.command("init", epilog=init.EXAMPLES)(init.init)
app.command("plan", epilog=capacity.EXAMPLES)(capacity.plan)
app.command("rehearse", epilog=rehearsal.EXAMPLE)(rehearsal.rehearse)
app.command("throttle", epilog=throttle_commands.EXAMPLES)(throttle_commands.throttle)
app.command("ui", epilog="Example: imgmig ui --port 3001")(ui.ui)

Partitions = Annotated[
    list[str] | None, typer.Option("--partition", help="A partition, by key or by a day in it; may be repeated.")
]
From = Annotated[str | None, typer.Option("--from", help="The first partition, by key or by a day in it.")]
To = Annotated[str | None, typer.Option("--to", help="The last partition, by key or by a day in it.")]
Confirm = Annotated[str | None, typer.Option("--confirm", help="In prod: the target table's name.")]

ConfirmDeletes = Annotated[
    int | None,
    typer.Option("--confirm-deletes", min=1, help="Delete so many held-back items: the number that was asked for."),
]


@app.command("dry-run", epilog="Example: imgmig dry-run --from 2024-01-01 --to 2024-06-30")
def dry_run(
    stage: StageOption = None,
    table: TableOption = None,
    partition: Partitions = None,
    from_: From = None,
    to: To = None,
    json: Json = False,
) -> None:
    """Show what a migration would do to each row, and what it would cost. Never writes to the target."""
    with _session(stage, table, json) as session:
        session.finish(session.dry_run(session.choose(partition, from_, to)))


@app.command(epilog="Example: imgmig migrate --stage staging --partition 2024-03-01")
def migrate(
    stage: StageOption = None,
    table: TableOption = None,
    partition: Partitions = None,
    from_: From = None,
    to: To = None,
    json: Json = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing: the same as imgmig dry-run.")] = False,
    start_over: Annotated[
        bool, typer.Option("--start-over", help="Forget interrupted passes, and start the partitions again.")
    ] = False,
    confirm: Confirm = None,
    confirm_deletes: ConfirmDeletes = None,
) -> None:
    """Write the rows to the target. An interrupted migration is resumed by the same command."""
    with _session(stage, table, json) as session:
        keys = session.choose(partition, from_, to)
        if dry_run:
            session.finish(session.dry_run(keys))
        session.finish(session.migrate(keys, start_over, confirm, confirm_deletes))


@app.command(epilog="Examples: imgmig verify --partition 2024-03-01; imgmig verify --self-test")
def verify(
    stage: StageOption = None,
    table: TableOption = None,
    partition: Partitions = None,
    from_: From = None,
    to: To = None,
    json: Json = False,
    self_test: Annotated[
        bool,
        typer.Option("--self-test", help="Plant corruptions in sandbox tables of its own, and require them named."),
    ] = False,
    seed: Annotated[int | None, typer.Option("--seed", help="With --self-test: plants the same again.")] = None,
    count: Annotated[
        int, typer.Option("--count", min=100, max=5_000, help="With --self-test: how many corruptions.")
    ] = 1_000,
    only_failed: Annotated[
        bool,
        typer.Option("--only-failed", help="Look again only at rows that did not match, where that is enough."),
    ] = False,
) -> None:
    """Compare every row with its item, field by field; then the census of the whole table, and the report.

    With a choice of partitions there is no census: it is of the whole table.
    """
    if self_test:
        output = Output(json=json)
        finish(output, check_the_checker(chosen(stage), table, seed, count, output))
    with _session(stage, table, json) as session:
        keys = session.choose(partition, from_, to)
        session.finish(session.verify(keys, not (partition or from_ or to), only_failed))


@app.command(epilog="Example: imgmig repair --stage staging; then imgmig repair --stage staging --apply")
def repair(
    stage: StageOption = None,
    table: TableOption = None,
    partition: Partitions = None,
    from_: From = None,
    to: To = None,
    json: Json = False,
    apply: Annotated[
        bool, typer.Option("--apply", help="Write; without it, a dry run shows what would be done.")
    ] = False,
    source_wins: Annotated[
        bool, typer.Option("--source-wins", help="Overwrite items that are newer than their rows, too.")
    ] = False,
    delete_orphans: Annotated[
        bool, typer.Option("--delete-orphans", help="Delete the items without a row that the last census listed.")
    ] = False,
    confirm: Confirm = None,
    confirm_deletes: ConfirmDeletes = None,
) -> None:
    """Repair the rows that the last verification listed, and verify them again; a dry run unless --apply is given.

    Each row is judged again by the rule of the migration. Every change is in an audit record.
    """
    whole_table = not (partition or from_ or to)
    if delete_orphans and not whole_table:
        raise SettingsError("--delete-orphans is of the whole table: leave out --partition, --from and --to")
    if confirm_deletes is not None and not (delete_orphans and apply):
        raise SettingsError("--confirm-deletes is of orphans here: add --apply --delete-orphans")
    with _session(stage, table, json) as session:
        keys = session.choose(partition, from_, to)
        session.finish(session.repair(keys, apply, source_wins, delete_orphans, whole_table, confirm, confirm_deletes))


@app.command(
    "spot-check",
    epilog="Examples: imgmig spot-check --stage staging --count 50 --seed 7; then, with the file that the page saved: "
    "imgmig spot-check --stage staging --review spot-check-review-staging-7.json",
)
def spot_check(
    stage: StageOption = None,
    table: TableOption = None,
    count: Annotated[
        int | None, typer.Option("--count", min=1, max=1_000, help="Images to draw.", show_default=50)
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Draws the same rows again.")] = None,
    review: Annotated[
        Path | None,
        typer.Option("--review", exists=True, dir_okay=False, help="Draw nothing; record the review in this file."),
    ] = None,
    json: Json = False,
) -> None:
    """Draw random rows, and write a page on which a person reviews them; or record that review."""
    if review is not None and (count is not None or seed is not None):
        raise SettingsError("--review records a review and draws nothing: leave out --count and --seed")
    with _session(stage, table, json) as session:
        session.finish(session.review(review) if review is not None else session.spot_check(count or 50, seed))


@app.command("retry-failures", epilog="Example: imgmig retry-failures --partition 2024-03-01")
def retry_failures(
    stage: StageOption = None,
    table: TableOption = None,
    partition: Partitions = None,
    from_: From = None,
    to: To = None,
    json: Json = False,
    confirm: Confirm = None,
    confirm_deletes: ConfirmDeletes = None,
) -> None:
    """Take up the rows of the failure ledgers, and strike out those that succeed."""
    with _session(stage, table, json) as session:
        session.finish(session.retry_failures(session.choose(partition, from_, to), confirm, confirm_deletes))


@app.command(epilog="Example: imgmig status --stage staging --json")
def status(
    stage: StageOption = None,
    table: TablesOption = None,
    partition: Partitions = None,
    from_: From = None,
    to: To = None,
    json: Json = False,
) -> None:
    """Show the verdict as of now, of each partition and of all, and what to type next. Runs nothing.

    STALE: the partition was verified, and that no longer counts. NONE: it was not verified.
    """

    def find(session: StageSession) -> CommandResult:
        return session.status(session.choose(partition, from_, to) if partition or from_ or to else ())

    _of_each(stage, table, json, find)


@app.command(epilog="Example: imgmig report --stage staging")
def report(
    stage: StageOption = None,
    table: TablesOption = None,
    opens: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
    json: Json = False,
) -> None:
    """Write the summary from the evidence that is there, as HTML, Markdown, JSON and CSV."""
    _of_each(stage, table, json, lambda session: session.report(opens))


def _session(stage: str | None, table: str | None, json: bool) -> StageSession:
    return StageSession(chosen(stage), Output(json=json), chosen_table(chosen(stage), table))


def _of_each(stage: str | None, table: str | None, json: bool, find: Callable[[StageSession], CommandResult]) -> None:
    """Show the result for each table, of commands that start nothing."""
    output = Output(json=json)

    def of(name: str) -> CommandResult:
        with StageSession(chosen(stage), output, name, starts=False) as session:
            return find(session)

    finish_all(output, chosen_tables(chosen(stage), table), of)


def main() -> None:
    """Run the command line; ends the process with an exit code of `errors`."""
    try:
        sys.exit(run(app))
    finally:
        # No search for garbage when the process ends.
        gc.freeze()
