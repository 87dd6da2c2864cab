"""``imgmig sandbox``: the throw-away PostgreSQL, DynamoDB and S3 on this machine."""

import shlex
from pathlib import Path
from typing import Annotated

import typer

from imgmig_dagster.cli import sandbox_load
from imgmig_dagster.cli.console import CommandResult, Output, finish
from imgmig_dagster.cli.options import Json
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.sample_pictures import ROWS_WITH_PICTURES
from imgmig_dagster.sandbox.ui_marks import uis_on
from imgmig_dagster.stage.config import sandbox_root
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import chosen_table, declarations

app = typer.Typer(
    help="The throw-away PostgreSQL, DynamoDB and S3 on this machine, all of it under .imgmig/.",
    no_args_is_help=True,
    add_completion=False,
)
_Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


@app.command(epilog="Example: imgmig sandbox start")
def start() -> None:
    """Start the servers that do not run; those that run are left as they are."""
    sandbox = _sandbox()
    sandbox.start()
    _show(sandbox)


@app.command(epilog="Example: imgmig sandbox status --json")
def status(json: Json = False) -> None:
    """Show what runs. Starts nothing."""
    _show(_sandbox(), json)


@app.command(epilog='Example: eval "$(imgmig sandbox env)" && psql -c "SELECT count(*) FROM images"')
def env() -> None:
    """Print the variables that point any client at the sandbox: imgmig, psql, boto3, the AWS CLI, Node."""
    for name, value in _sandbox().environment().items():
        typer.echo(f"export {name}={shlex.quote(value)}")


@app.command(epilog="Examples: imgmig sandbox seed --images 15432; imgmig sandbox seed --csv images.csv")
def seed(
    images: Annotated[int | None, typer.Option("--images", min=1, help="Make so many images.")] = None,
    csv: Annotated[Path | None, typer.Option("--csv", help="Load a CSV file with the table's columns.")] = None,
) -> None:
    """Replace the source rows, and set the first partition to the earliest of them. The target is left alone."""
    if (images is None) == (csv is None):
        raise SettingsError("say what to seed: --images 15432, or --csv FILE")
    sandbox = _sandbox()
    count = sandbox.seed_csv(csv) if csv is not None else sandbox.seed_synthetic(images or 0)
    start_day, output = sandbox.status().partition_start, Output(json=False)
    output.say(f"The source holds {count:,} images; partitions begin at {start_day}.")
    if count > ROWS_WITH_PICTURES:
        output.say(
            f"S3 holds the pictures of the first {ROWS_WITH_PICTURES:,} only: a spot check will miss the others."
        )


app.command(epilog=sandbox_load.EXAMPLE)(sandbox_load.load)


@app.command(
    "dual-write",
    epilog="Examples: imgmig sandbox dual-write --rate 50 --seconds 120; imgmig sandbox dual-write --table photos",
)
def dual_write(
    rate: Annotated[float, typer.Option("--rate", min=0.1, max=1_000, help="Writes a second.")] = 50.0,
    seconds: Annotated[float, typer.Option("--seconds", min=1, help="How long.")] = 60.0,
    table: Annotated[str | None, typer.Option("--table", help="A declared table; by default images.")] = None,
) -> None:
    """Write like the application: insert, update and delete rows in PostgreSQL, then in DynamoDB.

    Migrate at the same time with `application_writes = true`: none of these writes may be overwritten.
    """
    output = Output(json=False)
    mapping = None if table is None else declarations(Stage.DEV)[chosen_table(Stage.DEV, table)].mapping
    output.say(f"Writing for {seconds:,.0f} s ...")
    journal = _sandbox().dual_writer(mapping=mapping).run(rate, seconds)
    output.say(", ".join(f"{kind}: {count:,}" for kind, count in sorted(journal.counts.items())))


@app.command(epilog="Example: imgmig sandbox reset --yes")
def reset(yes: _Yes = False) -> None:
    """Delete the sandbox's rows, items, state and run history, and start afresh."""
    _confirm(f"Delete all rows, items, state and run history of the sandbox?{_ui_warning()}", yes)
    sandbox = _sandbox()
    sandbox.reset()
    _show(sandbox)


@app.command(epilog="Example: imgmig sandbox stop")
def stop(yes: _Yes = False) -> None:
    """End the servers. PostgreSQL keeps its rows; the target's items are forgotten.

    Asks first where Dagster's UI uses them.
    """
    if warning := _ui_warning():
        _confirm(f"Stop the sandbox?{warning}", yes)
    _sandbox().stop()
    Output(json=False).say("Stopped. The target's items are forgotten, the source's rows are kept.")


@app.command(epilog="Example: imgmig sandbox delete --yes")
def delete(yes: _Yes = False) -> None:
    """End the servers, and delete all that the sandbox made."""
    _confirm(f"Delete the sandbox?{_ui_warning()}", yes)
    _sandbox().delete()


def _sandbox() -> Sandbox:
    return Sandbox(sandbox_root())


def _ui_warning() -> str:
    found = uis_on(sandbox_root())
    if not found:
        return ""
    return f" Dagster's UI at {', '.join(found)} uses it, and shows errors without it: end that first, by Ctrl-C"


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        typer.confirm(question, abort=True)
    elif warning := _ui_warning():
        typer.echo(f"warning:{warning}", err=True)


def _show(sandbox: Sandbox, json: bool = False) -> None:
    found = sandbox.status()
    document = {
        "root": str(found.root),
        "postgres": {"running": found.postgres_running, "port": found.postgres_port, "pid": found.postgres_pid},
        "aws": {"running": found.aws_running, "port": found.aws_port, "pid": found.aws_pid},
        "images": found.images,
        "partition_start": found.partition_start.isoformat() if found.partition_start else None,
        "partition_grain": found.partition_grain,
    }
    start = found.partition_start
    partitions = "as the tables' declarations say" if start is None else f"{found.partition_grain} from {start}"
    lines = [
        f"sandbox     {found.root}",
        f"PostgreSQL  {_state(found.postgres_running, found.postgres_port)}",
        f"AWS         {_state(found.aws_running, found.aws_port)} (moto: DynamoDB and S3)",
        f"images      {'unknown' if found.images is None else f'{found.images:,}'}",
        f"partitions  {partitions}",
    ]
    finish(Output(json), CommandResult(0, document, lines))


def _state(running: bool, port: int | None) -> str:
    return f"running on 127.0.0.1:{port}" if running else "not running"
