"""Checks DAGSTER_HOME before Dagster reads it: each fault is one line that says what to type."""

import os
import shlex
from pathlib import Path
from typing import Final

from imgmig_dagster.errors import SettingsError
from imgmig_dagster.stage.stages import Stage

_OF_ONE_MACHINE: Final = Path(__file__).with_name("dagster_of_one_machine.yaml")
INVOCATIONS: Final = "invocations"
"""The folder in it that holds a lock for each running command (`local_runs.invocation`)."""


def check_dagster_home(home: Path, stage: Stage | None = None) -> None:
    """Check that the folder of a `stage` has what Dagster needs.

    Raises:
        SettingsError: it does not exist, cannot be written, or has no `dagster.yaml`.
    """
    try:
        if not home.is_dir():
            raise SettingsError(f"DAGSTER_HOME: there is no folder {home}: {_init(home, stage)}")
        if not (home / "dagster.yaml").is_file():
            raise SettingsError(f"DAGSTER_HOME: there is no dagster.yaml in {home}: {_init(home, stage)}")
        readable = os.access(home / "dagster.yaml", os.R_OK, effective_ids=True)
    except PermissionError:
        readable = False
    # If the folder itself is closed to this user, its content cannot be checked.
    if not readable or not _is_open(home):
        raise _closed(home)
    if (home / INVOCATIONS).is_dir() and not _is_open(home / INVOCATIONS):
        raise _closed(home / INVOCATIONS)


def _is_open(folder: Path) -> bool:
    return os.access(folder, os.W_OK | os.X_OK, effective_ids=True)


def _closed(folder: Path) -> SettingsError:
    user = os.geteuid()
    return SettingsError(
        f"DAGSTER_HOME: {folder} cannot be read and written by user {user}: give it to that user by "
        f"chown -R {user} {folder}, or name another folder"
    )


def _init(home: Path, stage: Stage | None) -> str:
    of = f"--stage {stage.value} " if stage is not None else ""
    return (
        f"imgmig init {of}--dagster-home {shlex.quote(str(home))} makes it, for one machine; for a team copy "
        "deploy/compose/dagster.yaml or deploy/dagster.yaml into it"
    )


def write_local_dagster_yaml(home: Path) -> bool:
    """Make the folder with the `dagster.yaml` for one machine; False if it has one already."""
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        with (home / "dagster.yaml").open("x", encoding="utf-8") as file:
            file.write(_OF_ONE_MACHINE.read_text(encoding="utf-8"))
    except FileExistsError:
        return False
    return True
