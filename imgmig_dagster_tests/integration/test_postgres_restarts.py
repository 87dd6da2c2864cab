"""PostgreSQL goes away in the middle of a pass: it is read on once it is back, or the pass can be resumed."""

import os
import signal
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psycopg
import pytest

from imgmig_dagster.errors import SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.sandbox.postgres import OWNER, READER, SOURCE_DATABASE, Postgres, url
from imgmig_dagster.sandbox.process import attach_or_start, command_line
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.stages import WriteMode
from imgmig_dagster.state.store import LocalStateStore
from imgmig_dagster_tests.arrange import Migration, Source, Target, image, item_of, row_id
from imgmig_dagster_tests.fault_proxy import NEW_ITEMS, FaultProxy
from imgmig_dagster_tests.images import IMAGE

ROWS, PAGE_SIZE = 500, 50
# What pg_ctl sends for these two kinds of shutdown.
FAST, IMMEDIATE = signal.SIGINT, signal.SIGQUIT


@dataclass
class Server:
    """A PostgreSQL that the test may restart."""

    postgres: Postgres
    port: int
    up: threading.Event

    def owner(self) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(url(self.port, SOURCE_DATABASE, OWNER), autocommit=True)

    def end(self, how: signal.Signals) -> None:
        listener = self.postgres.find()
        assert listener
        self.up.clear()
        os.kill(listener.pid, how)
        ended = threading.Event()
        while command_line(listener.pid):
            ended.wait(0.01)

    def start(self) -> None:
        assert attach_or_start(self.postgres, self.port).port == self.port
        self.up.set()

    def restart(self, how: signal.Signals) -> None:
        self.end(how)
        self.start()

    def terminate_backends(self) -> None:
        with self.owner() as owner:
            ended = owner.execute(
                "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = %s", (READER,)
            ).fetchall()
        assert ended == [(True,)]


@dataclass(frozen=True)
class RestartedSource(Source):
    """A source whose reader waits, before it tries again, until the server is back."""

    up: threading.Event | None = None

    def reader(self, at_once: int = 1) -> SourceReader:
        retry = RetryPolicy(random=lambda: 0.0)
        connections = ReadOnlyConnections(self.url, retry, sleep=lambda _s: self._wait(), at_once=at_once)
        return SourceReader(connections, self.schema, self.table, IMAGE)

    def _wait(self) -> None:
        if self.up is not None:
            self.up.wait(300)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    postgres = Postgres(tmp_path_factory.mktemp("postgres"))
    try:
        listener = attach_or_start(postgres, None)
        postgres.prepare(listener)
        server = Server(postgres, listener.port, threading.Event())
        server.up.set()
        with server.owner() as owner:
            Source(owner, "", "public", "images").insert(image(number) for number in range(ROWS))
        yield server
    finally:
        postgres.stop()
        postgres.remove()


@pytest.fixture
def migration(server: Server, target: Target, state: LocalStateStore) -> Iterator[Migration]:
    if server.postgres.find() is None:
        server.start()
    with server.owner() as owner:
        reader = url(server.port, SOURCE_DATABASE, READER)
        source = RestartedSource(owner, reader, "public", "images", up=server.up)
        yield Migration(source, target, state)


WAYS_TO_GO = {
    "restarted fast": lambda server: server.restart(FAST),
    "restarted at once": lambda server: server.restart(IMMEDIATE),
    "connections terminated": Server.terminate_backends,
}


@pytest.fixture(params=WAYS_TO_GO)
def interruption(request: pytest.FixtureRequest, server: Server) -> "Interruption":
    return Interruption(server, request.param)


@dataclass
class Interruption:
    """Something that happens to the server once."""

    server: Server
    name: str
    times: int = 0

    def __call__(self) -> None:
        self.times += 1
        WAYS_TO_GO[self.name](self.server)


def exact(migration: Migration) -> bool:
    return migration.target.items() == {f"IMAGE#{row_id(number)}": item_of(number) for number in range(ROWS)}


def test_a_migration_reads_on(migration: Migration, proxy: FaultProxy, interruption: Interruption) -> None:
    proxy.after(interruption, NEW_ITEMS, when=lambda call: row_id(150) in call.ids)

    result = migration.migrate(proxy.url, page_size=PAGE_SIZE)

    assert interruption.times == 1
    assert (result.outcomes, result.rows_in_window, result.resumes) == ({"inserted": ROWS}, ROWS, 0)
    assert exact(migration)


def test_a_verification_reads_on(migration: Migration, proxy: FaultProxy, interruption: Interruption) -> None:
    migration.migrate(page_size=PAGE_SIZE)
    proxy.after(interruption, "BatchGetItem", when=lambda call: row_id(150) in call.ids)
    run = replace(migration.verification(proxy.url), page_size=PAGE_SIZE)

    with run.source:
        result = run.verify()

    assert interruption.times == 1
    assert result.passed
    assert result.verdicts["match"] == result.rows_in_window == ROWS


@pytest.mark.parametrize("how", [FAST, IMMEDIATE])
def test_where_it_stays_away_the_pass_can_be_resumed(
    server: Server, migration: Migration, proxy: FaultProxy, how: signal.Signals
) -> None:
    def leave() -> None:
        server.end(how)
        server.up.set()  # nobody is to wait for it

    proxy.after(leave, "BatchWriteItem", when=lambda call: row_id(150) in call.ids)
    with pytest.raises(SourceUnavailable) as caught:
        migration.migrate(proxy.url, page_size=PAGE_SIZE, write_mode=WriteMode.BATCH)
    assert caught.value.exit_code == 3
    assert migration.checkpoint is not None
    server.start()

    result = migration.migrate(page_size=PAGE_SIZE, write_mode=WriteMode.BATCH, run_id="run-2")

    # What was written behind the checkpoint is found.
    assert (sum(result.outcomes.values()), result.resumes) == (ROWS, 1)
    assert set(result.outcomes) <= {"written", "identical"}
    assert exact(migration)
