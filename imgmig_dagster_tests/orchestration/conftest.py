"""A stage per test on the session's servers."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Source, Target
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer, Finished, Imgmig, shared_server


@pytest.fixture(scope="session")
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CommandServer:
    """Runs the command line."""
    return shared_server(request, tmp_path_factory)


@pytest.fixture(scope="session")
def instance() -> Iterator[dg.DagsterInstance]:
    """A Dagster instance in memory; to make one for each test would take five seconds of the suite's."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


@pytest.fixture
def platform(
    services: Services,
    source: Source,
    target: Target,
    instance: dg.DagsterInstance,
    clean_environment: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Platform:
    """Stage dev on an empty source and an empty target, with monthly partitions from January 2024."""
    platform = Platform(
        source,
        target,
        LocalStateStore(tmp_path / "state" / "dev" / "images"),
        dict(os.environ),
        instance,
        clean_environment,
    )
    platform.set(
        IMGMIG_SOURCE_URL=source.url,
        IMGMIG_SOURCE_SCHEMA=source.schema,
        IMGMIG_TARGET_TABLE=target.name,
        IMGMIG_STATE_URL=(tmp_path / "state").as_uri(),
        IMGMIG_PARTITION_START="2024-01-01",
        AWS_ENDPOINT_URL_DYNAMODB=services.dynamodb_url,
        AWS_ENDPOINT_URL_S3=services.dynamodb_url,
        AWS_ACCESS_KEY_ID="test",
        AWS_SECRET_ACCESS_KEY="test",
        AWS_REGION="us-east-1",
        DAGSTER_HOME=services.environment["DAGSTER_HOME"],
    )
    return platform


@pytest.fixture
def imgmig(commands: CommandServer, platform: Platform, tmp_path: Path) -> Imgmig:
    """Runs a command on the test's stage, in an empty folder."""

    def run(*arguments: str) -> Finished:
        return commands.run(*arguments, environment=platform.environment, folder=tmp_path)

    return run
