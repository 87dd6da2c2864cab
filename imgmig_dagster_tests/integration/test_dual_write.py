"""A migration beside an application that writes to both sides all the while."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone
from pathlib import Path

import pytest

from imgmig_dagster.config import WriteMode
from imgmig_dagster.mapping.image import IMAGE
from imgmig_dagster.migration.passes import MigrationRun
from imgmig_dagster.sandbox import Sandbox
from imgmig_dagster.sandbox.dual_writer import OWN_ATTRIBUTE, Journal
from imgmig_dagster.source.connection import ReadOnlyConnection
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster.target.connection import TargetSettings
from imgmig_dagster.verification.census import take_census
from imgmig_dagster.verification.verifier import VerificationRun
from imgmig_dagster.window import Window
from imgmig_dagster_tests.arrange import Target, access
from imgmig_dagster_tests.conftest import Services

ROWS = 500
WRITES_PER_SECOND = 100
WINDOW = Window("all", datetime(2023, 1, 1, tzinfo=timezone.utc), datetime(2025, 1, 1, tzinfo=timezone.utc))


@pytest.fixture
def sandbox(services: Services) -> Iterator[Sandbox]:
    """The session's sandbox, whose own table no other test uses."""
    services.sandbox.seed_synthetic(ROWS)
    yield services.sandbox
    services.sandbox.seed([], WINDOW.start.date())


def test_nothing_of_the_application_is_undone_and_nothing_differs_once_it_stops(
    services: Services, sandbox: Sandbox, tmp_path: Path
) -> None:
    table = services.environment["IMGMIG_TARGET_TABLE"]
    settings = TargetSettings(access(services.dynamodb_url), table, IMAGE)
    connection = ReadOnlyConnection(services.environment["IMGMIG_SOURCE_URL"])
    with SourceReader(connection, "public", "images", IMAGE) as source:
        run = MigrationRun(
            source,
            settings,
            LocalStateStore(tmp_path),
            WINDOW,
            run_id="run-1",
            write_mode=WriteMode.CONDITIONAL,
            page_size=100,
            settle_seconds=0.5,
            listener=lambda _progress: None,
        )

        journal = _beside_the_application(sandbox, run)

        verification = VerificationRun(source, settings, "verify-1", 1_000, 0.0, lambda _progress: None)
        result = verification.verify(WINDOW)
        census = take_census(verification, WINDOW.start, WINDOW.end)
    assert result.passed
    assert census.passed
    items = Target(services.dynamodb, table, services.dynamodb_url).items()
    assert sum(journal.counts.values()) > ROWS / 10
    assert not journal.lowered
    assert not [row_id for row_id in journal.deleted if f"IMAGE#{row_id}" in items]
    versions = {row_id: int(items[f"IMAGE#{row_id}"]["version"]["N"]) for row_id in journal.versions}
    assert all(versions[row_id] >= version for row_id, version in journal.versions.items())
    own = {row_id: items[f"IMAGE#{row_id}"][OWN_ATTRIBUTE]["S"] for row_id in journal.own}
    assert own == journal.own


def _beside_the_application(sandbox: Sandbox, run: MigrationRun) -> Journal:
    stop = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        application = pool.submit(sandbox.dual_writer().run, WRITES_PER_SECOND, 120.0, stop)
        try:
            run.migrate()
        finally:
            stop.set()
        return application.result()
