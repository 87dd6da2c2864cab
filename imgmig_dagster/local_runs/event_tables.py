"""Writes to the tables of Dagster's event log: the statements of one transaction.

`partition_events` records partitions with them; `dagster_internals` lets a command's instance announce its runs' parts
with them. Like both, this module uses private parts of Dagster.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, NamedTuple

import dagster as dg
import sqlalchemy
from dagster._core.definitions.asset_checks.asset_check_evaluation import AssetCheckEvaluationPlanned
from dagster._core.definitions.data_version import DATA_VERSION_TAG
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.asset_check_execution_record import AssetCheckExecutionRecordStatus as _Status
from dagster._core.storage.event_log.schema import (
    AssetCheckExecutionsTable,
    AssetEventTagsTable,
    AssetKeyTable,
    SqlEventLogStorageTable,
)
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from dagster._core.storage.event_log.sqlite.sqlite_event_log import SqliteEventLogStorage
from dagster._serdes import serialize_value
from dagster._time import datetime_from_timestamp
from dagster_shared.record import replace
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: Final[Mapping[str, Any]] = {"postgresql": postgresql.insert, "sqlite": sqlite.insert}
_PLANNED: Final = dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
_CHECK_PLANNED: Final = dg.DagsterEventType.ASSET_CHECK_EVALUATION_PLANNED


class Written(NamedTuple):
    """An event, its row, and its place in the event log."""

    entry: EventLogEntry
    row: Mapping[str, Any]
    place: int


class Writing:
    """The statements of one transaction. `rows` are the events written."""

    def __init__(self, storage: SqlEventLogStorage, connection: sqlalchemy.Connection) -> None:
        self._storage: Any = storage
        self._connection = connection
        self.rows: list[dict[str, Any]] = []

    def events(self, entries: Sequence[EventLogEntry]) -> list[Written]:
        """Write events."""
        rows = [self._storage._event_to_row(entry) for entry in entries]  # noqa: SLF001
        self.rows += rows
        place = SqlEventLogStorageTable.c.id
        insert = SqlEventLogStorageTable.insert().returning(place, sort_by_parameter_order=True)
        places = self._connection.execute(insert, rows).scalars()
        return [Written(*each) for each in zip(entries, rows, places, strict=True)]

    def materialization(self, made: Written, data_version: str) -> None:
        """Write Dagster's index of the asset: which materialization is the last, and of which version."""
        asset = {"asset_key": made.row["asset_key"]}
        version = {"key": DATA_VERSION_TAG, "value": data_version, "event_timestamp": made.row["timestamp"]}
        self._connection.execute(AssetEventTagsTable.insert(), {**asset, "event_id": made.place, **version})
        # As Dagster would serialize it, with the event that is serialized already.
        record = (
            f'{{"__class__": "EventLogRecord", "event_log_entry": {made.row["event"]}, "storage_id": {made.place}}}'
        )
        self._last(made, last_materialization=record)

    def announcements(self, announced: Sequence[Written]) -> None:
        """Write Dagster's index of what a run will make: of each asset, and of each partition of each check."""
        last = {each.row["asset_key"]: each for each in announced if each.row["dagster_event_type"] == _PLANNED.value}
        for each in last.values():
            self._last(each)
        executions = []
        for each in announced:
            planned = each.entry.get_dagster_event().event_specific_data
            if not isinstance(planned, AssetCheckEvaluationPlanned):
                continue
            # Dagster repeats all partitions in the row of each.
            subset, own = planned.partitions_subset, replace(planned, partitions_subset=None)
            event = each.entry.get_dagster_event()._replace(event_specific_data=own)
            row = {
                "asset_key": planned.asset_key.to_string(),
                "check_name": planned.check_name,
                "run_id": each.entry.run_id,
                "execution_status": _Status.PLANNED.value,
                "evaluation_event": serialize_value(each.entry._replace(dagster_event=event)),
                "evaluation_event_timestamp": each.row["timestamp"],
                "evaluation_event_storage_id": each.place,
            }
            executions += [{**row, "partition": key} for key in (subset.get_partition_keys() if subset else [None])]
        if executions:
            self._connection.execute(AssetCheckExecutionsTable.insert(), executions)

    def withdraw(self, run_id: str, kept: Collection[str]) -> None:
        """Delete what a run announced of checks and has not evaluated, except for the `kept` partitions."""
        checks = AssetCheckExecutionsTable
        announced = (checks.c.run_id == run_id, checks.c.execution_status == _Status.PLANNED.value)
        self._connection.execute(checks.delete().where(*announced, checks.c.partition.notin_(kept)))

    def _last(self, event: Written, **more: str) -> None:
        moment = datetime_from_timestamp(event.entry.timestamp)
        last = {"last_run_id": event.entry.run_id, "last_materialization_timestamp": moment, **more}
        self._upsert(AssetKeyTable, ("asset_key",), [{"asset_key": event.row["asset_key"], **last}])

    def evaluations(self, evaluated: Sequence[Written], target: int) -> None:
        """Write Dagster's index of the checks' evaluations, in place of what the run planned."""
        executions = []
        for each in evaluated:
            found = each.entry.get_dagster_event().asset_check_evaluation_data
            executions.append(
                {
                    "asset_key": found.asset_key.to_string(),
                    "check_name": found.check_name,
                    "partition": found.partition,
                    "run_id": each.entry.run_id,
                    "execution_status": (_Status.SUCCEEDED if found.passed else _Status.FAILED).value,
                    "evaluation_event": each.row["event"],
                    "evaluation_event_timestamp": each.row["timestamp"],
                    "evaluation_event_storage_id": each.place,
                    "materialization_event_storage_id": target,
                }
            )
        self._upsert(AssetCheckExecutionsTable, ("asset_key", "check_name", "run_id", "partition"), executions)

    def _upsert(self, table: sqlalchemy.Table, unique: Sequence[str], rows: Sequence[Mapping[str, Any]]) -> None:
        insert = _INSERT[self._connection.dialect.name](table)
        changed = {name: insert.excluded[name] for name in rows[0] if name not in unique}
        self._connection.execute(insert.on_conflict_do_update(index_elements=unique, set_=changed), rows)


class EventTables:
    """An event log, in SQLite or PostgreSQL."""

    def __init__(self, storage: SqlEventLogStorage) -> None:
        self.storage = storage

    @contextmanager
    def writing(self, run_id: str) -> Iterator[Writing]:
        """A transaction."""
        with self.storage.index_transaction() as connection:
            writing = Writing(self.storage, connection)
            yield writing
        if writing.rows and isinstance(self.storage, SqliteEventLogStorage):
            # In SQLite a run has its own file, next to the shared one.
            with self.storage.run_connection(run_id) as connection:
                connection.execute(SqlEventLogStorageTable.insert(), writing.rows)


def store_batch(storage: SqlEventLogStorage, entries: Sequence[EventLogEntry]) -> None:
    """Store events; in one transaction, if they announce what a run will make."""
    if any(entry.dagster_event_type not in (_PLANNED, _CHECK_PLANNED) for entry in entries):
        for entry in entries:
            storage.store_event(entry)
        return
    with EventTables(storage).writing(entries[0].run_id) as write:
        write.announcements(write.events(entries))
