"""A wrong password is one failed login: more of them lock the account that others use too."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from imgmig_dagster.errors import LoginRefused
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.sandbox.postgres import OWNER, READER, SOURCE_DATABASE, Postgres, url
from imgmig_dagster.sandbox.process import HOST, attach_or_start
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.servers import KnownServers
from imgmig_dagster_tests.orchestration.arrange import Platform
from imgmig_dagster_tests.orchestration.commands import CommandServer


class Guarded:
    """A PostgreSQL that asks the reader for a password."""

    def __init__(self, postgres: Postgres, port: int) -> None:
        self._log = postgres.log
        self._port = port

    def url(self, password: str, hosts: int = 1) -> str:
        places = ",".join([f"{HOST}:{self._port}"] * hosts)
        return f"postgresql://{READER}:{password}@{places}/{SOURCE_DATABASE}"

    @property
    def failed_logins(self) -> int:
        return self._log.read_text().count("password authentication failed")


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guarded]:
    postgres = Postgres(tmp_path_factory.mktemp("guarded"))
    try:
        port = attach_or_start(postgres, None)
        postgres.prepare(port)
        hba = postgres._data / "pg_hba.conf"
        hba.write_text(f"host all {READER} all scram-sha-256\n{hba.read_text()}")
        with psycopg.connect(url(port.port, SOURCE_DATABASE, OWNER), autocommit=True) as owner:
            owner.execute(f"ALTER ROLE {READER} PASSWORD 'right'")
            owner.execute("SELECT pg_reload_conf()")
        yield Guarded(postgres, port.port)
    finally:
        postgres.stop()
        postgres.remove()


def test_all_readers_of_a_process_try_it_once_a_minute(guarded: Guarded) -> None:
    now, slept = [1_000.0], list[float]()
    known, before = KnownServers(clock=lambda: now[0]), guarded.failed_logins

    def read() -> None:
        connection = ReadOnlyConnections(guarded.url("wrong"), RetryPolicy(), slept.append, known)
        with pytest.raises(LoginRefused, match="PostgreSQL refuses the password") as caught:
            connection.fetch("SELECT 1")
        assert "wrong" not in str(caught.value)

    for _ in range(3):
        read()
    assert (guarded.failed_logins - before, slept) == (1, [])
    now[0] += 61
    read()
    assert guarded.failed_logins - before == 2

    # Another password is another login.
    connection = ReadOnlyConnections(guarded.url("right"), known=known)
    assert connection.fetch("SELECT 1") == [(1,)]
    connection.close()


def test_statements_at_once_try_it_once(guarded: Guarded) -> None:
    before = guarded.failed_logins
    connections = ReadOnlyConnections(guarded.url("wrong"), RetryPolicy(delays=()), known=KnownServers(), at_once=8)

    def read(_number: int) -> None:
        with pytest.raises(LoginRefused, match="PostgreSQL refuses the password"):
            connections.fetch("SELECT 1")

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(read, range(8)))
    assert guarded.failed_logins - before == 1


def test_no_other_host_of_the_url_is_asked_with_it(guarded: Guarded) -> None:
    before = guarded.failed_logins
    connection = ReadOnlyConnections(guarded.url("wrong", hosts=3), RetryPolicy(delays=()), known=KnownServers())

    with pytest.raises(LoginRefused, match="PostgreSQL refuses the password"):
        connection.fetch("SELECT 1")

    assert guarded.failed_logins - before == 1


@pytest.mark.parametrize("command", ["doctor", "migrate"])
def test_a_command_tries_it_once_and_ends(
    guarded: Guarded, platform: Platform, commands: CommandServer, command: str, tmp_path: Path
) -> None:
    platform.set(IMGMIG_SOURCE_URL=guarded.url("wrong"), IMGMIG_SOURCE_SCHEMA="public")
    platform.set(AWS_ENDPOINT_URL_STS=platform.target.url)
    before = guarded.failed_logins

    finished = commands.run(command, environment={**platform.environment, "COLUMNS": "300"}, folder=tmp_path)

    assert finished.exit_code == (1 if command == "doctor" else 2)
    assert "PostgreSQL refuses the password" in finished.stdout + finished.stderr
    assert guarded.failed_logins - before == 1
