"""The files in a sandbox's folder that describe it, for other processes and for people."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, Final

from pydantic import TypeAdapter

from imgmig_dagster.sandbox.aws_process import KEY, Key
from imgmig_dagster.sandbox.process import Listener
from imgmig_dagster.sandbox.seed import SYNTHETIC_START
from imgmig_dagster.stage.config import SANDBOX_SETTINGS, SANDBOX_VARIABLES
from imgmig_dagster.stage.deprecated_variables import values_of
from imgmig_dagster.stage.stage_template import stage_file_text
from imgmig_dagster.stage.stages import Stage

_GRAIN: Final = "monthly"


@dataclass(frozen=True)
class SandboxStatus:
    """What a sandbox folder records, and which of its servers answer.

    A pid is None while that server does not run. The ports and the partitioning are the last known ones, None
    if the sandbox was never started. `images` is the number of source rows; None while PostgreSQL does not
    run, and from `Sandbox.start` and `reset`, which do not count them.
    """

    root: Path
    postgres_pid: int | None
    postgres_port: int | None
    aws_pid: int | None
    aws_port: int | None
    images: int | None
    partition_start: date | None
    partition_grain: str | None

    @property
    def postgres_running(self) -> bool:
        """Whether PostgreSQL answers."""
        return self.postgres_pid is not None

    @property
    def aws_running(self) -> bool:
        """Whether moto's DynamoDB and S3 answer."""
        return self.aws_pid is not None


@dataclass(frozen=True)
class Record:
    """sandbox.json: what another process needs in order to find the servers.

    `partition_start` is None for a user's own tables: their declarations say it. `key` is of the
    target table.
    """

    postgres: Listener
    aws: Listener
    partition_start: date | None = SYNTHETIC_START
    partition_grain: str = _GRAIN
    key: Key = KEY

    def partitioning(self) -> dict[str, str]:
        """IMGMIG_PARTITION_START and IMGMIG_PARTITION_GRAIN, where the sandbox sets them."""
        if self.partition_start is None:
            return {}
        return {
            "IMGMIG_PARTITION_START": self.partition_start.isoformat(),
            "IMGMIG_PARTITION_GRAIN": self.partition_grain,
        }


RECORD: Final = TypeAdapter(Record)
"""Reads and writes sandbox.json."""


@dataclass(frozen=True)
class SettingsFiles:
    """What a sandbox gives to `stage.config`: the settings of stage dev, and variables, AWS's among them."""

    root: Path

    @property
    def stage(self) -> Path:
        """The file of stage dev."""
        return self.root / SANDBOX_SETTINGS

    @property
    def variables(self) -> Path:
        """The file of variables."""
        return self.root / SANDBOX_VARIABLES

    def exist(self) -> bool:
        """Whether both are there."""
        return self.stage.exists() and self.variables.exists()

    def write(self, variables: Mapping[str, str]) -> None:
        """Write both from variables."""
        with replacing(self.stage) as file:
            file.write("# Written by `imgmig sandbox start`; changes are lost. Settings of your own: stages/dev.toml\n")
            file.write(stage_file_text(Stage.DEV, values_of(variables)))
        with replacing(self.variables) as file:
            file.writelines(f"{name}={value}\n" for name, value in variables.items())


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[IO[str]]:
    """A file to write in place of the one at this path; readers see the old one or the new one, never a part."""
    # mkstemp's file is private to its owner.
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f"{path.name}.")
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            yield file
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
