"""``imgmig mapping``: what helps with the declarations of tables."""

import sys

import typer

from imgmig_dagster.mapping.declaration.schema import schema as declaration_schema

app = typer.Typer(help="The declarations of tables: how rows become items.", no_args_is_help=True)


@app.command(epilog="Example: imgmig mapping schema > declaration.schema.json")
def schema() -> None:
    """Print the JSON schema of a declaration, by which editors complete and check it."""
    sys.stdout.write(declaration_schema())
