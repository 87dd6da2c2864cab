"""The sandbox as a person has it, emptied before each use, and the command line on it."""

import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from imgmig_dagster.sandbox.seed import SYNTHETIC_START, ImageRow
from imgmig_dagster_tests.conftest import Services, create_table
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished, Running, shared_server

TABLE = "images-dev"


@dataclass(frozen=True)
class DevStage:
    """Stage dev on the session's sandbox."""

    services: Services
    commands: CommandServer
    folder: Path

    @property
    def state(self) -> Path:
        return self.services.sandbox.root / "state" / "dev" / "images"

    def clear(self) -> None:
        """Forget every item and all state, as a new sandbox would have it."""
        self.services.dynamodb.delete_table(TableName=TABLE)
        create_table(self.services.dynamodb, TABLE)
        shutil.rmtree(self.state, ignore_errors=True)

    def seed(self, rows: Iterable[ImageRow], partition_start: date) -> None:
        """Start again with these rows."""
        self.clear()
        self.services.sandbox.seed(rows, partition_start)

    def start(self, *arguments: str, by_way_of: str | None = None, **variables: str) -> Running:
        """Start a command: attached to the sandbox, or with its variables exported and DynamoDB behind a proxy."""
        environment: Mapping[str, str] = {"IMGMIG_SANDBOX_DIR": str(self.services.sandbox.root), **variables}
        if by_way_of:
            exported = self.services.sandbox.environment()
            environment = {**exported, "AWS_ENDPOINT_URL_DYNAMODB": by_way_of, **variables}
        return self.commands.start(*arguments, environment=environment, folder=self.folder)

    def imgmig(self, *arguments: str, by_way_of: str | None = None, **variables: str) -> Finished:
        """Run a command to its end."""
        return self.start(*arguments, by_way_of=by_way_of, **variables).wait(120)

    def rows(self) -> list[dict[str, Any]]:
        """The source's rows."""
        cursor = self.services.owner.execute("SELECT * FROM public.images ORDER BY id")
        assert cursor.description
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]

    def items(self) -> dict[str, dict[str, Any]]:
        """The target's items, by partition key."""
        found: dict[str, dict[str, Any]] = {}
        for page in self.services.dynamodb.get_paginator("scan").paginate(TableName=TABLE, ConsistentRead=True):
            found.update((item["PK"]["S"], item) for item in page["Items"])
        return found

    def log(self) -> str:
        """``migration.log``."""
        return (self.state / "migration.log").read_text(encoding="utf-8")


@pytest.fixture(scope="session")
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CommandServer:
    """Runs the command line."""
    return shared_server(request, tmp_path_factory)


@pytest.fixture(scope="module")
def dev(services: Services, commands: CommandServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[DevStage]:
    """The stage; each test seeds it, and other modules find it empty again."""
    stage = DevStage(services, commands, tmp_path_factory.mktemp("dev"))
    yield stage
    stage.seed([], SYNTHETIC_START)
