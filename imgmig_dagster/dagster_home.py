"""DAGSTER_HOME, looked at before Dagster is: whatever is wrong with it is one line that says what to type."""

import os
from pathlib import Path
from typing import Final

from imgmig_dagster.errors import SettingsError

INVOCATIONS: Final = "invocations"
"""The folder in it that holds a lock for each running command (`local_runs.invocation`)."""


def check_dagster_home(home: Path) -> None:
    """Hold the folder against what Dagster needs of it.

    Raises:
        SettingsError: it is not there, not to be written to, or without `dagster.yaml`.
    """
    try:
        if not home.is_dir():
            raise SettingsError(f"DAGSTER_HOME: there is no folder {home}: mkdir -p {home} && {_copy(home)}")
        if not (home / "dagster.yaml").is_file():
            raise SettingsError(f"DAGSTER_HOME: there is no dagster.yaml in {home}: {_copy(home)}")
        readable = os.access(home / "dagster.yaml", os.R_OK, effective_ids=True)
    except PermissionError:
        readable = False
    # Where the home is closed, what is in it cannot be looked at.
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


def _copy(home: Path) -> str:
    return f"cp deploy/local/dagster.yaml {home}/ (that is for one machine; deploy/dagster.yaml is for AWS)"
