"""``imgmig mapping``: shows, drafts and checks declarations of tables (`mapping/`, `drafting/`)."""

import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Annotated

import typer

from imgmig_dagster.cli.console import CommandResult, Output, finish_all
from imgmig_dagster.cli.doctor import finding_of
from imgmig_dagster.cli.options import Json, StageOption, TablesOption, chosen
from imgmig_dagster.errors import FilesUnavailable, SettingsError
from imgmig_dagster.files import refusals_as
from imgmig_dagster.mapping.declaration import DeclarationRefused, load
from imgmig_dagster.mapping.declaration.json_schema import schema as declaration_schema
from imgmig_dagster.mapping.declaration.loading import parse
from imgmig_dagster.mapping.described import documented, markdown_table
from imgmig_dagster.mapping.side_by_side import RowBesideItem, rows_beside_items
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox.attaching import require_running
from imgmig_dagster.stage.config import load_settings, load_table_settings
from imgmig_dagster.stage.services import ONE_MORE_TRY, source_connections, source_reader
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import chosen_tables, declarations, require_beside_others, stage_table, stage_tables
from imgmig_dagster.window import Window

app = typer.Typer(help="The declarations of tables: how rows become items.", no_args_is_help=True)


@app.command(epilog="Example: imgmig mapping schema > declaration.schema.json")
def schema() -> None:
    """Print the JSON schema of a declaration, by which editors complete and check it."""
    sys.stdout.write(declaration_schema())


@app.command(epilog="Examples: imgmig mapping show; imgmig mapping show --sample 3")
def show(
    stage: StageOption = None,
    table: TablesOption = None,
    sample: Annotated[
        int | None, typer.Option("--sample", min=1, max=100, help="Show so many rows, too, each beside its item.")
    ] = None,
    json: Json = False,
) -> None:
    """Print which column becomes which attribute. Reads no service, unless --sample asks for rows."""
    of = chosen(stage)
    declared = declarations(of)
    settings = None if sample is None else load_settings(of)
    if settings is not None:
        require_running(of)

    def find(name: str) -> CommandResult:
        mapping = declared[name].mapping if settings is None else settings.applied_to(declared[name].mapping)
        place = f"{mapping.schema}.{mapping.table}"
        rows = [] if settings is None or sample is None else _sampled(settings, mapping, sample)
        heading = f"{place}, by {declared[name].place}" + (f", where {mapping.where}" if mapping.where else "")
        document = {
            "table": place,
            "declared_in": declared[name].place,
            "where": mapping.where,
            "attributes": [asdict(each) for each in documented(mapping)],
            "rows": [asdict(each) for each in rows],
        }
        beside = [line for each in rows for line in each.lines]
        return CommandResult(0, document, [heading, *markdown_table(mapping).splitlines(), *beside])

    finish_all(Output(json), chosen_tables(of, table), find)


def _sampled(settings: Settings, mapping: TableMapping, number: int) -> list[RowBesideItem]:
    connections = source_connections(settings, ONE_MORE_TRY)
    with source_reader(settings, connections, mapping) as reader:
        return rows_beside_items(mapping, [each.row for each in reader.sample(number, 0, mapping.pictures, [])])


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
    connections = source_connections(settings, ONE_MORE_TRY)
    try:
        found = draft_of(
            connections, settings.aws(), schema_name, name, settings.target.table, settings.source.time_zone
        )
    finally:
        connections.close()
    for remark in _about_others(settings.stage, found.text, str(output or "the draft")):
        found = replace(found, text=f"# {remark}\n{found.text}", remarks=(remark, *found.remarks))
    if output is None:
        sys.stdout.write(found.text)
        return
    with refusals_as(FilesUnavailable, output, "name another file by --output"):
        output.parent.mkdir(parents=True, exist_ok=True)
        output.write_text(found.text, encoding="utf-8")
    screen = Output(json=False)
    for remark in found.remarks:
        screen.say(remark)
    screen.say(f"Drafted {output}. Next: read it, then imgmig mapping check {output} --stage {settings.stage.value}")


def _about_others(stage: Stage, text: str, place: str) -> list[str]:
    """What a person has to decide where the draft conflicts with the stage's other declarations."""
    try:
        declared = parse(text, place)
    except DeclarationRefused:
        return []  # as the draft says itself
    try:
        require_beside_others(stage, declared)
    except DeclarationRefused as error:
        return [f"DECIDE: {line}" for line in str(error).splitlines()]
    return []


@app.command(epilog="Examples: imgmig mapping check --stage staging; imgmig mapping check mappings/photos.yaml --all")
def check(
    file: Annotated[
        Path | None, typer.Argument(help="A declaration; by default those of the stage.", dir_okay=False)
    ] = None,
    stage: StageOption = None,
    table: TablesOption = None,
    every_row: Annotated[
        bool, typer.Option("--all", help="Make an item of every row, and not only of the first 1,000 by identity.")
    ] = False,
    json: Json = False,
) -> None:
    """Check a declaration against PostgreSQL and DynamoDB: types, NULLs, keys, indexes, sizes, rows that are rejected.

    Reads both sides and writes to neither.

    Exit codes: 0 nothing failed (warnings do not count); 1 something failed; 3 a service cannot be reached.
    """
    settings = load_settings(chosen(stage))
    require_running(settings.stage)
    if file is not None:
        # The sandbox's variables are about its own table.
        declared, of = load(file), load_table_settings(settings.stage, of_sandbox=False)
        require_beside_others(settings.stage, declared)
        declared = replace(declared, partitions=of.cut(declared.partitions))
        name = declared.mapping.name
        stages = {name: declared}
        tables = {name: stage_table(settings.stage, name, stages)}
    else:
        stages = dict(declarations(settings.stage))
        tables = {each.name: each for each in stage_tables(settings.stage)}

    def find(name: str) -> CommandResult:
        found = tables[name]
        mapping = found.mapping if file is not None else settings.applied_to(found.mapping)
        return _checked(settings, mapping, found.partitions.windows(), every_row, stages[name].at)

    names = list(tables) if file is not None else chosen_tables(settings.stage, table)
    finish_all(Output(json), names, find)


def _checked(
    settings: Settings, mapping: TableMapping, windows: Sequence[Window], every_row: bool, at: Callable[[str], str]
) -> CommandResult:
    from imgmig_dagster.doctor.diagnosis import examine
    from imgmig_dagster.drafting.check import check_examinations
    from imgmig_dagster.drafting.sampled import SAMPLE

    connections = source_connections(settings, ONE_MORE_TRY)
    with source_reader(settings, connections, mapping) as reader:
        looks = check_examinations(
            connections.fetch,
            reader,
            mapping,
            windows,
            settings.aws(),
            settings.target.table,
            None if every_row else SAMPLE,
            at,
        )
        return finding_of(settings.stage, examine(looks))
