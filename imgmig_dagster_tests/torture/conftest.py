"""The session's servers as the ground of a campaign."""

from pathlib import Path

import pytest

from imgmig_dagster_tests.arrange import Source
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.orchestration.commands import CommandServer, shared_server
from imgmig_dagster_tests.torture.ground import Ground, Rows, prepared


@pytest.fixture(scope="session")
def commands(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> CommandServer:
    """Forks the processes that die."""
    return shared_server(request, tmp_path_factory)


@pytest.fixture
def ground(services: Services, source: Source, commands: CommandServer, tmp_path: Path) -> Ground:
    """As many rows as it takes for a checkpoint in the middle."""
    url = services.dynamodb_url
    return prepared(Ground(source, Rows(1_100), services.dynamodb, url, url, commands, services.environment, tmp_path))
