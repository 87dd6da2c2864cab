"""A physical standby of the tests' PostgreSQL, which stops replaying when told: a replica whose rows are stale."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

from imgmig_dagster.sandbox.postgres import OWNER, SOURCE_DATABASE, Postgres, url
from imgmig_dagster.sandbox.process import HOST, attach_or_start


class Standby:
    """The copy. `port` is where it listens."""

    def __init__(self, postgres: Postgres, port: int) -> None:
        self.postgres = postgres
        self.port = port

    def ask(self, statement: str) -> object:
        """The first value of a statement of the owner's."""
        with psycopg.connect(url(self.port, SOURCE_DATABASE, OWNER), autocommit=True) as connection:
            row = connection.execute(statement.encode()).fetchone()
        return row[0] if row else None

    def pause(self) -> None:
        """Stop replaying: what the primary commits from now on is not seen here."""
        self.ask("SELECT pg_wal_replay_pause()")

    def resume(self) -> None:
        """Replay again."""
        self.ask("SELECT pg_wal_replay_resume()")

    def promote(self) -> None:
        """Make it a primary."""
        assert self.ask("SELECT pg_promote()")


@contextmanager
def standby_of(primary_port: int, folder: Path) -> Iterator[Standby]:
    """A standby of the server at that port; stopped and deleted at the end."""
    postgres = Postgres(folder)
    folder.mkdir(parents=True, exist_ok=True)
    postgres._make_home()
    try:
        copied = postgres._run(
            [
                *(postgres._programs() / "pg_basebackup", "-D", postgres._data, "-R", "-X", "stream", "-c", "fast"),
                *("--no-sync", "-h", HOST, "-p", str(primary_port), "-U", OWNER),
            ]
        )
        assert copied.returncode == 0, copied.stderr
        yield Standby(postgres, attach_or_start(postgres, None).port)
    finally:
        postgres.stop()
        postgres.remove()
