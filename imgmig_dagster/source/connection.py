"""A read-only connection that leaves nothing in its session, and whose every result proves which server it is from.

A pooler may hand each transaction to another server connection, and that connection to other clients afterwards. So
each transaction sets what its statements need, and nothing is prepared. `connections` holds the set of connections that
all readers use. `sqlstates` explains errors, `servers` remembers the servers that this process reached, `loaders` reads
values.
"""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, TypeAlias

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import TransactionStatus

from imgmig_dagster.errors import LoginRefused, SourceRefused, SourceUnavailable
from imgmig_dagster.source.loaders import register_loaders, take_any_bytes
from imgmig_dagster.source.servers import Cluster, KnownServers, each_address
from imgmig_dagster.source.sqlstates import refuses_password, replica, to_source_error

# It warns of errors that it ignores, such as of a rollback after Ctrl-C: what ended the transaction is raised anyway.
logging.getLogger("psycopg").setLevel(logging.ERROR)

Parameters: TypeAlias = "dict[str, Any] | None"
Isolation: TypeAlias = Literal["READ COMMITTED", "REPEATABLE READ"]
Driver: TypeAlias = "psycopg.Connection[Any]"
Fetch: TypeAlias = Callable[["sql.Composable | str", Parameters], "list[Any]"]
"""Returns all rows of a statement with parameters."""

READING: Final = {
    "row_security": "off",  # PostgreSQL refuses to read through a policy, instead of leaving rows out
    "search_path": "pg_catalog, pg_temp",  # no function or operator of somebody's own takes the place of PostgreSQL's
    "client_encoding": "'UTF8'",  # no matter what the URL, PGCLIENTENCODING or the database's encoding say
    "standard_conforming_strings": "on",
    "TimeZone": "'UTC'",
    "DateStyle": "'ISO, YMD'",
    "IntervalStyle": "'postgres'",  # its own spelling, as of every other type that is read as text
    "extra_float_digits": "1",  # each digit that it takes to read the same number again
    "bytea_output": "'hex'",
    "lc_monetary": "'C'",
}
"""Set in each transaction: settings that change what is read, or hide rows."""
# Set for one transaction. Settings of a role, a database or a pooler's other clients must not change what is read.
_SETTINGS: Final = {
    **READING,
    "quote_all_identifiers": "off",  # else the catalog's names of types have quotes
    "statement_timeout": "'10min'",
    "lock_timeout": "'10s'",
    "idle_in_transaction_session_timeout": "'1min'",
    "application_name": "'imgmig'",
}
# Used unless the URL sets them. A pooler passes session settings such as application_name to its other clients, so only
# settings of this side are here. A peer that vanished is given up after 20 + 3 * 10 seconds.
_PARAMETERS: Final = {
    "target_session_attrs": "primary",
    "connect_timeout": 5,
    "keepalives_idle": 20,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 50_000,
}
# The executor evaluates OFFSET first, even if there is no row. Its value is not a constant, so the planner plans the
# inner statement as if OFFSET were not there, and a load balancer sends a statement with such a function to the
# primary.
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
_CONTROL: Final = (
    "SELECT (SELECT system_identifier::text FROM pg_control_system()), timeline_id FROM pg_control_checkpoint()"
)


@dataclass(frozen=True)
class SessionState:
    """What each transaction of a connection sets, and each statement checks."""

    role: str = "unknown"
    other_cluster: str = ""

    def begin(self, isolation: Isolation) -> bytes:
        """Opens a transaction, in one round trip."""
        settings = "; ".join(f"SET LOCAL {name} = {value}" for name, value in _SETTINGS.items())
        return f"BEGIN ISOLATION LEVEL {isolation} READ ONLY; {settings}".encode()

    def proven(self, statement: sql.Composable | str) -> sql.Composed:
        """The statement, refused by a server in recovery and by another cluster; its rows keep their order."""
        inside = sql.SQL(statement) if isinstance(statement, str) else statement
        return sql.SQL(_PROOF).format(statement=inside, other_cluster=sql.SQL(self.other_cluster))


class Connection:
    """One connection to PostgreSQL's primary, opened at once. A lost connection is not opened again.

    Raises:
        SourceUnavailable: the server cannot be reached, or is busy.
        SessionRefused: the server gives no session that is safe to read through.
    """

    def __init__(self, url: str, known: KnownServers) -> None:
        self._url = url
        self._known = known
        self._session = SessionState()
        known.refuse_login_again(url)
        try:
            self._driver = self._open()
        except psycopg.Error as error:
            found = to_source_error(error, self._session.role, known.reached(url))
            if isinstance(found, LoginRefused):
                known.login_refused(url, str(found))
            raise found from None
        try:
            self._session = self._introduce()
        except BaseException:
            self.close()
            raise

    @property
    def is_open(self) -> bool:
        """Whether it was neither lost nor closed."""
        return not self._driver.closed

    @property
    def is_encrypted(self) -> bool:
        """Whether what this side sends is encrypted, to the server or to a pooler."""
        return bool(self._driver.pgconn.ssl_in_use)

    @property
    def process_at_login(self) -> int:
        """The server process that the login named."""
        return self._driver.info.backend_pid

    def is_to_pgpool(self) -> bool:
        """Whether pgpool-II answers."""
        try:
            self._driver.execute("SHOW pool_version")  # a setting of its own, which PostgreSQL does not know
        except psycopg.Error:
            return False
        return True

    def close(self) -> None:
        """Close it, even if a statement is running."""
        self._driver.close()

    @contextmanager
    def transaction(self, isolation: Isolation) -> Iterator[Fetch]:
        """The only way to send a statement, for one thread at a time.

        Raises:
            SourceUnavailable: the connection was lost; SourceRefused: a statement was refused.
        """
        driver = self._driver
        try:
            try:
                driver.execute(self._session.begin(isolation))
                with driver.cursor(binary=True) as cursor:
                    yield partial(self._read, cursor)
                driver.execute("COMMIT")
            finally:
                # An error leaves the transaction open; Ctrl-C may leave the statement running.
                if not driver.closed and driver.info.transaction_status is not TransactionStatus.IDLE:
                    self._roll_back()
        except psycopg.Error as error:
            raise self._to_source_error(error) from None

    @contextmanager
    def lent(self) -> Iterator[Driver]:
        """The driver in a read-only transaction on the primary, for statements that do not prove where they are."""
        with self.transaction("READ COMMITTED") as fetch:
            fetch("SELECT 1", None)
            yield self._driver

    def _read(self, cursor: psycopg.Cursor[Any], query: sql.Composable | str, parameters: Parameters) -> list[Any]:
        try:
            return cursor.execute(self._session.proven(query), parameters).fetchall()
        except UnicodeDecodeError:
            take_any_bytes(cursor)
        return cursor.execute(self._session.proven(query), parameters).fetchall()

    def _roll_back(self) -> None:
        if self._driver.info.transaction_status is TransactionStatus.ACTIVE:
            self.close()
            return
        try:
            self._driver.execute("ROLLBACK")
        except psycopg.Error:
            self.close()

    def _to_source_error(self, error: psycopg.Error) -> Exception:
        if isinstance(error, psycopg.errors.InvalidRowCountInResultOffsetClause):
            # A new connection finds out which of the two it was.
            self.close()
            return replica(self._known.reached(self._url))
        found = to_source_error(error, self._session.role, self._known.reached(self._url))
        if isinstance(found, SourceUnavailable) and found.again:
            self.close()
        return found

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

    def _introduce(self) -> SessionState:
        """Find out who reads and where on a new connection, and refuse another server than the process read before."""
        with self.transaction("READ COMMITTED") as fetch:
            role, database, role_oid, may_ask = fetch(_WHO, None)[0]
        system, timeline = self._control_data() if may_ask else (None, None)
        self._known.recognize(self._url, Cluster(system, timeline, database, role_oid))
        place, expected = "oid FROM pg_database WHERE datname = current_database()", database
        if system is not None:
            place, expected = "system_identifier FROM pg_control_system()", system
        return SessionState(role, other_cluster=f" OR (SELECT {place}) <> {expected}")

    def _control_data(self) -> tuple[str | None, int | None]:
        try:
            with self.transaction("READ COMMITTED") as fetch:
                system, timeline = fetch(_CONTROL, None)[0]
        except SourceRefused:
            return None, None  # a service that has the functions, and no such file to read
        return system, timeline
