"""Poolers as Debian brings them; `make test-poolers` installs them. Without them there is nothing to try here."""

import pytest

from imgmig_dagster_tests.integration.test_standby import pair
from imgmig_dagster_tests.orchestration.conftest import commands, instance, platform
from imgmig_dagster_tests.poolers.servers import PROGRAMS

__all__ = ["commands", "instance", "pair", "platform"]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Leave out what needs a program that is not installed."""
    for item in items:
        for name, found in PROGRAMS.items():
            if f"test_{name}.py" in item.nodeid and "poolers/" in item.nodeid and found is None:
                item.add_marker(pytest.mark.skip(reason=f"{name} is not installed: make test-poolers"))
