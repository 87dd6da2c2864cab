"""The options that more than one command has, each with one help text; a command's own stand beside the command."""

from typing import Annotated

import typer

from imgmig_dagster.config import stage_from_env
from imgmig_dagster.stage import Stage, parse_stage

StageOption = Annotated[str | None, typer.Option("--stage", help="dev, staging or prod; by default what STAGE says.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")]
TableOption = Annotated[
    str | None, typer.Option("--table", help="A table of the stage, by its name; needed where there are several.")
]
TablesOption = Annotated[
    str | None, typer.Option("--table", help="A table of the stage, by its name; by default all of them.")
]


def chosen(stage: str | None) -> Stage:
    """The stage that `--stage` names, or that STAGE does.

    Raises:
        SettingsError: there is no such stage.
    """
    return parse_stage(stage) if stage is not None else stage_from_env()
