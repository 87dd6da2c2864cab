"""PostgreSQL's errors are named by their cause, once, and tried again only where that can help."""

import threading
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from imgmig_dagster.errors import LoginRefused, SessionRefused, SourceError, SourceRefused, SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connection import Isolation, SessionState
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.servers import KnownServers
from imgmig_dagster.source.sqlstates import MEANINGS, to_source_error
from imgmig_dagster_tests.arrange import MARCH, Source, image
from imgmig_dagster_tests.conftest import Services

ERRORS_OF_THE_DOCUMENTS = Path(__file__).parents[3] / "docs" / "errors.md"


@pytest.fixture
def raised(services: Services) -> "Iterator[Raised]":
    """Raises any SQLSTATE, in a session of the owner's."""
    services.owner.execute(
        "CREATE OR REPLACE FUNCTION public.fail(state text) RETURNS integer LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'secret value of a row' USING ERRCODE = state; END $$"
    )
    yield Raised(services.owner_url)
    services.owner.execute("DROP FUNCTION public.fail")


class Raised:
    def __init__(self, url: str) -> None:
        self.url = url
        self.slept: list[float] = []

    def __call__(self, sqlstate: str) -> SourceError:
        retry = RetryPolicy(delays=(0.1, 0.4), random=lambda: 0.0)
        connection = ReadOnlyConnections(self.url, retry, self.slept.append, KnownServers())
        try:
            with pytest.raises(SourceError) as caught:
                connection.fetch("SELECT public.fail(%(state)s)", {"state": sqlstate})
        finally:
            connection.close()
        return caught.value


@pytest.mark.parametrize(
    ("sqlstate", "kind", "tries", "says"),
    [
        ("55P03", SourceUnavailable, 1, "holds a lock on the table"),
        ("53100", SourceUnavailable, 1, "the server's disk is full"),
        ("53200", SourceUnavailable, 1, "out of memory"),
        ("53300", SourceUnavailable, 3, "no connection to spare"),
        ("53400", SourceUnavailable, 1, "a limit of its configuration"),
        ("53999", SourceUnavailable, 1, "has run out of a resource"),
        ("54001", SourceRefused, 1, "raise it, or name a view of fewer columns by `table` in the declaration"),
        ("57P01", SourceUnavailable, 3, "shuts down"),
        ("57P02", SourceUnavailable, 3, "crashed"),
        ("57P03", SourceUnavailable, 3, "starts up"),
        ("40001", SourceUnavailable, 3, "for a conflict"),
        ("25006", SourceRefused, 1, "tried to write"),
        ("42P01", SourceRefused, 1, "the table is not there"),
        ("42703", SourceRefused, 1, "a mapped column is not there"),
        ("22021", SourceRefused, 1, "bytes are no text"),
        ("58030", SourceRefused, 1, "cannot read or write its files"),
        ("XX001", SourceRefused, 1, "data are damaged"),
        ("XX002", SourceRefused, 1, "an index of the server is damaged"),
        ("22012", SourceRefused, 1, "PostgreSQL refused a statement: DivisionByZero, SQLSTATE 22012"),
    ],
)
def test_each_is_told_by_what_it_is(
    raised: Raised, sqlstate: str, kind: type[SourceError], tries: int, says: str
) -> None:
    error = raised(sqlstate)

    assert says in str(error)
    assert sqlstate in str(error)
    assert isinstance(error, kind)
    assert error.exit_code == (3 if kind is SourceUnavailable else 2)
    assert len(raised.slept) == tries - 1
    assert "secret" not in str(error)
    assert "cannot be reached" not in str(error)


class Impatient(SessionState):
    """The product's own limits, without waiting for them."""

    def begin(self, isolation: Isolation) -> bytes:
        return super().begin(isolation).replace(b"'10s'", b"'10ms'").replace(b"'10min'", b"'50ms'")


@pytest.fixture
def impatient(source: Source) -> Iterator[ReadOnlyConnections]:
    def fail(_seconds: float) -> None:
        pytest.fail("it is not worth another try")

    connection = ReadOnlyConnections(source.url, RetryPolicy(), fail, KnownServers())
    connection.fetch("SELECT 1")
    (opened,) = connection._free
    opened._session = Impatient(**vars(opened._session))
    yield connection
    connection.close()


def test_a_lock_is_told_as_one_after_one_wait(source: Source, impatient: ReadOnlyConnections) -> None:
    statement = sql.SQL("TABLE {}").format(sql.Identifier(source.schema, "images"))
    with source.owner.transaction():
        source.execute("LOCK TABLE {t} IN ACCESS EXCLUSIVE MODE")
        with pytest.raises(SourceUnavailable, match="another session holds a lock on the table") as caught:
            impatient.fetch(statement)

    assert caught.value.exit_code == 3
    assert impatient.fetch(statement) == []


def test_a_statement_that_takes_too_long_asks_for_an_index(impatient: ReadOnlyConnections) -> None:
    with pytest.raises(SourceRefused, match="took longer than 10 minutes"):
        impatient.fetch("SELECT pg_sleep(60)")


def test_a_statement_that_somebody_cancels_is_told_as_that(source: Source, impatient: ReadOnlyConnections) -> None:
    impatient._free[0]._session = SessionState()
    cancel_it = (
        "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
        " WHERE query LIKE '%pg_sleep(61)%' AND state = 'active' AND pid <> pg_backend_pid()"
    )

    def cancel() -> None:
        while not source.execute(cancel_it):
            pass

    canceling = threading.Thread(target=cancel)
    canceling.start()
    with pytest.raises(SourceUnavailable, match="somebody canceled a statement"):
        impatient.fetch("SELECT pg_sleep(61)")
    canceling.join()


def test_a_plan_that_altering_a_column_made_stale_is_none_of_ours(source: Source) -> None:
    """psycopg prepares a statement at its fifth use, and PostgreSQL then refuses it with 0A000."""
    source.insert(image(number) for number in range(20))
    with source.reader() as reader:
        pages = reader.pages(MARCH, None, 2)
        for _ in range(8):
            next(pages)
        source.execute("ALTER TABLE {t} ALTER width TYPE bigint")
        assert [len(page) for page in pages] == [2, 2]


@pytest.mark.parametrize(
    ("text", "sqlstate"),
    [
        ('FATAL:  password authentication failed for user "x"', "28P01"),
        ('FATAL:  no pg_hba.conf entry for host "10.0.0.1", user "x", database "y", no encryption', "28000"),
        ('FATAL:  role "x" does not exist', "28000"),
        ('FATAL:  database "y" does not exist', "3D000"),
        ('FATAL:  permission denied for database "y"', "42501"),
    ],
)
def test_a_refused_login_is_no_server_that_is_away(text: str, sqlstate: str) -> None:
    """libpq gives the error of a login no SQLSTATE."""
    line = f'connection failed: connection to server at "127.0.0.1", port 5432 failed: {text}'

    error = to_source_error(psycopg.OperationalError(line), "nobody", known=False)

    assert isinstance(error, LoginRefused)
    assert f"SQLSTATE {sqlstate}" in str(error)


@pytest.mark.parametrize(
    "text",
    ["FATAL:  sorry, too many clients already", "FATAL:  the database system is starting up", "Connection refused"],
)
def test_a_server_that_is_away_or_full_is_tried_again(text: str) -> None:
    line = f'connection failed: connection to server at "127.0.0.1", port 5432 failed: {text}'

    error = to_source_error(psycopg.OperationalError(line), "nobody", known=False)

    assert isinstance(error, SourceUnavailable)
    assert error.again


def test_a_right_to_connect_that_is_revoked_during_a_run_may_be_given_back() -> None:
    error = to_source_error(
        psycopg.OperationalError('failed: FATAL:  permission denied for database "y"'), "nobody", known=True
    )

    assert isinstance(error, SourceUnavailable)
    assert (error.exit_code, error.again) == (3, True)


def test_a_role_that_may_not_write_is_told_which_attribute_to_ask_for(source: Source) -> None:
    connection = ReadOnlyConnections(f"{source.url}?target_session_attrs=read-write", known=KnownServers())

    with pytest.raises(SessionRefused, match="write target_session_attrs=primary"):
        connection.fetch("SELECT 1")


def test_every_meaning_is_in_the_documents() -> None:
    documented = ERRORS_OF_THE_DOCUMENTS.read_text(encoding="utf-8")

    assert [sqlstate for sqlstate in MEANINGS if f"`{sqlstate}`" not in documented] == []
