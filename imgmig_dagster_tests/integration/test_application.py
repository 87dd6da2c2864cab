"""The application's own writer, run on its own SDK: what was recorded of it is still what it writes."""

import json

import pytest

from imgmig_dagster_tests.application import writer
from imgmig_dagster_tests.arrange import Target


@pytest.mark.skipif(not writer.is_installed(), reason="Node or its SDK is missing: make application-items installs it")
@pytest.mark.parametrize("manner", writer.MANNERS)
def test_the_recorded_items_are_those_that_the_application_writes(target: Target, manner: str) -> None:
    writer.write(target.url, target.name, manner)

    assert writer.sorted_items(target.client, target.name) == json.loads(writer.RECORDED.read_text())[manner]
