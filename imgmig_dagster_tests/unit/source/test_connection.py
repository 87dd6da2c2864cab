"""The connection reads only, and comes back."""

import pytest

from imgmig_dagster.errors import SourceRefused, SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster_tests.arrange import MARCH, Source, image, row_id
from imgmig_dagster_tests.conftest import Services


def end_sessions(source: Source) -> int:
    """End every session of the reader's role, as a restart of the server would."""
    return len(
        source.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE usename = 'imgmig_reader'")
    )


def test_a_pass_goes_on_after_its_session_was_ended_in_the_middle(source: Source) -> None:
    source.insert(image(number) for number in range(100))
    read: list[str] = []

    with source.reader() as reader:
        for page in reader.pages(MARCH, None, 10):
            read += [row.id for row in page]
            if len(read) in (30, 70):
                assert end_sessions(source) >= 1

    assert read == [row_id(number) for number in range(100)]


def test_a_table_is_described_after_its_session_was_ended(source: Source) -> None:
    with source.reader() as reader:
        reader._connections.fetch("SELECT 1")
        end_sessions(source)

        assert reader.count(MARCH) == 0


def test_the_session_is_opened_again_with_its_settings(source: Source) -> None:
    connection = ReadOnlyConnections(source.url, RetryPolicy(delays=(0.0,)), sleep=lambda _seconds: None)
    settings = "SELECT current_setting('transaction_read_only'), current_setting('TimeZone')"
    try:
        assert connection.fetch(settings) == [("on", "UTC")]
        end_sessions(source)
        assert connection.fetch(settings) == [("on", "UTC")]
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("statement", "sqlstate"),
    [
        # No statement that writes is a part of another one, and a function that writes meets a read-only transaction.
        ("INSERT INTO public.images SELECT * FROM public.images RETURNING id", "42601"),
        ("WITH gone AS (DELETE FROM public.images RETURNING id) SELECT * FROM gone", "0A000"),
        ("CREATE TABLE made_by_a_reader (x int)", "42601"),
        ("SELECT lo_create(0)", "25006"),
        ("SELECT nextval('public.a_sequence')", "25006"),
    ],
)
def test_nothing_can_be_written_even_by_a_role_that_may(services: Services, statement: str, sqlstate: str) -> None:
    services.owner.execute("CREATE SEQUENCE IF NOT EXISTS public.a_sequence")
    connection = ReadOnlyConnections(services.owner_url)
    try:
        with pytest.raises(SourceRefused, match=f"SQLSTATE {sqlstate}"):
            connection.fetch(statement)
        # The refused statement leaves a connection that works.
        assert connection.fetch("SELECT 1") == [(1,)]
    finally:
        connection.close()


def test_the_servers_text_with_its_values_is_not_in_the_error(services: Services) -> None:
    connection = ReadOnlyConnections(services.owner_url)
    try:
        with pytest.raises(SourceRefused) as caught:
            connection.fetch("SELECT %(name)s::int", {"name": "secret value"})
    finally:
        connection.close()
    assert "secret" not in str(caught.value)
    assert "22P02" in str(caught.value)


@pytest.mark.parametrize("parameter", ["sslmode", "port"])
def test_a_parameter_that_libpq_cannot_read_is_not_quoted(parameter: str) -> None:
    """After an `&` that was not encoded it may be the rest of a password."""
    connection = ReadOnlyConnections(
        f"postgresql://u@127.0.0.1/x?password=pass&{parameter}=word",
        RetryPolicy(delays=()),
        sleep=lambda _seconds: None,
    )
    with pytest.raises(SourceUnavailable, match="cannot be reached: connection is bad: invalid") as caught:
        connection.fetch("SELECT 1")
    assert "word" not in str(caught.value)


def test_a_server_that_stays_away_is_unavailable_after_the_retries() -> None:
    slept: list[float] = []
    retry = RetryPolicy(delays=(0.1, 0.4), random=lambda: 0.0)
    connection = ReadOnlyConnections("postgresql://nobody@127.0.0.1:1/x", retry, sleep=slept.append)

    with pytest.raises(SourceUnavailable, match="cannot be reached") as caught:
        connection.fetch("SELECT 1")

    assert slept == [0.1, 0.4]
    assert caught.value.retryable
    assert caught.value.exit_code == 3


def test_a_url_that_is_rotated_is_asked_for_with_each_new_connection(source: Source) -> None:
    urls = iter(["postgresql://nobody@127.0.0.1:1/x", source.url])
    connection = ReadOnlyConnections(lambda: next(urls), RetryPolicy(delays=(0.1,)), lambda _seconds: None)

    try:
        assert connection.fetch("SELECT 7") == [(7,)]
        assert connection.fetch("SELECT 7") == [(7,)], "an open one is kept"
    finally:
        connection.close()


def test_no_transaction_stays_open_between_pages(source: Source) -> None:
    source.insert(image(number) for number in range(20))

    with source.reader() as reader:
        pages = reader.pages(MARCH, None, 5)
        next(pages)
        states = source.execute("SELECT state FROM pg_stat_activity WHERE usename = 'imgmig_reader'")

    assert set(states) == {("idle",)}


def test_closing_ends_the_session(source: Source) -> None:
    with source.reader() as reader:
        reader.count(MARCH)
        connection = reader._connections._free[0]._driver

    assert connection.closed
