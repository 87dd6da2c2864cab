"""Beside an application that shares its pool, imgmig changes nothing for it, and nothing of the others' disturbs it."""

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import sql

from imgmig_dagster.doctor.diagnosis import Health
from imgmig_dagster.errors import SessionRefused, SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.sandbox.postgres import READER, Postgres
from imgmig_dagster.sandbox.process import attach_or_start
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.servers import KnownServers
from imgmig_dagster_tests.arrange import MARCH, Migration, Source, image
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.integration.test_doctor import of_source
from imgmig_dagster_tests.integration.test_standby import ROWS, Pair, reader_by
from imgmig_dagster_tests.orchestration.arrange import Platform, images_of
from imgmig_dagster_tests.orchestration.commands import CommandServer
from imgmig_dagster_tests.poolers.servers import pgbouncer
from imgmig_dagster_tests.switch import switch

ROLE = "pooled_application"
SETTINGS = (
    "default_transaction_read_only",
    "transaction_read_only",
    "statement_timeout",
    "lock_timeout",
    "idle_in_transaction_session_timeout",
    "row_security",
    "search_path",
    "TimeZone",
    "DateStyle",
    "application_name",
    "client_encoding",
)
SHOW = "SELECT " + ", ".join(f"current_setting('{name}')" for name in SETTINGS)


@pytest.fixture
def pooled(services: Services, source: Source) -> Iterator[Callable[[str], Source]]:
    """The source as the application's role reaches it, through a pooler's port."""
    owner = services.owner
    owner.execute(f"CREATE ROLE {ROLE} LOGIN")
    owner.execute(f"GRANT CONNECT ON DATABASE images TO {ROLE}")
    owner.execute(f'GRANT USAGE ON SCHEMA "{source.schema}" TO {ROLE}')
    source.execute(f"GRANT ALL ON {{t}} TO {ROLE}")
    owner.execute(f'CREATE TABLE "{source.schema}".app_events (n bigint)')
    owner.execute(f'GRANT ALL ON "{source.schema}".app_events TO {ROLE}')

    def through(port: int) -> Source:
        return replace(source, url=f"postgresql://{ROLE}@127.0.0.1:{port}/images")

    yield through  # type: ignore[misc]
    owner.execute(f"DROP OWNED BY {ROLE}")
    owner.execute(f"DROP ROLE {ROLE}")


class Application:
    """Writes, looks at its settings, and prepares statements, from several connections, until it is stopped."""

    def __init__(self, url: str, schema: str, prepare_threshold: int | None = None) -> None:
        self.written = 0
        self.refused: Counter[str] = Counter()
        self.settings: set[tuple[str, ...]] = set()
        self._stop = threading.Event()
        arguments = (url, schema, prepare_threshold)
        self._threads = [threading.Thread(target=self._work, args=arguments) for _ in range(3)]

    def _work(self, url: str, schema: str, prepare_threshold: int | None) -> None:
        insert = sql.SQL("INSERT INTO {} VALUES (%s)").format(sql.Identifier(schema, "app_events"))
        with psycopg.connect(url, autocommit=True, prepare_threshold=prepare_threshold) as connection:
            while not self._stop.is_set():
                try:
                    with connection.transaction():
                        connection.execute(insert, (1,))
                        self.settings.add(connection.execute(SHOW.encode()).fetchone() or ())
                    self.written += 1
                except psycopg.Error as error:
                    self.refused[type(error).__name__] += 1

    def __enter__(self) -> "Application":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_raised: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()


def test_the_applications_writes_all_succeed_and_its_settings_never_change(
    pooled: Callable[[int], Source], services: Services, platform: Platform, commands: CommandServer
) -> None:
    with pgbouncer(int(services.environment["PGPORT"]), "transaction", [ROLE]) as port:
        source = pooled(port)
        source.insert(images_of(2, range(300)))
        platform.set(IMGMIG_SOURCE_URL=source.url, IMGMIG_PAGE_SIZE="20", AWS_ENDPOINT_URL_STS=platform.target.url)
        with psycopg.connect(source.url, autocommit=True, prepare_threshold=None) as connection:
            before = connection.execute(SHOW.encode()).fetchone()
        with Application(source.url, source.schema) as application:
            for command in ("doctor", "dry-run", "migrate", "verify"):
                finished = commands.run(command, environment=platform.environment)
                assert finished.exit_code == 0, finished.stderr
        with psycopg.connect(source.url, autocommit=True, prepare_threshold=None) as connection:
            after = connection.execute(SHOW.encode()).fetchone()

    assert application.refused == {}
    assert application.written > 50
    assert application.settings == {before, after}
    assert before == after
    assert len(platform.target.items()) == 300


def test_prepared_statements_of_other_clients_collide_with_none_of_ours(
    pooled: Callable[[int], Source], services: Services, migration: Migration
) -> None:
    """They stay on the server's connections under psycopg's own names: PgBouncer knows nothing of them before 1.21."""
    with pgbouncer(int(services.environment["PGPORT"]), "transaction", [ROLE]) as port:
        source = pooled(port)
        source.insert(image(number) for number in range(300))
        with Application(source.url, source.schema, prepare_threshold=1):
            piece = replace(migration, source=source)
            result = piece.migrate(page_size=10)
            verified = piece.verify(page_size=10)

    assert result.outcomes == {"inserted": 300}
    assert verified.passed


@pytest.mark.parametrize(("mode", "told"), [("transaction", "one in transaction mode"), ("session", "one in session")])
def test_the_doctor_says_what_it_found(
    pooled: Callable[[int], Source], services: Services, mode: str, told: str
) -> None:
    with pgbouncer(int(services.environment["PGPORT"]), mode, [ROLE]) as port:
        found = of_source(pooled(port))

    assert (found["pooler"].health, found["pooler"].found[: len(told)]) == (Health.OK, told)
    assert found["index for pages"].health is Health.OK


def test_statement_mode_is_refused_by_its_name_and_once(pooled: Callable[[int], Source], services: Services) -> None:
    slept: list[float] = []
    with pgbouncer(int(services.environment["PGPORT"]), "statement", [ROLE]) as port:
        connection = ReadOnlyConnections(pooled(port).url, RetryPolicy(), slept.append, KnownServers())
        with pytest.raises(SessionRefused, match="is in statement mode, and refuses every transaction"):
            connection.fetch("SELECT 1")
        found = of_source(pooled(port))
    assert slept == []
    assert list(found) == ["server"]


def test_a_pooler_without_its_server_is_waited_for() -> None:
    slept: list[float] = []
    with pgbouncer(1, "transaction", [ROLE], server_connect_timeout=1, query_wait_timeout=1) as port:
        url = f"postgresql://{ROLE}@127.0.0.1:{port}/images"
        connection = ReadOnlyConnections(
            url, RetryPolicy(delays=(0.1,), random=lambda: 0.0), slept.append, KnownServers()
        )
        with pytest.raises(SourceUnavailable):
            connection.fetch("SELECT 1")
    assert slept == [0.1]


def test_another_server_behind_the_pooler_is_refused_by_the_statement_itself(
    pair: Pair, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """It is no replica, and the client's connection stays: nobody asks where it leads to."""
    other = Postgres(tmp_path_factory.mktemp("other"))
    try:
        listener = attach_or_start(other, None)
        other.prepare(listener)
        with (
            switch(pair.port) as server,
            pgbouncer(server.port, "transaction", [READER]) as port,
            reader_by(pair.url(port)) as reader,
        ):
            assert reader.count(MARCH) == ROWS
            server.to(listener.port)
            with pytest.raises(SessionRefused, match="led to another PostgreSQL than the first one"):
                reader.count(MARCH)
    finally:
        other.stop()
        other.remove()
