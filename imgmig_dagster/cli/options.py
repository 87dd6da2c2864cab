"""Options that several commands share, each with one help text. A command's own options are declared with it."""

from functools import cache
from typing import Annotated

import typer

from imgmig_dagster.cli.console import print_warning
from imgmig_dagster.stage.config import deprecation_warnings, stage_from_env
from imgmig_dagster.stage.stages import Stage, parse_stage

StageOption = Annotated[str | None, typer.Option("--stage", help="dev, staging or prod; by default what STAGE says.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as one JSON document on standard output.")]
TableOption = Annotated[
    str | None, typer.Option("--table", help="A table of the stage, by its name; needed where there are several.")
]
TablesOption = Annotated[
    str | None, typer.Option("--table", help="A table of the stage, by its name; by default all of them.")
]


def named(stage: str | None) -> Stage:
    """The stage that `--stage` names, or that STAGE does.

    Raises:
        SettingsError: there is no such stage.
    """
    return parse_stage(stage) if stage is not None else stage_from_env()


def chosen(stage: str | None) -> Stage:
    """The same, and a warning of each deprecated variable that is set for it, once a command."""
    found = named(stage)
    warn_of_deprecated_variables(found)
    return found


@cache
def warn_of_deprecated_variables(stage: Stage) -> None:
    """Print, once, a line on standard error for each variable whose setting is now in the stage's file."""
    for line in deprecation_warnings(stage):
        print_warning(line)
