"""Settings of a test's own."""

from collections.abc import Callable
from pathlib import Path

import pytest

from imgmig_dagster.stage.config import load_settings
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.stage.stages import Stage
from imgmig_dagster_tests.arrange import Source, Target
from imgmig_dagster_tests.conftest import Services

MakeSettings = Callable[..., Settings]


@pytest.fixture
def settings(services: Services, source: Source, target: Target, clean_environment: pytest.MonkeyPatch) -> MakeSettings:
    """Makes settings of stage dev on the test's source and target, but for the changes."""

    def make(**variables: str) -> Settings:
        environment = {
            "IMGMIG_SOURCE_URL": source.url,
            "IMGMIG_TARGET_TABLE": target.name,
            "IMGMIG_STATE_URL": (Path.cwd() / "state").as_uri(),
            "AWS_ENDPOINT_URL": services.dynamodb_url,
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
            **variables,
        }
        for name, value in environment.items():
            clean_environment.setenv(name, value)
        return load_settings(Stage.DEV)

    return make
