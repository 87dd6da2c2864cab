"""The self-test as the command line runs it, on the session's sandbox."""

import json

import pytest
from typer.testing import CliRunner

from imgmig_dagster.cli.app import app
from imgmig_dagster.errors import SettingsError
from imgmig_dagster.sandbox.seed import synthetic_rows
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE


def left_behind(services: Services) -> tuple[list[str], list[str]]:
    """Schemas and target tables of scratch."""
    schemas = services.owner.execute("SELECT nspname::text FROM pg_namespace WHERE nspname LIKE 'scratch%'").fetchall()
    tables = services.dynamodb.list_tables()["TableNames"]
    return [name for (name,) in schemas], [name for name in tables if name.startswith("scratch")]


def test_every_corruption_is_named_by_key_and_field_and_nothing_else(
    services: Services, clean_environment: pytest.MonkeyPatch
) -> None:
    clean_environment.setenv("IMGMIG_SANDBOX_DIR", str(services.sandbox.root))

    ended = CliRunner().invoke(app, ["verify", "--self-test", "--seed", "7", "--count", "200", "--json"])

    found = json.loads(ended.stdout)
    assert (found["missed"], found["false"]) == ([], [])
    assert (found["planted"], found["named"], found["seed"]) == (200, 200, 7)
    assert all(count["counted"] == count["planted"] for count in found["counts"].values())
    assert len(found["kinds"]) == 21
    assert sum(kind["planted"] for kind in found["kinds"] if not kind["harmful"]) > 50
    assert (ended.exit_code, found["passed"]) == (0, True)
    assert left_behind(services) == ([], [])


@pytest.mark.parametrize("variable", ["IMGMIG_SOURCE_URL", "IMGMIG_TARGET_TABLE", "IMGMIG_STATE_URL"])
def test_nothing_is_planted_where_a_stage_has_services_of_its_own(
    clean_environment: pytest.MonkeyPatch, variable: str
) -> None:
    clean_environment.setenv(variable, "file:///elsewhere")

    ended = CliRunner().invoke(app, ["verify", "--self-test"])

    assert isinstance(ended.exception, SettingsError)
    assert "sandbox only" in str(ended.exception)


def test_another_stage_is_refused(clean_environment: pytest.MonkeyPatch) -> None:
    del clean_environment

    assert isinstance(CliRunner().invoke(app, ["verify", "--self-test", "--stage", "prod"]).exception, SettingsError)


def test_scratch_tables_are_gone_after_an_interruption_and_the_sandboxs_rows_are_not(services: Services) -> None:
    before = services.owner.execute("SELECT count(*) FROM images").fetchone()

    def interrupted() -> None:
        with services.sandbox.scratch_tables() as tables:
            tables.insert(synthetic_rows(20))
            with SourceReader(ReadOnlyConnections(tables.reader_url), tables.schema, tables.source, IMAGE) as reader:
                assert reader.count_all() == 20
            assert left_behind(services) == ([tables.schema], [tables.target])
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()

    assert left_behind(services) == ([], [])
    assert services.owner.execute("SELECT count(*) FROM images").fetchone() == before
