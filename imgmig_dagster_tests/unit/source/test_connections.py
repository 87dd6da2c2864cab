"""Statements at once: each has a connection, each connection has all the proofs, and none too many is opened."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing

import pytest
from psycopg import sql

from imgmig_dagster.errors import SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connection import Fetch
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.servers import KnownServers
from imgmig_dagster_tests.arrange import MARCH, Source, image
from imgmig_dagster_tests.unit.source.test_connection import end_sessions

WHO = (
    "SELECT pg_backend_pid(), current_setting('transaction_read_only'), current_setting('row_security'),"
    " current_setting('search_path')"
)


def connections_of(source: Source, at_once: int, delays: tuple[float, ...] = ()) -> closing[ReadOnlyConnections]:
    retry = RetryPolicy(delays=delays, random=lambda: 0.0)
    return closing(ReadOnlyConnections(source.url, retry, lambda _seconds: None, KnownServers(), at_once))


def process(fetch: Fetch) -> int:
    return int(fetch("SELECT pg_backend_pid()", None)[0][0])


def test_a_statement_beside_a_snapshot_has_a_connection_of_its_own(source: Source) -> None:
    source.insert(image(number) for number in range(3))
    table = sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(source.schema, source.table))
    with connections_of(source, at_once=2) as connections:
        with connections.snapshot() as fetch:
            assert fetch(table, None) == [(3,)]
            source.delete(1)
            assert connections.fetch(table) == [(2,)]
            assert fetch(table, None) == [(3,)]
        assert connections.fetch(table) == [(2,)]


def test_each_of_them_reads_only_and_by_the_same_settings(source: Source) -> None:
    with connections_of(source, at_once=3) as connections, ExitStack() as held:
        fetches = [held.enter_context(connections.snapshot()) for _ in range(3)]
        found = [fetch(WHO, None)[0] for fetch in fetches]

    assert len({process for process, *_settings in found}) == 3
    assert {tuple(settings) for _process, *settings in found} == {("on", "off", "pg_catalog, pg_temp")}


def test_none_is_opened_before_it_is_needed_and_never_more_than_there_are_places(source: Source) -> None:
    two_inside, used = threading.Barrier(2), list[int]()

    def use(connections: ReadOnlyConnections) -> None:
        with connections.snapshot() as fetch:
            two_inside.wait(60)
            used.append(process(fetch))

    with connections_of(source, at_once=2) as connections, ThreadPoolExecutor(6) as threads:
        first = {process(connections.fetch) for _ in range(3)}
        for each in [threads.submit(use, connections) for _ in range(6)]:
            each.result()

    assert len(first) == 1
    assert len(used) == 6
    assert len({*used, *first}) == 2


def test_after_a_restart_of_the_server_no_statement_tries_one_lost_connection_after_another(source: Source) -> None:
    with connections_of(source, at_once=4, delays=(0.0,)) as connections:
        with ExitStack() as held:
            for _ in range(4):
                held.enter_context(connections.snapshot())
        assert end_sessions(source) == 4

        assert connections.fetch("SELECT 7") == [(7,)]


def test_a_lost_snapshot_takes_only_itself(source: Source) -> None:
    def lose(connections: ReadOnlyConnections) -> None:
        with connections.snapshot() as fetch:
            end_sessions(source)
            fetch("SELECT 1", None)

    with connections_of(source, at_once=2, delays=(0.0,)) as connections:
        with pytest.raises(SourceUnavailable):
            lose(connections)
        assert connections.fetch("SELECT 7") == [(7,)]


def test_partitions_side_by_side_are_read_as_one_after_another(source: Source) -> None:
    source.insert(image(number) for number in range(200))
    with source.reader(at_once=4) as reader, ThreadPoolExecutor(8) as threads:
        expected = [row for page in reader.pages(MARCH, None, 10) for row in page]
        read = list(
            threads.map(lambda size: [row for page in reader.pages(MARCH, None, size) for row in page], range(7, 15))
        )

    assert read == [expected] * 8
