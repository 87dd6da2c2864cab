"""``imgmig throttle``: slows, pauses and resumes all runs that read or write items, on every machine
(`state/throttle`)."""

import getpass
import os
import socket
from enum import Enum
from typing import Annotated, Final

import typer

from imgmig_dagster.cli.console import CommandResult, Output, finish
from imgmig_dagster.cli.options import Json, StageOption, chosen
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.services import stage_state
from imgmig_dagster.state.rate_shares import Share, read_rate_shares
from imgmig_dagster.state.throttle import change_throttle, read_throttle
from imgmig_dagster.window import now

_SHOWN: Final = ("run", "host", "rate", "used", "since", "renewed")
EXAMPLES: Final = "Examples: imgmig throttle --rate 200; imgmig throttle pause; imgmig throttle resume"


class ThrottleAction(str, Enum):
    """Actions other than changing the rate."""

    PAUSE = "pause"
    RESUME = "resume"


def throttle(
    action: Annotated[ThrottleAction | None, typer.Argument(help="Stop sending, or go on.")] = None,
    rate: Annotated[
        float | None,
        typer.Option("--rate", help="Ceiling of all runs together, in units a second; 0: the settings' own."),
    ] = None,
    stage: StageOption = None,
    json: Json = False,
) -> None:
    """Change how fast running and later runs of a stage read and write items; obeyed within 2 seconds.

    Without an action or a rate, show what applies, and which run holds which share of the rate.
    """
    settings = load_settings(chosen(stage))
    store = stage_state(settings)
    if rate is not None and rate < 0:
        raise SettingsError("--rate is a number of capacity units a second, or 0 for the settings' own ceiling")
    if rate is not None:
        change_throttle(store, rate=rate or None)
    if action is not None:
        pausing = action is ThrottleAction.PAUSE
        change_throttle(store, paused=pausing, paused_by=_user() if pausing else "", paused_at=now() if pausing else "")
    found, shared = read_throttle(store), read_rate_shares(store)
    ceiling = settings.target.write_units_per_s if found.rate is None else found.rate
    line = f"stage {settings.stage.value}: " + ("paused" if found.paused else "running")
    line += f", ceiling {ceiling:,.0f} units/s of all runs together" if ceiling else ", no ceiling"
    if shared.runs and shared.discovered is not None:
        line += f"; throttled, which leaves {shared.discovered:,.0f}"
    lines = [f"  {found.line(settings.stage.value)}"] if found.paused else []
    shares = sorted(shared.runs.values(), key=lambda share: share.since)
    facts = {
        "paused": found.paused,
        "paused_by": found.paused_by,
        "paused_at": found.paused_at,
        "rate": ceiling,
        "discovered": shared.discovered if shares else None,
        "shares": [{name: getattr(share, name) for name in _SHOWN} for share in shares],
    }
    finish(Output(json), CommandResult(0, facts, [line, *lines, *map(_line, shares)]))


def _user() -> str:
    try:
        name = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have no name
        name = str(os.getuid())
    return f"{name}@{socket.gethostname()}"


def _line(share: Share) -> str:
    """A run's line. A dead run is listed until the others have taken over its share: hence when it last renewed it."""
    rate = "as much as it likes" if share.rate is None else f"{share.rate:,.0f} units/s"
    return (
        f"  run {share.run} on {share.host}: may use {rate}, used {share.used:,.0f} units/s; since {share.since}, "
        f"last renewed {share.renewed}"
    )
