"""A stage per test on the session's servers."""

import os
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Source, Target
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.arrange import Platform, images_of
from imgmig_dagster_tests.orchestration.commands import MAIN, CommandServer, Finished, Imgmig, shared_server
from imgmig_dagster_tests.orchestration.webhooks import Receiver, receiving


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
    """Runs a command on the test's stage, in an empty folder; no command may ever show a traceback."""

    def run(*arguments: str, code: str = MAIN, **variables: str) -> Finished:
        environment = {**platform.environment, **variables}
        finished = commands.run(*arguments, environment=environment, folder=tmp_path, code=code)
        assert "Traceback" not in finished.stdout + finished.stderr
        return finished

    return run


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    """Takes the messages of webhooks."""
    with receiving() as received:
        yield received


@pytest.fixture
def ranged(platform: Platform) -> Iterator[Platform]:
    """Three partitions of three images, on an instance without runs of other tests."""
    for month in (2, 3, 4):
        platform.source.insert(images_of(month, range(10 * month, 10 * month + 3)))
    with dg.DagsterInstance.ephemeral() as platform.instance:
        yield platform
