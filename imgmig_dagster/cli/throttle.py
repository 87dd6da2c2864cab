"""``imgmig throttle``: slows, pauses and resumes whatever reads or writes items, on whatever machine it runs."""

from enum import Enum
from typing import Annotated, Final

import typer

from imgmig_dagster.cli.console import Finding, Output, finish
from imgmig_dagster.cli.options import Json, StageOption, chosen
from imgmig_dagster.config import load_settings
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.state.opening import open_state
from imgmig_dagster.state.throttle import change_throttle, read_throttle

EXAMPLES: Final = "Examples: imgmig throttle --rate 200; imgmig throttle pause; imgmig throttle resume"


class Action(str, Enum):
    """What to do besides changing the rate."""

    PAUSE = "pause"
    RESUME = "resume"


def throttle(
    action: Annotated[Action | None, typer.Argument(help="Stop sending, or go on.")] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Ceiling of each run, in units a second; 0: the settings' own."),
    ] = None,
    stage: StageOption = None,
    json: Json = False,
) -> None:
    """Change how fast running and later runs of a stage read and write items; obeyed within 2 seconds.

    Without an action or a rate, show what applies.
    """
    settings = load_settings(chosen(stage))
    store = open_state(settings.state_url, settings.stage.value, settings.aws())
    if rate is not None and rate < 0:
        raise SettingsError("--rate is a number of capacity units a second, or 0 for the settings' own ceiling")
    if rate is not None:
        change_throttle(store, rate=rate or None)
    if action is not None:
        change_throttle(store, paused=action is Action.PAUSE)
    found = read_throttle(store)
    ceiling = settings.write_rate if found.rate is None else found.rate
    line = f"stage {settings.stage.value}: " + ("paused" if found.paused else "running")
    # The settings' ceiling is shared out among the runs; an operator's is of each.
    scope = "of all runs together" if found.rate is None else "per run"
    line += f", ceiling {ceiling:,.0f} units/s {scope}" if ceiling else ", no ceiling"
    finish(Output(json), Finding(0, {"paused": found.paused, "rate": ceiling}, [line]))
