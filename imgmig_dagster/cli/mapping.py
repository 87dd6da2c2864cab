"""``imgmig mapping``: what helps with the declarations of tables."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from imgmig_dagster.cli.console import Output
from imgmig_dagster.cli.options import StageOption, chosen
from imgmig_dagster.config import load_settings
from imgmig_dagster.errors import FilesUnavailable, SettingsError
from imgmig_dagster.files import refusals_as
from imgmig_dagster.mapping.declaration.schema import schema as declaration_schema
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.sandbox.attaching import require_running
from imgmig_dagster.source.connections import ReadOnlyConnections

app = typer.Typer(help="The declarations of tables: how rows become items.", no_args_is_help=True)


@app.command(epilog="Example: imgmig mapping schema > declaration.schema.json")
def schema() -> None:
    """Print the JSON schema of a declaration, by which editors complete and check it."""
    sys.stdout.write(declaration_schema())


@app.command(
    epilog="Examples: imgmig mapping draft app.photos --stage staging --output mappings/photos.yaml; "
    """imgmig mapping draft 'public."my.table"'"""
)
def draft(
    table: Annotated[str, typer.Argument(help="SCHEMA.TABLE; a name with a point in it in double quotes.")],
    stage: StageOption = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", dir_okay=False, help="Write it to this file, which must not be there yet."),
    ] = None,
) -> None:
    """Draft the declaration of a table, from PostgreSQL's catalog and the key of the DynamoDB table.

    Reads both sides and writes to neither. What only a person knows is asked for in comments that begin with DECIDE.
    Without --output the draft goes to standard output.
    """
    # SQLAlchemy takes a while to import.
    from imgmig_dagster.drafting.draft import draft as draft_of
    from imgmig_dagster.drafting.table_name import schema_and_table

    schema_name, name = schema_and_table(table)
    if output is not None and output.exists():
        raise SettingsError(f"{output} is there already: move it away, or name another file by --output")
    settings = load_settings(chosen(stage))
    require_running(settings.stage)
    connections = ReadOnlyConnections(settings.current_source_url, RetryPolicy(delays=(0.5,)))
    try:
        found = draft_of(
            connections, settings.aws(), schema_name, name, settings.target_table, settings.source_time_zone
        )
    finally:
        connections.close()
    if output is None:
        sys.stdout.write(found.text)
        return
    with refusals_as(FilesUnavailable, output, "name another file by --output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(found.text, encoding="utf-8")
    told = Output(json=False)
    for remark in found.remarks:
        told.say(remark)
    told.say(f"Drafted {output}. Next: read it, then imgmig mapping check {output} --stage {settings.stage.value}")
