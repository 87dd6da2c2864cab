"""A read-only connection that comes back after a restart. Its values are those of `loaders`."""

import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Final

import psycopg
from psycopg import sql

from imgmig_dagster.errors import SourceRefused, SourceUnavailable
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.loaders import register_loaders

_SESSION: Final = (
    "SET default_transaction_read_only = on; SET TimeZone = 'UTC'; SET DateStyle = 'ISO, YMD';"
    " SET statement_timeout = '10min'; SET lock_timeout = '10s'; SET idle_in_transaction_session_timeout = '1min'"
)


_QUOTED: Final = re.compile('"[^"]*"')


class ReadOnlyConnection:
    """Statements on PostgreSQL, each in a short read-only transaction of its own, repeated after a lost connection.

    Reading again is always safe: nothing is written. Errors carry SQLSTATE and class, never the server's text,
    which can hold values.
    """

    def __init__(
        self,
        url: str,
        retry: "RetryPolicy | None" = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._url = url
        self._retry = retry or RetryPolicy(delays=(0.1, 0.4, 1.6, 6.4))
        self._sleep = sleep
        # A statement's transaction must not be entered by another thread's statement.
        self._lock = threading.Lock()
        self._connection: psycopg.Connection[Any] | None = None

    def fetch(self, query: "sql.Composable | str", parameters: "dict[str, Any] | None" = None) -> "list[Any]":
        """All rows of one statement.

        Raises:
            SourceUnavailable: the server cannot be reached, or did not come back within the retries.
            SourceRefused: the server refused the statement (no permission, no such column).
        """
        for retry in range(self._retry.attempts - 1):
            try:
                with self._lock, self._errors_named():
                    return self._fetch_once(query, parameters)
            except SourceUnavailable:
                self._sleep(self._retry.delay(retry))
        with self._lock, self._errors_named():
            return self._fetch_once(query, parameters)

    @contextmanager
    def snapshot(self) -> "Iterator[Callable[[sql.Composed, dict[str, Any]], list[Any]]]":
        """Several statements on one snapshot of the database; keep it short, and use only what is yielded meanwhile.

        Raises:
            SourceUnavailable: the connection was lost, and the snapshot with it.
            SourceRefused: as for `fetch`.
        """
        with self._lock, self._errors_named():
            connection = self.connect()
            with connection.transaction(), connection.cursor(binary=True) as cursor:
                cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                yield lambda query, parameters: cursor.execute(query, parameters).fetchall()

    @contextmanager
    def _errors_named(self) -> "Iterator[None]":
        try:
            yield
        except psycopg.errors.QueryCanceled:
            # Its server is well, and would take as long again.
            raise SourceRefused(
                "a statement took longer than 10 minutes, or waited longer than 10 s for a lock: is there an index "
                "on the order column and the id?"
            ) from None
        except psycopg.OperationalError as error:
            self.close()
            raise SourceUnavailable(f"PostgreSQL cannot be reached: {_name(error)}") from None
        except psycopg.Error as error:
            raise SourceRefused(f"PostgreSQL refused a statement: {_name(error)}") from None

    def _fetch_once(self, query: "sql.Composable | str", parameters: "dict[str, Any] | None") -> "list[Any]":
        connection = self.connect()
        with connection.transaction(), connection.cursor(binary=True) as cursor:
            return cursor.execute(query, parameters).fetchall()  # type: ignore[arg-type]

    def connect(self) -> "psycopg.Connection[Any]":
        """The open connection, opened now if need be."""
        if self._connection is None or self._connection.closed:
            connection = psycopg.connect(
                self._url,
                autocommit=True,
                connect_timeout=5,
                application_name="imgmig",
                keepalives_idle=30,
                client_encoding="UTF8",
            )
            connection.execute(_SESSION)
            connection.read_only = True
            register_loaders(connection)
            self._connection = connection
        return self._connection

    def close(self) -> None:
        """Close the connection; the next statement opens another."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def _name(error: psycopg.Error) -> str:
    if error.sqlstate:
        return f"{type(error).__name__}, SQLSTATE {error.sqlstate}"
    # Without an SQLSTATE the text is libpq's own: an address and a cause, no row's values.
    text = next(iter(str(error).strip().splitlines()), type(error).__name__)
    # But it quotes a parameter that it cannot read, and that may be a piece of a password that was not encoded.
    return _QUOTED.sub('"..."', text) if text.startswith("connection is bad") else text
