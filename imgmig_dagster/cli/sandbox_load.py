"""``imgmig sandbox load``: a table of one's own becomes the sandbox's source, declared and ready to be migrated."""

import re
from pathlib import Path
from typing import Annotated, Final

import typer

from imgmig_dagster.cli.console import Output
from imgmig_dagster.config import sandbox_root
from imgmig_dagster.errors import FilesUnavailable, SettingsError
from imgmig_dagster.files import refusals_as
from imgmig_dagster.mapping.declaration import Declaration
from imgmig_dagster.mapping.declaration import load as load_declaration
from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.sandbox import Sandbox

EXAMPLE: Final = "Example: imgmig sandbox load photos.sql --table app.photos"
_FOLDER: Final = Path("mappings")


def load(
    file: Annotated[Path, typer.Argument(help="SQL, as psql runs it: DDL and rows, COPY ... FROM stdin too.")],
    table: Annotated[str, typer.Option("--table", help="SCHEMA.TABLE that the file makes.")],
) -> None:
    """Run a file of SQL in the sandbox, and declare the table that it makes, so that it can be migrated.

    The declaration is drafted into the folder mappings, unless there is one already. The DynamoDB table gets its key.
    """
    from imgmig_dagster.drafting.table_name import schema_and_table

    schema, name = schema_and_table(table)
    sandbox, output = Sandbox(sandbox_root()), Output(json=False)
    rows = sandbox.load(file, schema, name)
    output.say(f"{schema}.{name} holds {rows:,} {'row' if rows == 1 else 'rows'}.")
    path = _FOLDER / f"{re.sub(r'[^A-Za-z0-9_-]+', '_', name)}.yaml"
    if path.exists():
        output.say(f"{path} is there already, and is left as it is.")
    else:
        draft = sandbox.draft(schema, name)
        with refusals_as(FilesUnavailable, path, "run the command in another folder"):
            _FOLDER.mkdir(exist_ok=True)
            path.write_text(draft.text, encoding="utf-8")
        for remark in draft.remarks:
            output.say(remark)
        output.say(f"Drafted {path}.")
    declared = load_declaration(path)
    _require_same_place(declared, schema, name)
    _require_same_key(declared)
    sandbox.prepare_target(declared.mapping)
    output.say(f"Next: imgmig mapping check {path}, then imgmig dry-run --table {declared.mapping.name}")


def declared_table(name: str) -> TableMapping:
    """The table that is declared by that name in the folder of declarations.

    Raises:
        SettingsError: there is none.
    """
    found = {each.name: each for each in (load_declaration(path).mapping for path in sorted(_FOLDER.glob("*.yaml")))}
    if name not in found:
        known = f": it has {', '.join(found)}" if found else ""
        raise SettingsError(f"{_FOLDER.absolute()} declares no table {name!r}{known}; imgmig sandbox load declares one")
    return found[name]


def _require_same_place(declared: Declaration, schema: str, name: str) -> None:
    found = declared.mapping
    if (found.schema, found.table) != (schema, name):
        raise SettingsError(
            f"{declared.place} declares {found.schema}.{found.table}, not {schema}.{name}: rename it, and load again"
        )


def _require_same_key(declared: Declaration) -> None:
    """Tables that go into one DynamoDB table have its key."""
    for path in sorted(_FOLDER.glob("*.yaml")):
        other = load_declaration(path).mapping
        if _key(other) != _key(declared.mapping):
            raise SettingsError(
                f"{declared.place} declares the key {_shown(declared.mapping)}, and {path} {_shown(other)}: both go "
                "into one DynamoDB table, which has one key; change one of them, or move it to another folder"
            )


def _key(mapping: TableMapping) -> list[tuple[str, str]]:
    return [(each.attribute, each.type) for each in mapping.primary_key]


def _shown(mapping: TableMapping) -> str:
    return ", ".join(f"{attribute} ({kind})" for attribute, kind in _key(mapping))
