"""A small set of connections. Each statement takes a free one, so that parallel partitions do not queue.

`connection` holds one connection and what each statement proves.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum
from typing import Any, Final

from psycopg import sql

from imgmig_dagster.errors import SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connection import Connection, Driver, Fetch, Parameters
from imgmig_dagster.source.servers import KNOWN_SERVERS, KnownServers

_PROCESS: Final = "SELECT pg_backend_pid()"


class Pooling(Enum):
    """What may be between a client and PostgreSQL."""

    NONE = "none"
    TRANSACTION = "transaction"
    """Each transaction may get another server connection: PgBouncer, Supavisor, RDS Proxy."""
    SESSION = "session"
    """A client keeps one server connection for as long as it is connected."""
    BALANCED = "balanced"
    """pgpool-II, which sends reads to a replica where it may."""


class ReadOnlyConnections:
    """Runs statements on PostgreSQL's primary in short read-only transactions; repeats them after a lost connection.

    Repeating is always safe: nothing is written. Safe for threads: up to `at_once` statements and snapshots have a
    connection each, opened when it is needed; further ones wait. `url` may be a function that returns the URL for each
    new connection, for rotated passwords. `known` holds what the process knows about its servers.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        known: KnownServers = KNOWN_SERVERS,
        at_once: int = 1,
    ) -> None:
        self._give_url = url if callable(url) else lambda: url
        self._retry = retry or RetryPolicy(delays=(0.1, 0.4, 1.6, 6.4))
        self._sleep = sleep
        self._known = known
        self._places = threading.BoundedSemaphore(at_once)
        # One at a time, so that a refused password is tried once.
        self._opening = threading.Lock()
        self._changing = threading.Lock()
        self._open: list[Connection] = []
        self._free: list[Connection] = []

    def fetch(self, query: sql.Composable | str, parameters: Parameters = None) -> list[Any]:
        """All rows of one statement.

        Raises:
            SourceUnavailable: the server cannot be reached, is busy, or did not come back within the retries.
            SessionRefused: it gives no session that may be read through.
            SourceRefused: it refused the statement (no right, row-level security, no such column).
        """
        for retry in range(self._retry.attempts - 1):
            try:
                return self._fetch_once(query, parameters)
            except SourceUnavailable as error:
                if not error.again:
                    raise
                self._sleep(self._retry.delay(retry))
        return self._fetch_once(query, parameters)

    @contextmanager
    def snapshot(self) -> Iterator[Fetch]:
        """Several statements on one snapshot of the database. Keep it short, and use only what it yields until it ends.

        Raises:
            SourceUnavailable: the connection was lost, and the snapshot with it.
            SourceRefused: as for `fetch`.
        """
        self.fetch(_PROCESS)  # if idle connections were lost, this finds out, and no work is lost
        with self._taken() as connection, connection.transaction("REPEATABLE READ") as fetch:
            yield fetch

    @contextmanager
    def lent(self) -> Iterator[Driver]:
        """A separate connection in a read-only transaction, for a library that sends its own statements.

        Raises:
            SourceUnavailable, SourceRefused: as for `fetch`, but nothing is tried again.
        """
        connection = Connection(self._give_url(), self._known)
        try:
            with connection.lent() as driver:
                yield driver
        finally:
            connection.close()

    def pooling(self) -> Pooling:
        """What is between this connection and the server, as far as it can be found out."""
        self.fetch(_PROCESS)
        with self._taken() as connection:
            process = _process_of(connection)
            if connection.is_to_pgpool():
                return Pooling.BALANCED
            if process == connection.process_at_login:
                return Pooling.NONE
            other = Connection(self._give_url(), self._known)
            try:
                # Two sessions that are open at once have the same server process only if a pooler hands it from one to
                # the other.
                shared = _process_of(other) == process
            finally:
                other.close()
        return Pooling.TRANSACTION if shared else Pooling.SESSION

    def encrypted(self) -> bool:
        """Whether what this side sends is encrypted, to the server or to a pooler."""
        with self._taken() as connection:
            return connection.is_encrypted

    def close(self) -> None:
        """Close all connections, those in use too. The next statement opens a new one."""
        with self._changing:
            closing, self._open, self._free = self._open, [], []
        for connection in closing:
            connection.close()

    def _fetch_once(self, query: sql.Composable | str, parameters: Parameters) -> list[Any]:
        with self._taken() as connection, connection.transaction("READ COMMITTED") as fetch:
            return fetch(query, parameters)

    @contextmanager
    def _taken(self) -> Iterator[Connection]:
        with self._places:
            connection = self._take()
            try:
                yield connection
            finally:
                self._give_back(connection)

    def _take(self) -> Connection:
        with self._changing:
            if self._free:
                return self._free.pop()
        with self._opening:
            connection = Connection(self._give_url(), self._known)
        with self._changing:
            self._open.append(connection)
        return connection

    def _give_back(self, connection: Connection) -> None:
        with self._changing:
            if connection.is_open:
                self._free.append(connection)
                return
            # What broke this connection, such as a server restart, broke the idle ones too: do not try them.
            lost, self._free = [connection, *self._free], []
            self._open = [each for each in self._open if each not in lost]
        for each in lost:
            each.close()


def _process_of(connection: Connection) -> int:
    with connection.transaction("READ COMMITTED") as fetch:
        ((process,),) = fetch(_PROCESS, None)
    return int(process)
