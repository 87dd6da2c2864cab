"""Source tables of any definition."""

import uuid
from collections.abc import Iterator

import pytest

from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.arrange import Source
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.unit.source.things import Things


@pytest.fixture
def reader(source: Source) -> Iterator[SourceReader]:
    """A reader of the source."""
    with source.reader() as reader:
        yield reader


@pytest.fixture
def things(services: Services) -> Iterator[Things]:
    """A table in a schema of the test's own, to be made by `Things.make`."""
    schema = f"test_{uuid.uuid4().hex[:12]}"
    services.owner.execute(f"CREATE SCHEMA {schema}")
    services.owner.execute(f"GRANT USAGE ON SCHEMA {schema} TO imgmig_reader")
    yield Things(services.owner, services.environment["IMGMIG_SOURCE_URL"], schema)
    services.owner.execute(f"DROP SCHEMA {schema} CASCADE")
