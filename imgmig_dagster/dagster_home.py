"""DAGSTER_HOME, looked at before Dagster is: whatever is wrong with it is one line that says what to type."""

import os
from pathlib import Path

from imgmig_dagster.errors import SettingsError


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
        readable = os.access(home / "dagster.yaml", os.R_OK)
    except PermissionError:
        readable = False
    if not readable or not os.access(home, os.W_OK | os.X_OK):
        raise SettingsError(
            f"DAGSTER_HOME: {home} cannot be read and written by user {os.geteuid()}: give it to that user by "
            f"chown -R {os.geteuid()} {home}, or name another folder"
        )


def _copy(home: Path) -> str:
    return f"cp deploy/local/dagster.yaml {home}/ (that is for one machine; deploy/dagster.yaml is for AWS)"
