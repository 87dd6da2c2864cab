"""Canaries: secrets and a row's values that can be recognised, looked for afterwards in all that was written."""

import uuid
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from imgmig_dagster_tests.arrange import image, item_of, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy, error, holds
from imgmig_dagster_tests.orchestration.arrange import MARCH, Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer

SECRETS = {name: f"canary{name}{uuid.uuid4().hex[:8]}" for name in ("password", "key", "token", "webhook")}
NAME = f"canaryname{uuid.uuid4().hex[:8]}"
USER = str(uuid.uuid4())
# The files that are meant to hold values.
OF_VALUES = {"mismatches.jsonl", "faults.jsonl", "spot-check.json", "spot-check.html"}


def kind(place: str) -> str:
    """The name of a file; of a segment's faults what they all have in common."""
    name = Path(place).name
    return "faults.jsonl" if name.endswith("-faults.jsonl") else name


# A run whose output Dagster captures, as one that the UI launches.
RUN_OF_THE_UI = f"""
import dagster as dg
from imgmig_dagster.definitions import defs
with dg.DagsterInstance.get() as instance:
    for job in ("migrate", "verify"):
        defs().resolve_job_def(job).execute_in_process(instance=instance, partition_key={MARCH!r}, raise_on_error=False)
"""


@pytest.fixture
def canaries(platform: Platform, proxy: FaultProxy) -> Platform:
    """A stage with secrets in every place that takes one, and rows that all hold the same values."""
    values = {"user_id": USER, "original_filename": NAME, "s3_key": f"uploads/{NAME}", "thumbnail_s3_key": NAME}
    good = [image(number, **values, mime_type=NAME) for number in range(1, 6)]
    rejected = image(6, **values, updated_at="infinity"), image(7, **{**values, "original_filename": NAME * 30_000})
    platform.source.insert([*good, *rejected])
    platform.set(
        IMGMIG_SOURCE_URL=platform.source.url.replace("imgmig_reader@", f"imgmig_reader:{SECRETS['password']}@"),
        AWS_SECRET_ACCESS_KEY=SECRETS["key"],
        AWS_SESSION_TOKEN=SECRETS["token"],
        IMGMIG_ALERT_WEBHOOK=f"http://127.0.0.1:9/{SECRETS['webhook']}",
        AWS_ENDPOINT_URL_STS=platform.target.url,
        IMGMIG_DUAL_WRITE="true",
        IMGMIG_SETTLE_SECONDS="0",
    )
    platform.through(proxy.url)
    return platform


def dumped(services: Services) -> Iterator[tuple[str, bytes]]:
    """Every row of Dagster's storage, what it compresses unpacked."""
    url = "postgresql://{PGUSER}@{PGHOST}:{PGPORT}/dagster".format(**services.environment)
    with psycopg.connect(url) as connection:
        tables = connection.execute("SELECT tablename FROM pg_tables WHERE schemaname = 'public'").fetchall()
        for (table,) in tables:
            for row in connection.execute(sql.SQL("SELECT * FROM {}").format(sql.Identifier(table))):
                yield from ((f"table {table}", unpacked(value)) for value in row if value is not None)


def unpacked(value: Any) -> bytes:
    if not isinstance(value, bytes):
        return str(value).encode()
    try:
        return zlib.decompress(value)
    except zlib.error:
        return value


def files(*folders: Path) -> Iterator[tuple[str, bytes]]:
    for folder in folders:
        yield from ((str(path), path.read_bytes()) for path in folder.rglob("*") if path.is_file())


def hits(written: list[tuple[str, bytes]], word: str) -> set[str]:
    return {place for place, content in written if word.encode() in content}


def test_no_secret_is_written_anywhere_and_values_only_where_they_are_meant_to_be(
    canaries: Platform, proxy: FaultProxy, commands: CommandServer, services: Services, tmp_path: Path
) -> None:
    written: list[tuple[str, bytes]] = []

    def imgmig(*arguments: str, ends_with: int | None, **variables: str) -> None:
        for form in ((), ("--json",)):
            environment = {**canaries.environment, **variables}
            finished = commands.run(*arguments, *form, environment=environment, folder=tmp_path)
            name = " ".join((*arguments, *form))
            assert ends_with in (None, finished.exit_code), (name, finished)
            written.extend((name, text.encode()) for text in (finished.stdout, finished.stderr))

    proxy.inject(error("InternalServerError", 500), NEW_ITEMS, times=20, when=holds(row_id(2)))
    imgmig("dry-run", ends_with=1)
    imgmig("migrate", ends_with=1)
    proxy.clear()
    imgmig("retry-failures", ends_with=1)
    canaries.change_item(3, "originalFilename", {"S": f"another {NAME}"})
    canaries.target.put(item_of(99, originalFilename={"S": NAME}, userId={"S": USER}))
    imgmig("verify", ends_with=1)
    imgmig("spot-check", ends_with=1)
    imgmig("report", ends_with=1)
    imgmig("status", ends_with=0)
    imgmig("doctor", ends_with=0)
    written += files(tmp_path)  # later commands replace some
    imgmig("repair", ends_with=None)
    imgmig("repair", "--apply", "--source-wins", "--delete-orphans", ends_with=None)
    imgmig("certificate", "show", "latest", ends_with=1)
    # What libpq and PostgreSQL say of these quotes the URL or the row.
    imgmig("doctor", ends_with=3, IMGMIG_SOURCE_URL=f"postgresql://u:{SECRETS['password']}@127.0.0.1:9/x")
    imgmig("doctor", ends_with=2, IMGMIG_SOURCE_URL=f"postgresql://u@127.0.0.1:9/x?password=a&{SECRETS['password']}=b")
    proxy.inject(error("UnrecognizedClientException"), times=20)
    imgmig("verify", ends_with=3)
    proxy.clear()
    launched = commands.run(environment=canaries.environment, folder=tmp_path, code=RUN_OF_THE_UI)
    canaries.source.execute("ALTER TABLE {t} ENABLE ROW LEVEL SECURITY")
    canaries.source.execute("CREATE POLICY fails ON {t} TO imgmig_reader USING (original_filename::int > 0)")
    imgmig("migrate", ends_with=2)
    failed = commands.run(environment=canaries.environment, folder=tmp_path, code=RUN_OF_THE_UI)
    for finished in (launched, failed):
        assert finished.exit_code == 0, finished.stderr
        written += [("a run's output", text.encode()) for text in (finished.stdout, finished.stderr)]

    home = Path(canaries.environment["DAGSTER_HOME"])
    written += [*files(tmp_path, home), *dumped(services)]
    places = {kind(place) for place, _content in written}
    assert {"migration.log", "migration-failures.json", "summary.html", "table event_logs", *OF_VALUES} <= places
    assert any(place.endswith((".err", ".out")) and str(home) in place for place, _content in written), (
        "captured output"
    )
    for name, secret in SECRETS.items():
        assert hits(written, secret) == set(), f"the {name} was written"
    assert {kind(place) for place in hits(written, NAME)} == OF_VALUES, sorted(hits(written, NAME))
    # Of a mismatch only the field at fault is listed.
    assert {kind(place) for place in hits(written, USER)} == OF_VALUES - {"mismatches.jsonl", "faults.jsonl"}
