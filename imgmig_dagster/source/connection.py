"""A read-only connection that leaves nothing behind in its session, and whose every result proves where it is from.

A pooler may hand each transaction to another server connection, and each of those to another client afterwards. So
whatever a statement needs is set within its own transaction, and nothing is prepared. What errors mean stands in
`sqlstates.py`, what a process knows of its servers in `servers.py`, and how values are read in `loaders.py`.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import Enum
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from imgmig_dagster.errors import LoginRefused, SourceRefused, SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.loaders import register_loaders, take_any_bytes
from imgmig_dagster.source.servers import KNOWN_SERVERS, Cluster, KnownServers, each_address
from imgmig_dagster.source.sqlstates import refuses_password, replica, told

Parameters: TypeAlias = "dict[str, Any] | None"
Isolation: TypeAlias = Literal["READ COMMITTED", "REPEATABLE READ"]
Fetch: TypeAlias = Callable[["sql.Composable | str", Parameters], "list[Any]"]
"""All rows of a statement with parameters."""

# For one transaction each. What a role, a database or a pooler's other clients have set must not change what is read.
_SETTINGS: Final = {
    "row_security": "off",  # PostgreSQL refuses to read through a policy, instead of leaving rows out
    "search_path": "pg_catalog, pg_temp",  # no function or operator of somebody's own takes the place of PostgreSQL's
    "client_encoding": "'UTF8'",  # whatever the URL, PGCLIENTENCODING or the database's encoding say
    "TimeZone": "'UTC'",
    "DateStyle": "'ISO, YMD'",
    "quote_all_identifiers": "off",  # else the catalog's names of types have quotes
    "statement_timeout": "'10min'",
    "lock_timeout": "'10s'",
    "idle_in_transaction_session_timeout": "'1min'",
    "application_name": "'imgmig'",
}
# What the URL does not say itself, and what only this side knows of: a pooler hands what it is told of a session, such
# as application_name, to its other clients. A peer that vanished is given up after 20 + 3 * 10 seconds.
_PARAMETERS: Final = {
    "target_session_attrs": "primary",
    "connect_timeout": 5,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}
# Whatever else the executor does, it evaluates OFFSET first, even if there is no row. Its value is no constant, so
# that the planner takes the statement inside for what it is without it, and a load balancer sends a statement that
# asks such a function to the primary.
_PROOF: Final = (
    "SELECT * FROM ({statement}) AS proven"
    " OFFSET (SELECT CASE WHEN pg_is_in_recovery(){other_cluster} THEN -1 ELSE 0 END)"
)
_WHO: Final = """
SELECT current_user::text, (SELECT oid FROM pg_database WHERE datname = current_database())::bigint,
       (SELECT oid FROM pg_roles WHERE rolname = current_user)::bigint,
       has_function_privilege('pg_control_system()', 'EXECUTE')
       AND has_function_privilege('pg_control_checkpoint()', 'EXECUTE')
"""
_PROCESS: Final = "SELECT pg_backend_pid()"
_CONTROL: Final = (
    "SELECT (SELECT system_identifier::text FROM pg_control_system()), timeline_id FROM pg_control_checkpoint()"
)


class Pooling(Enum):
    """What may stand between a client and PostgreSQL."""

    NONE = "none"
    TRANSACTION = "transaction"
    """Each transaction may get another server connection: PgBouncer, Supavisor, RDS Proxy."""
    SESSION = "session"
    """A server connection is a client's for as long as it is connected."""
    BALANCED = "balanced"
    """pgpool-II, which sends reads to a replica where it may."""


@dataclass(frozen=True)
class Session:
    """What every transaction of a connection says, and every statement asks."""

    role: str = "unknown"
    other_cluster: str = ""

    def begin(self, isolation: Isolation) -> bytes:
        """Opens a transaction, in one round trip."""
        settings = "; ".join(f"SET LOCAL {name} = {value}" for name, value in _SETTINGS.items())
        return f"BEGIN ISOLATION LEVEL {isolation} READ ONLY; {settings}".encode()

    def proven(self, statement: sql.Composable | str) -> sql.Composed:
        """The statement, refused by a server in recovery, and by another cluster; its rows keep their order."""
        inside = sql.SQL(statement) if isinstance(statement, str) else statement
        return sql.SQL(_PROOF).format(statement=inside, other_cluster=sql.SQL(self.other_cluster))


class ReadOnlyConnection:
    """Statements on PostgreSQL's primary, each in a short read-only transaction, repeated after a lost connection.

    Reading again is always safe: nothing is written. `url` may be what gives it for each new connection, where its
    password is rotated. `known` is what the process knows of its servers.
    """

    def __init__(
        self,
        url: str | Callable[[], str],
        retry: RetryPolicy | None = None,
        sleep: Callable[[float], None] = time.sleep,
        known: KnownServers = KNOWN_SERVERS,
    ) -> None:
        self._give_url = url if callable(url) else lambda: url
        self._url = ""
        self._retry = retry or RetryPolicy(delays=(0.1, 0.4, 1.6, 6.4))
        self._sleep = sleep
        self._known = known
        # A statement's transaction must not be entered by another thread's statement.
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None
        self._session = Session()

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
        """Several statements on one snapshot of the database; keep it short, and use only what is yielded meanwhile.

        Raises:
            SourceUnavailable: the connection was lost, and the snapshot with it.
            SourceRefused: as for `fetch`.
        """
        self.fetch(_PROCESS)  # where the connection was lost since its last statement, nothing is lost with it
        with self._lock, self._transaction("REPEATABLE READ") as fetch:
            yield fetch

    def pooling(self) -> Pooling:
        """What stands between this connection and the server, as far as can be told."""
        ((server_process,),) = self.fetch(_PROCESS)
        with self._lock:
            connection = self._connect()
            is_direct = server_process == connection.info.backend_pid
            if _is_pgpool(connection):
                return Pooling.BALANCED
        if is_direct:
            return Pooling.NONE
        other = ReadOnlyConnection(self._give_url, RetryPolicy(delays=()), self._sleep, self._known)
        try:
            # Two sessions that are open at once share a server's process only where that changes hands.
            shared = other.fetch(_PROCESS) == [(server_process,)]
        finally:
            other.close()
        return Pooling.TRANSACTION if shared else Pooling.SESSION

    def encrypted(self) -> bool:
        """Whether what this side of the connection sends is encrypted, be it to the server or to a pooler."""
        with self._lock:
            return bool(self._connect().pgconn.ssl_in_use)

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _fetch_once(self, query: sql.Composable | str, parameters: Parameters) -> list[Any]:
        with self._lock, self._transaction("READ COMMITTED") as fetch:
            return fetch(query, parameters)

    @contextmanager
    def _transaction(self, isolation: Isolation) -> Iterator[Fetch]:
        """The only way to a statement."""
        try:
            connection = self._connect()
            try:
                connection.execute(self._session.begin(isolation))
                with connection.cursor(binary=True) as cursor:
                    yield partial(self._read, cursor)
                connection.execute("COMMIT")
            finally:
                # An error leaves the transaction open; Ctrl-C may leave the statement running.
                if not connection.closed and connection.info.transaction_status is not TransactionStatus.IDLE:
                    self._roll_back(connection)
        except psycopg.Error as error:
            raise self._told(error) from None

    def _read(self, cursor: psycopg.Cursor[Any], query: sql.Composable | str, parameters: Parameters) -> list[Any]:
        try:
            return cursor.execute(self._session.proven(query), parameters).fetchall()
        except UnicodeDecodeError:
            take_any_bytes(cursor)
        return cursor.execute(self._session.proven(query), parameters).fetchall()

    def _roll_back(self, connection: psycopg.Connection[Any]) -> None:
        if connection.info.transaction_status is TransactionStatus.ACTIVE:
            self.close()
            return
        try:
            connection.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def _told(self, error: psycopg.Error) -> Exception:
        if isinstance(error, psycopg.errors.InvalidRowCountInResultOffsetClause):
            # Which of both it was, a new connection finds out.
            self.close()
            return replica(self._known.reached(self._url))
        found = told(error, self._session.role, self._known.reached(self._url))
        if isinstance(found, SourceUnavailable) and found.again:
            self.close()
        return found

    def _connect(self) -> psycopg.Connection[Any]:
        """The open connection, opened now if need be."""
        if self._connection is None or self._connection.closed:
            self._url = self._give_url()
            self._known.refuse_login_again(self._url)
            self._session = Session()
            try:
                self._connection = self._open()
            except psycopg.Error as error:
                found = self._told(error)
                if isinstance(found, LoginRefused):
                    self._known.login_refused(self._url, str(found))
                raise found from None
            self._session = self._introduce()
        return self._connection

    def _open(self) -> psycopg.Connection[Any]:
        failures: list[tuple[str, psycopg.OperationalError]] = []
        for parameters in each_address({**_PARAMETERS, **conninfo_to_dict(self._url)}):
            try:
                connection = psycopg.connect(autocommit=True, prepare_threshold=None, **parameters)
            except psycopg.OperationalError as error:
                if refuses_password(error):
                    raise
                failures.append((f"- host: {parameters.get('host')}, port: {parameters.get('port')}", error))
            else:
                register_loaders(connection)
                return connection
        _host, last = failures[-1]
        if len(failures) == 1:
            raise last
        lines = (f"{host}: {error}" for host, error in failures)
        raise psycopg.OperationalError("\n".join([str(last), *lines]), pgconn=last.pgconn)

    def _introduce(self) -> Session:
        """Find out, of a new connection, who reads and where, and refuse another place than the process read before."""
        try:
            with self._transaction("READ COMMITTED") as fetch:
                role, database, role_oid, may_ask = fetch(_WHO, None)[0]
            system, timeline = self._control_data() if may_ask else (None, None)
            self._known.recognize(self._url, Cluster(system, timeline, database, role_oid))
        except BaseException:
            self.close()
            raise
        place, expected = "oid FROM pg_database WHERE datname = current_database()", database
        if system is not None:
            place, expected = "system_identifier FROM pg_control_system()", system
        return Session(role, other_cluster=f" OR (SELECT {place}) <> {expected}")

    def _control_data(self) -> tuple[str | None, int | None]:
        try:
            with self._transaction("READ COMMITTED") as fetch:
                system, timeline = fetch(_CONTROL, None)[0]
        except SourceRefused:
            return None, None  # a service that has the functions, and no such file to read
        return system, timeline


def _is_pgpool(connection: psycopg.Connection[Any]) -> bool:
    try:
        connection.execute("SHOW pool_version")  # a setting of pgpool's own, which PostgreSQL does not know
    except psycopg.Error:
        return False
    return True
