"""What is read depends on no session: nothing is set in one, and nothing that is set there has a say."""

import ast
import socket
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import sql

from imgmig_dagster.sandbox.postgres import OWNER, READER, url
from imgmig_dagster.source.connection import SessionState
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.source.servers import KnownServers
from imgmig_dagster_tests.arrange import MARCH, Source, image, row_id
from imgmig_dagster_tests.conftest import Services
from imgmig_dagster_tests.images import IMAGE
from imgmig_dagster_tests.test_conventions import MODULES, imports, tree

ODD_SETTINGS = {
    "search_path": "shadows, public, pg_catalog",
    "default_transaction_isolation": "serializable",
    "quote_all_identifiers": "on",
    "TimeZone": "America/New_York",
    "DateStyle": "SQL, DMY",
    "client_encoding": "LATIN1",
    "bytea_output": "escape",
    "extra_float_digits": "-15",
    "row_security": "on",
    "application_name": "odd",
}


@pytest.fixture
def odd_role(services: Services) -> Iterator[None]:
    """The reader's role with defaults of its own, and a schema before all others that takes the names it can."""
    owner = services.owner
    owner.execute("CREATE SCHEMA shadows")
    owner.execute(f"GRANT USAGE ON SCHEMA shadows TO {READER}")
    owner.execute("CREATE FUNCTION shadows.md5(bytea) RETURNS text LANGUAGE sql IMMUTABLE AS $$ SELECT 'same' $$")
    owner.execute(
        "CREATE FUNCTION shadows.never(timestamptz, timestamptz) RETURNS boolean LANGUAGE sql AS 'SELECT false'"
    )
    for relation in ("<", ">="):
        arguments = "FUNCTION = shadows.never, LEFTARG = timestamptz, RIGHTARG = timestamptz"
        owner.execute(f"CREATE OPERATOR shadows.{relation} ({arguments})")
    for name, value in ODD_SETTINGS.items():
        owner.execute(
            sql.SQL("ALTER ROLE {} SET {} = {}").format(
                sql.Identifier(READER),
                sql.Identifier(name),
                sql.SQL(value) if name == "search_path" else sql.Literal(value),
            )
        )
    yield
    for name in ODD_SETTINGS:
        owner.execute(sql.SQL("ALTER ROLE {} RESET {}").format(sql.Identifier(READER), sql.Identifier(name)))
    owner.execute("DROP SCHEMA shadows CASCADE")


def settings_of(connection: psycopg.Connection[Any]) -> dict[str, str]:
    names = [*ODD_SETTINGS, "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"]
    return {
        name: str((connection.execute(sql.SQL("SHOW {}").format(sql.Identifier(name))).fetchone() or ("",))[0])
        for name in names
    }


@pytest.mark.usefixtures("odd_role")
def test_a_roles_own_settings_and_names_change_nothing_that_is_read(source: Source, services: Services) -> None:
    source.insert(image(number, original_filename=f"naïve → {number}") for number in range(30))

    with source.reader() as reader:
        rows = [row for page in reader.pages(MARCH, None, 7) for row in page]
        inventory = reader.inventory(MARCH)
    with SourceReader(ReadOnlyConnections(services.owner_url), source.schema, source.table, IMAGE) as reader:
        expected = [row for page in reader.pages(MARCH, None, 30) for row in page]
        assert reader.inventory(MARCH).digest == inventory.digest

    assert [row[0] for row in rows] == [row_id(number) for number in range(30)]
    assert rows == expected


@pytest.mark.usefixtures("odd_role")
def test_nothing_stays_in_the_session(source: Source) -> None:
    with psycopg.connect(source.url, autocommit=True) as untouched:
        expected = settings_of(untouched)
    with source.reader() as reader:
        reader.count(MARCH)
        with reader.window_ids(MARCH) as ids_between:
            ids_between(None, None)
        connection = reader._connections._free[0]._driver
        prepared = connection.execute("SELECT count(*) FROM pg_catalog.pg_prepared_statements").fetchone()

        assert settings_of(connection) == expected
        assert prepared == (0,)


def test_a_role_that_may_not_ask_for_the_servers_identifier_reads_all_the_same(
    source: Source, services: Services
) -> None:
    known = KnownServers()
    services.owner.execute("REVOKE EXECUTE ON FUNCTION pg_control_system() FROM public")
    try:
        connection = ReadOnlyConnections(source.url, known=known)
        assert connection.fetch("SELECT 7") == [(7,)]
        assert "pg_database" in connection._free[0]._session.other_cluster
        connection.close()
        assert connection.fetch("SELECT 8") == [(8,)]
        connection.close()
    finally:
        services.owner.execute("GRANT EXECUTE ON FUNCTION pg_control_system() TO public")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM {t} WHERE created_at >= '2024-03-01' ORDER BY created_at, id LIMIT 20",
        "SELECT id FROM {t} WHERE created_at >= '2024-03-01' AND created_at < '2024-04-01'",
        "SELECT count(*) FROM {t}",
    ],
)
def test_the_proof_changes_no_plan(source: Source, statement: str) -> None:
    source.insert(image(number) for number in range(3_000))
    source.execute("ANALYZE {t}")
    inside = sql.SQL(statement).format(t=sql.Identifier(source.schema, source.table))
    explain = sql.SQL("EXPLAIN (COSTS OFF) {}")

    plain = [line.strip(" ->") for (line,) in source.owner.execute(explain.format(inside)).fetchall()]
    proven = [
        line.strip(" ->") for (line,) in source.owner.execute(explain.format(SessionState().proven(inside))).fetchall()
    ]

    assert proven[-len(plain) :] == plain
    assert proven[: -len(plain)] == ["Limit", "InitPlan 1", "Result"]
    assert not any("Sort" in line for line in proven)


@pytest.mark.parametrize("empty", ["WHERE false", "WHERE width = -1", "LIMIT 0"])
def test_an_empty_result_is_proved_too(source: Source, empty: str) -> None:
    """Of another cluster, since there is no standby here."""
    statement = sql.SQL("SELECT * FROM {} {}").format(sql.Identifier(source.schema, source.table), sql.SQL(empty))
    assert source.owner.execute(SessionState().proven(statement)).fetchall() == []

    with pytest.raises(psycopg.errors.InvalidRowCountInResultOffsetClause):
        source.owner.execute(SessionState(other_cluster=" OR true").proven(statement))


@pytest.mark.parametrize("parameter", ["", "?client_encoding=sql_ascii", "?client_encoding=latin1"])
@pytest.mark.parametrize("encoded_owner", ["SQL_ASCII", "LATIN1"], indirect=True)
def test_text_is_text_in_every_encoding(encoded_owner: psycopg.Connection[Any], parameter: str) -> None:
    info = encoded_owner.info
    connection = ReadOnlyConnections(url(info.port, info.dbname, OWNER) + parameter, known=KnownServers())
    try:
        assert connection.fetch("SELECT %(text)s::text, 'plain', relname FROM pg_class LIMIT 1", {"text": "é"})[0][
            :2
        ] == ("é", "plain")
    finally:
        connection.close()


def test_a_peer_that_vanished_is_noticed_within_a_minute(source: Source) -> None:
    with source.reader() as reader:
        reader.count(MARCH)
        connection = reader._connections._free[0]._driver
        with socket.socket(fileno=connection.fileno()) as opened:
            idle, interval, count, unanswered_ms = (
                opened.getsockopt(socket.IPPROTO_TCP, option)
                for option in (
                    socket.TCP_KEEPIDLE,
                    socket.TCP_KEEPINTVL,
                    socket.TCP_KEEPCNT,
                    socket.TCP_USER_TIMEOUT,
                )
            )
            alive = opened.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
            opened.detach()

    assert alive
    assert idle + interval * count < 60
    assert unanswered_ms < 60_000


def test_what_the_url_says_of_them_counts(source: Source) -> None:
    connection = ReadOnlyConnections(f"{source.url}?keepalives_idle=7&application_name=theirs", known=KnownServers())
    connection.fetch("SELECT 1")
    with socket.socket(fileno=connection._free[0]._driver.fileno()) as opened:
        idle = opened.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE)
        opened.detach()
    connection.close()

    assert idle == 7


def test_there_is_one_way_to_a_statement_and_it_proves_the_primary() -> None:
    """The sandbox and its like write to servers of their own."""
    drivers = {
        module
        for module in MODULES
        if not module.startswith(("sandbox/", "self_test/"))
        and any(name.split(".")[0] == "psycopg" and name != "psycopg.sql" for name in imports(module))
    }
    # The others read a URL, or values, and tell errors apart.
    known = {"source/connection.py", "source/loaders.py", "source/servers.py", "source/sqlstates.py", "transport.py"}
    assert drivers == known
    executed = {
        f"{module}: {ast.unparse(node)}"
        for module in drivers
        for node in ast.walk(tree(module))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in {"execute", "executemany", "copy", "stream", "connect", "cursor"}
    }

    assert executed == {
        "source/connection.py: psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)",
        "source/connection.py: driver.execute(self._session.begin(isolation))",
        "source/connection.py: driver.cursor(binary=True)",
        "source/connection.py: cursor.execute(self._session.proven(query), parameters)",
        "source/connection.py: driver.execute('COMMIT')",
        "source/connection.py: self._driver.execute('ROLLBACK')",
        "source/connection.py: self._driver.execute('SHOW pool_version')",
    }
