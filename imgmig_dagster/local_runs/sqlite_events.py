"""Dagster's event log in SQLite, with its files kept open.

A run over a thousand partitions records several thousand events. Dagster opens files three times for each event, which
costs twenty times SQLite's own work (docs/benchmarks.md). `instance` pools PostgreSQL's connections.
"""

import contextlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

import sqlalchemy

from imgmig_dagster.local_runs.dagster_internals import DagsterSqliteStorage, SqliteEventLogStorage

_INDEX: Final = "index"


class KeptOpenEventLogStorage(SqliteEventLogStorage):
    """Keeps the index and the file of one run open; SQLite's write-ahead log decides when to wait for the disk."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        self._kept: dict[str, sqlalchemy.Engine] = {}
        self._one_at_a_time = threading.Lock()
        super().__init__(*arguments, **named)

    def run_connection(self, run_id: str | None = None) -> Any:
        """A connection to the file of one run."""
        return self._connection(run_id or _INDEX)

    def index_connection(self) -> Any:
        """A connection to the file that all runs share."""
        return self._connection(_INDEX)

    @contextlib.contextmanager
    def _connection(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._one_at_a_time:
            engine = self._kept.get(shard) or self._opened(shard)
            with engine.connect() as connection, connection.begin():
                yield connection

    def _opened(self, shard: str) -> sqlalchemy.Engine:
        with super().run_connection(shard):
            pass  # Dagster makes the tables of a new file.
        for other in [name for name in self._kept if name not in (_INDEX, shard)]:
            self._kept.pop(other).dispose()
        engine = sqlalchemy.create_engine(
            self.conn_string_for_shard(shard),
            poolclass=sqlalchemy.pool.QueuePool,
            connect_args={"timeout": 30, "check_same_thread": False},
        )
        sqlalchemy.event.listen(engine, "connect", _leave_syncing_to_checkpoints)
        self._kept[shard] = engine
        return engine

    def dispose(self) -> None:
        """Close the files."""
        for engine in self._kept.values():
            engine.dispose()
        self._kept.clear()
        super().dispose()


def _leave_syncing_to_checkpoints(connection: Any, _record: object) -> None:
    # A power cut may cost the last events of a run, and never the file.
    connection.execute("PRAGMA synchronous=NORMAL")


class KeptOpenStorage(DagsterSqliteStorage):
    """Dagster's default storage in SQLite, except for the event log."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        super().__init__(base_dir, inst_data)
        self._events = KeptOpenEventLogStorage(str(Path(base_dir) / "history" / "runs"))

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "KeptOpenStorage":
        """Called by Dagster for what `dagster.yaml` names."""
        return cls(inst_data=inst_data, **config_value)

    @property
    def event_log_storage(self) -> KeptOpenEventLogStorage:
        """The event log."""
        return self._events
