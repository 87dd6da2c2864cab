"""What the driver of PostgreSQL says of errors that it ignores is for nobody."""

import contextlib

import psycopg
import pytest

import imgmig_dagster.source.connection  # noqa: F401 - it is what keeps the driver silent
from imgmig_dagster_tests.arrange import Source


def test_ctrl_c_amid_a_statement_prints_nothing_of_the_rollback(
    source: Source, caplog: pytest.LogCaptureFixture
) -> None:
    with contextlib.closing(psycopg.connect(source.url, autocommit=True)) as connection:
        with contextlib.suppress(KeyboardInterrupt), connection.transaction():
            connection.pgconn.send_query(b"SELECT 1")  # its result was not read when the signal came
            raise KeyboardInterrupt
        assert caplog.messages == []
