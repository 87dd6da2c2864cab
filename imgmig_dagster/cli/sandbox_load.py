"""``imgmig sandbox load``: loads a user's own table into the sandbox and declares it, ready to migrate."""

import re
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from imgmig_dagster.cli.console import Output
from imgmig_dagster.errors import FilesUnavailable, SettingsError
from imgmig_dagster.files import refusals_as
from imgmig_dagster.mapping.declaration import load as load_declaration
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox import Sandbox, aws_process
from imgmig_dagster.stage.config import load_table_settings, sandbox_root
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster.stage.tables import declarations

if TYPE_CHECKING:
    from imgmig_dagster.drafting.written import Draft

EXAMPLE: Final = "Example: imgmig sandbox load photos.sql --table app.photos"


def load(
    file: Annotated[Path, typer.Argument(help="SQL, as psql runs it: DDL and rows, COPY ... FROM stdin too.")],
    table: Annotated[str, typer.Option("--table", help="SCHEMA.TABLE that the file makes.")],
) -> None:
    """Run a file of SQL in the sandbox, and declare the table that it makes, so that it can be migrated.

    The declaration is drafted into the folder of declarations, by default mappings, unless there is one already. The
    DynamoDB table gets its key.
    """
    from imgmig_dagster.drafting.table_name import schema_and_table

    schema, name = schema_and_table(table)
    sandbox, output = Sandbox(sandbox_root()), Output(json=False)
    rows = sandbox.load(file, schema, name)
    output.say(f"{schema}.{name} holds {rows:,} {'row' if rows == 1 else 'rows'}.")
    folder = load_table_settings(Stage.DEV).mappings or Path("mappings")
    path = folder / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}.yaml"
    if path.exists():
        output.say(f"{path} exists already: kept.")
    else:
        draft = _draft(sandbox, schema, name)
        with refusals_as(FilesUnavailable, path, "name another folder by mappings in [tables]"):
            folder.mkdir(parents=True, exist_ok=True)
            path.write_text(draft.text, encoding="utf-8")
        for remark in draft.remarks:
            output.say(remark)
        output.say(f"Drafted {path}.")
    mapping = load_declaration(path).mapping
    if (mapping.schema, mapping.table) != (schema, name):
        declared = f"{mapping.schema}.{mapping.table}"
        raise SettingsError(f"{path} declares {declared}, not {schema}.{name}: rename it, and load again")
    _require_one_key(path, mapping)
    sandbox.prepare_target(mapping)
    output.say(f"Next: imgmig mapping check {path}, then imgmig dry-run --table {mapping.name}")


def _draft(sandbox: Sandbox, schema: str, table: str) -> "Draft":
    """As the reader sees both sides."""
    from imgmig_dagster.drafting.draft import draft
    from imgmig_dagster.source.connections import ReadOnlyConnections

    status, variables = sandbox.start(), sandbox.environment()
    with closing(ReadOnlyConnections(variables["IMGMIG_SOURCE_URL"])) as connections:
        access = aws_process.access(status.aws_port or 0)
        return draft(connections, access, schema, table, variables["IMGMIG_TARGET_TABLE"], "UTC")


def _require_one_key(path: Path, mapping: TableMapping) -> None:
    """Tables that go into one DynamoDB table have its key."""
    for other in declarations(Stage.DEV).values():
        mine, theirs = aws_process.key_of(mapping), aws_process.key_of(other.mapping)
        if mine != theirs:
            raise SettingsError(
                f"{path} declares the key {aws_process.shown(mine)}, and {other.place} {aws_process.shown(theirs)}: "
                "both go into one DynamoDB table, which has one key; change one of them, or move it to another folder"
            )
