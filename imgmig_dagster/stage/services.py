"""Opens what a stage's settings name: the source, the target's identity, the state. `write_guard` opens for writing."""

from typing import Final

from imgmig_dagster.mapping.spec import TableMapping
from imgmig_dagster.retry import RetryPolicy
from imgmig_dagster.source.connections import ReadOnlyConnections
from imgmig_dagster.source.reader import SourceReader
from imgmig_dagster.stage.settings import Settings
from imgmig_dagster.state.opening import open_state
from imgmig_dagster.state.store import StageState
from imgmig_dagster.target.target_table import TargetIdentity, describe

ONE_MORE_TRY: Final = RetryPolicy(delays=(0.5,))
"""For a command that asks PostgreSQL while a person waits."""


def source_connections(settings: Settings, retry: RetryPolicy | None = None, at_once: int = 1) -> ReadOnlyConnections:
    """Connections to the source, opened when they are needed; the arguments are as in `ReadOnlyConnections`."""
    return ReadOnlyConnections(settings.current_source_url, retry, at_once=at_once)


def source_reader(settings: Settings, connections: ReadOnlyConnections, mapping: TableMapping) -> SourceReader:
    """A reader of the mapping's table. As a context manager it closes the connections at the end."""
    return SourceReader(connections, mapping.schema, mapping.table, mapping, settings.source.time_zone)


def target_identity(settings: Settings, mapping: TableMapping) -> TargetIdentity:
    """Which table the target is; see `target.target_table.describe` for what it raises."""
    return describe(settings.aws(), settings.target.table, mapping)


def stage_state(settings: Settings) -> StageState:
    """What the tables of the stage share; `state.opening.table_state` finds a table's own in it.

    Raises:
        SettingsError: `url` in [state] is of no kind of store.
    """
    return open_state(settings.state.url, settings.stage.value, settings.aws())
