"""Opens the stage's Dagster instance for one command. DAGSTER_HOME itself is checked first, in `dagster_home`."""

import contextlib
import logging
import re
import select
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import dagster as dg
import sqlalchemy

from imgmig_dagster.errors import ImgmigError, SettingsError
from imgmig_dagster.files import refusal
from imgmig_dagster.local_runs.dagster_internals import instance_of
from imgmig_dagster.stage.dagster_home import check_dagster_home

CODE_LOCATION: Final = "imgmig_dagster"
"""The name in workspace.yaml and pyproject.toml; runs of the command line belong to it too."""

_VARIABLE: Final = re.compile(r'environment variable "(\w+)"')
_TRIED: Final = "imgmig: when it was tried"
_TRY_AFTER_S: Final = 1.0
_PLACE: Final = re.compile(r"at path root:(\S+?)\.? ")


class InstanceUnavailable(ImgmigError):
    """The storage of the Dagster instance cannot be reached."""

    exit_code = 3
    retryable = True


def open_instance(home: Path) -> dg.DagsterInstance:
    """The instance of that folder; its storage has answered.

    Raises:
        SettingsError: the folder or its `dagster.yaml` cannot be used.
        InstanceUnavailable: its storage does not answer.
    """
    check_dagster_home(home)
    logging.getLogger().addFilter(_is_not_of_storage)
    try:
        instance = instance_of(home)
        instance.get_run_records(limit=1)
    except Exception as error:
        raise _told(error, home / "dagster.yaml") from None
    if not sqlalchemy.event.contains(sqlalchemy.pool.Pool, "checkout", _ping):
        sqlalchemy.event.listen(sqlalchemy.pool.Pool, "checkout", _ping)
    return instance


@contextlib.contextmanager
def storage_faults(home: Path) -> Iterator[None]:
    """Raise what Dagster's storage refuses in this context as `InstanceUnavailable`; any other error as it is."""
    try:
        yield
    except Exception as error:
        fault = _of_storage(causes(error), home / "dagster.yaml")
        if fault is None:
            raise
        raise fault from None


def _is_not_of_storage(record: logging.LogRecord) -> bool:
    # Otherwise dagster-postgres logs several lines for each of its five tries.
    return "dagster_postgres" not in record.pathname


def causes(error: BaseException) -> list[BaseException]:
    """The error, what caused it, and so on: the root is the last."""
    chain = [error]
    while True:
        last = chain[-1]
        cause = last.__cause__ or (None if last.__suppress_context__ else last.__context__)
        if cause is None:
            return chain
        chain.append(cause)


def _of_storage(chain: Sequence[BaseException], file: Path) -> InstanceUnavailable | None:
    for cause in chain:
        if isinstance(cause, sqlite3.Error):
            return InstanceUnavailable(f"Dagster's storage: {refusal(cause, f'a file of SQLite below {file.parent}')}")
    if any(isinstance(cause, sqlalchemy.exc.OperationalError) for cause in chain):
        return InstanceUnavailable(
            f"Dagster's storage, which {file} names, does not answer: check that its server runs, that its disk is not "
            "full, and DAGSTER_POSTGRES_URL if the file reads it; then give the same command again"
        )
    if any(isinstance(cause, sqlalchemy.exc.DBAPIError) for cause in chain):
        return InstanceUnavailable(
            f"Dagster's storage, which {file} names, refuses what Dagster asks of it: check that the database is for "
            "Dagster alone, that its user owns the tables, and that dagster instance migrate was run after an upgrade "
            "of Dagster; then give the same command again"
        )
    return None


def _told(error: BaseException, file: Path) -> ImgmigError:
    """The error in one line, without Dagster's own text: it quotes the configuration, passwords included."""
    chain = causes(error)
    if fault := _of_storage(chain, file):
        return fault
    text = "\n".join(map(str, chain))
    if missing := _VARIABLE.search(text):
        return SettingsError(
            f"{file} reads the variable {missing[1]}, which is not set: export it in the environment of the process "
            f"(export {missing[1]}=...); one whose name begins with DAGSTER_ may also be in the stage's file"
        )
    place = _PLACE.search(text)
    return SettingsError(
        f"Dagster cannot use {file}{f', at {place[1]}' if place else ''} ({type(error).__name__}): compare it with "
        "deploy/local/dagster.yaml or deploy/dagster.yaml, and run `imgmig doctor` again"
    )


def _ping(connection: Any, record: Any, _proxy: object) -> None:
    """Test a pooled connection whose server may be gone, and let the pool make a new one.

    A server that shuts down says so on the connection, which we check each time; a lost network does not.
    """
    if isinstance(connection, sqlite3.Connection):
        return  # a file has no server
    moment = time.monotonic()
    if moment - record.info.get(_TRIED, -_TRY_AFTER_S) < _TRY_AFTER_S and not _has_news(connection):
        return
    record.info[_TRIED] = moment
    try:
        with contextlib.closing(connection.cursor()) as cursor:
            cursor.execute("SELECT 1")
    except Exception as error:
        raise sqlalchemy.exc.DisconnectionError from error


def _has_news(connection: Any) -> bool:
    """Whether the server has sent something unread: on an idle connection that means it was closed."""
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return bool(poll.poll(0))
